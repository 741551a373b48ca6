//! Lines with the intervals of their points.

use super::axis::{Axis, Frame, baseline, titles};
use super::style;
use super::svg::{Element, Picture, format_number, label};
use super::text::{SIZE, width};

/// A point of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Its place across: a number, or an index of [`Lines::categories`].
    pub x: f64,
    /// Its value, zero or more.
    pub y: f64,
    /// Where the value lies, lower and upper end.
    pub interval: Option<[f64; 2]>,
}

/// A line with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What it is called.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<Point>,
}

/// Lines on common axes, both of which begin at zero.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    /// The heading.
    pub title: &'a str,
    /// What the axis across is.
    pub across: &'a str,
    /// What the axis upwards is.
    pub upwards: &'a str,
    /// Names for the places across, where these are no numbers; empty if they are.
    pub categories: &'a [String],
    /// The lines.
    pub lines: &'a [Line],
}

impl Lines<'_> {
    /// The picture. Points that have an interval have whiskers; each line is named at its end.
    pub fn picture(&self) -> Picture {
        let names = self.lines.iter().map(|line| width(&line.name, SIZE)).fold(0.0, f64::max);
        let frame = Frame { left: 48.0, top: 62.0, width: 420.0, height: 250.0 };
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let highest = points().map(|point| point.interval.map_or(point.y, |[_, high]| high.max(point.y))).fold(0.0, f64::max);
        let upwards = Axis::to(highest, 5.0);
        let mut content = titles(frame, self.title, self.across, self.upwards) + &upwards.draw_upwards(frame);
        let rightmost = points().map(|point| point.x).fold(0.0, f64::max);
        let across = Axis::to(rightmost, 6.0);
        if self.categories.is_empty() {
            content += &across.draw_across(frame);
        } else {
            content += &baseline(frame);
            for (i, name) in self.categories.iter().enumerate() {
                let x = frame.left + frame.width * (i as f64 + 0.5) / self.categories.len() as f64;
                content += &label("quiet small", "middle", x, frame.bottom() + 17.0, name).written();
            }
        }
        let place = |series: usize, point: &Point| {
            let x = if self.categories.is_empty() {
                point.x / across.end
            } else {
                // Whiskers of several lines over one category stand beside one another.
                let shift = 0.09 * (series as f64 - (self.lines.len() as f64 - 1.0) / 2.0);
                (point.x + 0.5 + shift) / self.categories.len() as f64
            };
            (frame.left + frame.width * x, frame.bottom() - frame.height * point.y / upwards.end)
        };
        let mut ends = Vec::new();
        for (series, line) in self.lines.iter().enumerate() {
            let places: Vec<(f64, f64)> = line.points.iter().map(|point| place(series, point)).collect();
            content += &drawn(series, line, &places, |y| frame.bottom() - frame.height * y / upwards.end, |x| self.name_of(x));
            if let Some(&(x, y)) = places.last() {
                ends.push((y, x, series));
            }
        }
        content += &self.names(frame, ends);
        Picture {
            width: frame.right() + names + 40.0,
            height: frame.bottom() + 50.0,
            title: self.title.to_owned(),
            description: self.description(),
            content,
        }
    }

    fn name_of(&self, x: f64) -> String {
        self.categories.get(x as usize).cloned().unwrap_or_else(|| format_number(x))
    }

    /// The names of the lines at the right, as near to their ends as leaves them apart.
    fn names(&self, frame: Frame, mut ends: Vec<(f64, f64, usize)>) -> String {
        const APART: f64 = 17.0;
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut free = frame.top;
        let mut names = Vec::new();
        for (y, x, series) in ends {
            let at = y.max(free);
            free = at + APART;
            names.push((at, x, y, series));
        }
        // What was pushed out at the bottom moves back up, with all that it meets.
        let mut floor = frame.bottom() + 4.0;
        for name in names.iter_mut().rev() {
            name.0 = name.0.min(floor);
            floor = name.0 - APART;
        }
        let name = |&(at, x, y, series): &(f64, f64, f64, usize)| {
            let path = format!("M{:.1},{y:.1}L{:.1},{at:.1}", x + 6.0, frame.right() + 12.0);
            Element::new("path").word("class", "rule").word("d", &path).written()
                + &label(&style::fill(series), "start", frame.right() + 16.0, at + 4.0, &self.lines[series].name).written()
        };
        names.iter().map(name).collect()
    }

    fn description(&self) -> String {
        let line = |line: &Line| {
            let points: Vec<String> = line.points.iter().map(|p| format!("{} at {}", format_number(p.y), self.name_of(p.x))).collect();
            format!("{}: {}.", line.name, points.join(", "))
        };
        format!("{}, by {}. {}", self.upwards, self.across, self.lines.iter().map(line).collect::<Vec<_>>().join(" "))
    }
}

/// A line with its points.
fn drawn(series: usize, line: &Line, places: &[(f64, f64)], up: impl Fn(f64) -> f64, name: impl Fn(f64) -> String) -> String {
    let (stroke, fill) = (style::stroke(series), style::fill(series));
    let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let curve = Element::new("polyline").word("class", &format!("line {stroke}")).word("points", &path.join(" "));
    let dashes = style::dashes(series);
    let curve = if dashes.is_empty() { curve } else { curve.word("stroke-dasharray", dashes) };
    let mut content = curve.written();
    for (point, &(x, y)) in line.points.iter().zip(places) {
        let mut note = format!("{}, {}: {}", line.name, name(point.x), format_number(point.y));
        if let Some([low, high]) = point.interval {
            let (bottom, top) = (up(low), up(high));
            let d = format!("M{x:.1},{bottom:.1}V{top:.1}M{:.1},{bottom:.1}h7M{:.1},{top:.1}h7", x - 3.5, x - 3.5);
            content += &Element::new("path").word("class", &format!("whisker {stroke}")).word("d", &d).written();
            note += &[" [", &format_number(low), ", ", &format_number(high), "]"].concat();
        }
        content += &mark(series, x, y).word("class", &fill).note(&note).written();
    }
    content
}

/// The mark of a series: disc, square, diamond, triangle, in turn.
fn mark(series: usize, x: f64, y: f64) -> Element {
    let path = |d: String| Element::new("path").word("d", &d);
    match series % 4 {
        0 => Element::new("circle").number("cx", x).number("cy", y).number("r", 3.6),
        1 => Element::new("rect").number("x", x - 3.3).number("y", y - 3.3).number("width", 6.6).number("height", 6.6),
        2 => path(format!("M{x:.1},{:.1}l4.6,4.6l-4.6,4.6l-4.6,-4.6z", y - 4.6)),
        _ => path(format!("M{x:.1},{:.1}l4.4,7.6h-8.8z", y - 4.6)),
    }
}
