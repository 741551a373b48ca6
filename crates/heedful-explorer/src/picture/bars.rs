//! Bars with their intervals, one below the other.

use super::axis::{Axis, Frame};
use super::style;
use super::svg::{Element, Picture, format_number, label};
use super::text::{SIZE, cut, width};

/// Longer names are cut.
const LONGEST_NAME: f64 = 180.0;
const ROW: f64 = 30.0;

/// A bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// What it is called.
    pub name: String,
    /// Its length, zero or more.
    pub value: f64,
    /// Where the value lies, lower and upper end.
    pub interval: Option<[f64; 2]>,
}

/// Bars on one axis, which begins at zero.
#[derive(Clone, Debug)]
pub struct Bars<'a> {
    /// The heading.
    pub title: &'a str,
    /// What the axis is.
    pub across: &'a str,
    /// The bars.
    pub bars: &'a [Bar],
}

impl Bars<'_> {
    /// The picture: each bar with its number.
    pub fn picture(&self) -> Picture {
        let names = self.bars.iter().map(|bar| width(&cut(&bar.name, LONGEST_NAME, SIZE), SIZE)).fold(0.0, f64::max);
        let frame = Frame { left: names + 24.0, top: 40.0, width: 360.0, height: ROW * self.bars.len() as f64 };
        let longest = self.bars.iter().map(|bar| bar.interval.map_or(bar.value, |[_, high]| high.max(bar.value))).fold(0.0, f64::max);
        let axis = Axis::to(longest, 5.0);
        let along = |value: f64| frame.left + frame.width * value / axis.end;
        let mut content = label("head ink", "start", 12.0, 22.0, self.title).written() + &axis.draw_across(frame);
        for (i, bar) in self.bars.iter().enumerate() {
            let y = frame.top + ROW * i as f64;
            let middle = y + ROW / 2.0;
            let range = bar.interval.map(|[low, high]| format!(" [{}, {}]", format_number(low), format_number(high))).unwrap_or_default();
            let note = format!("{}: {}{range}", bar.name, format_number(bar.value));
            let shape = Element::new("rect").word("class", &style::fill(i)).number("x", frame.left).number("y", y + 6.0);
            content += &label("ink", "end", frame.left - 8.0, middle + 4.5, &cut(&bar.name, LONGEST_NAME, SIZE)).written();
            content += &shape.number("width", along(bar.value) - frame.left).number("height", ROW - 12.0).note(&note).written();
            if let Some([low, high]) = bar.interval {
                let d = format!(
                    "M{:.1},{middle:.1}H{:.1}M{:.1},{:.1}v8M{:.1},{:.1}v8",
                    along(low),
                    along(high),
                    along(low),
                    middle - 4.0,
                    along(high),
                    middle - 4.0
                );
                content += &Element::new("path").word("class", "axis").word("d", &d).written();
            }
            let end = bar.interval.map_or(bar.value, |[_, high]| high.max(bar.value));
            content += &label("ink small", "start", along(end) + 6.0, middle + 4.0, &format!("{:.1}", bar.value)).written();
        }
        content += &label("quiet small", "middle", frame.left + frame.width / 2.0, frame.bottom() + 36.0, self.across).written();
        let values: Vec<String> = self.bars.iter().map(|bar| format!("{} {}", bar.name, format_number(bar.value))).collect();
        Picture {
            width: frame.right() + 48.0,
            height: frame.bottom() + 46.0,
            title: self.title.to_owned(),
            description: format!("{}: {}.", self.across, values.join(", ")),
            content,
        }
    }
}
