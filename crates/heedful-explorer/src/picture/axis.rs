//! Axes: round numbers, grid lines and their labels.

use super::svg::{Element, format_number, label};

/// Where a picture's data are drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

impl Frame {
    pub fn right(&self) -> f64 {
        self.left + self.width
    }

    pub fn bottom(&self) -> f64 {
        self.top + self.height
    }
}

/// An axis from zero to a round number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    pub end: f64,
    step: f64,
}

impl Axis {
    /// Room for values up to `largest`, with about `steps` steps of 1, 2 or 5 times a power of ten.
    pub fn to(largest: f64, steps: f64) -> Self {
        let largest = if largest.is_finite() && largest > 0.0 { largest } else { 1.0 };
        let rough = largest / steps;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|&step| step >= rough).unwrap_or(10.0 * power);
        Self { end: (largest / step).ceil() * step, step }
    }

    fn ticks(self) -> impl Iterator<Item = f64> {
        (0..=(self.end / self.step).round() as usize).map(move |i| i as f64 * self.step)
    }

    /// Grid lines across the frame, with numbers at its left.
    pub fn draw_upwards(self, frame: Frame) -> String {
        let tick = |value: f64| {
            let y = frame.bottom() - frame.height * value / self.end;
            let rule = Element::new("line").word("class", "rule").number("x1", frame.left).number("x2", frame.right());
            rule.number("y1", y).number("y2", y).written()
                + &label("quiet small", "end", frame.left - 6.0, y + 4.0, &format_number(value)).written()
        };
        self.ticks().map(tick).collect()
    }

    /// Numbers below the frame.
    pub fn draw_across(self, frame: Frame) -> String {
        let tick = |value: f64| {
            let x = frame.left + frame.width * value / self.end;
            let mark = Element::new("line").word("class", "axis").number("x1", x).number("x2", x);
            mark.number("y1", frame.bottom()).number("y2", frame.bottom() + 4.0).written()
                + &label("quiet small", "middle", x, frame.bottom() + 17.0, &format_number(value)).written()
        };
        self.ticks().map(tick).collect::<String>() + &baseline(frame)
    }
}

/// The line at the bottom of a frame.
pub(super) fn baseline(frame: Frame) -> String {
    let line = Element::new("line").word("class", "axis").number("x1", frame.left).number("x2", frame.right());
    line.number("y1", frame.bottom()).number("y2", frame.bottom()).written()
}

/// The heading of a picture and what its axes are.
pub(super) fn titles(frame: Frame, heading: &str, across: &str, upwards: &str) -> String {
    label("head ink", "start", 12.0, 22.0, heading).written()
        + &label("quiet small", "start", 12.0, frame.top - 10.0, upwards).written()
        + &label("quiet small", "middle", frame.left + frame.width / 2.0, frame.bottom() + 36.0, across).written()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers_beyond_the_data() {
        for (largest, end) in [(37.2, 40.0), (100.0, 100.0), (0.03, 0.03), (1.01, 1.2), (0.0, 1.0), (f64::NAN, 1.0), (7.0, 7.0)] {
            let axis = Axis::to(largest, 5.0);
            assert!(axis.end >= end - 1e-9 && axis.end <= 2.0 * end, "{largest}: {axis:?}");
            assert!((2..=12).contains(&axis.ticks().count()), "{largest}: {axis:?}");
        }
        assert_eq!(Axis::to(37.2, 5.0).ticks().collect::<Vec<_>>(), [0.0, 10.0, 20.0, 30.0, 40.0]);
    }
}
