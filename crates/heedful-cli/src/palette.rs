//! Weights as colours: viridis, which is told apart in its order with every kind of colour vision, and in grey.

use crate::terminal::Colours;

/// Viridis (van der Walt and Smith 2015) at 0, 1/8, …, 1.
const VIRIDIS: [[u8; 3]; 9] = [
    [68, 1, 84],
    [71, 44, 122],
    [59, 81, 139],
    [44, 113, 142],
    [33, 144, 141],
    [39, 173, 129],
    [92, 200, 99],
    [170, 220, 50],
    [253, 231, 37],
];

/// Plain characters from no weight to all of it.
const RAMP: &[u8; 10] = b" .:-=+*#%@";

/// The colour of a weight in `[0, 1]`; what is outside is taken to the nearer end, and NaN to 0.
pub fn colour(weight: f32) -> [u8; 3] {
    let place = weight.clamp(0.0, 1.0).max(0.0) * (VIRIDIS.len() - 1) as f32;
    let low = (place as usize).min(VIRIDIS.len() - 2);
    let part = place - low as f32;
    std::array::from_fn(|i| {
        let (from, to) = (f32::from(VIRIDIS[low][i]), f32::from(VIRIDIS[low + 1][i]));
        (from + part * (to - from)).round() as u8
    })
}

/// `text` on the colour of a weight, in black or white, whichever reads better.
pub fn paint(text: &str, weight: f32, colours: Colours) -> String {
    let rgb = colour(weight);
    let bright = 0.299 * f32::from(rgb[0]) + 0.587 * f32::from(rgb[1]) + 0.114 * f32::from(rgb[2]) > 128.0;
    let ink = if bright { 16 } else { 231 };
    match colours {
        Colours::Plain => text.to_owned(),
        Colours::Indexed => format!("\x1b[48;5;{};38;5;{ink}m{text}\x1b[0m", nearest_indexed(rgb)),
        Colours::True => format!("\x1b[48;2;{};{};{};38;5;{ink}m{text}\x1b[0m", rgb[0], rgb[1], rgb[2]),
    }
}

/// The plain character for a weight.
pub fn character(weight: f32) -> char {
    let place = (weight.clamp(0.0, 1.0).max(0.0) * RAMP.len() as f32) as usize;
    char::from(RAMP[place.min(RAMP.len() - 1)])
}

/// The closest of xterm's 6 x 6 x 6 colours.
fn nearest_indexed(rgb: [u8; 3]) -> u8 {
    const LEVELS: [i32; 6] = [0, 95, 135, 175, 215, 255];
    let level = |value: u8| (0..6).min_by_key(|&i| (LEVELS[i as usize] - i32::from(value)).abs()).unwrap_or(0) as u8;
    16 + 36 * level(rgb[0]) + 6 * level(rgb[1]) + level(rgb[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_weight_is_brighter() {
        let brightness = |weight| {
            let [r, g, b] = colour(weight).map(f32::from);
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        for i in 0..100 {
            assert!(brightness(i as f32 / 100.0) <= brightness((i + 1) as f32 / 100.0), "{i}");
        }
        assert_eq!(colour(0.0), VIRIDIS[0]);
        assert_eq!(colour(1.0), VIRIDIS[8]);
        assert_eq!(colour(f32::NAN), VIRIDIS[0]);
    }

    #[test]
    fn characters_run_from_blank_to_full() {
        assert_eq!([-1.0, 0.0, 0.05, 0.1, 0.55, 0.95, 1.0, 2.0, f32::NAN].map(character), [' ', ' ', ' ', '.', '+', '@', '@', '@', ' ']);
    }
}
