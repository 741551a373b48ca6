//! Weights as colours: viridis, which is told apart in its order with every kind of colour vision, and in grey.

use heedful_explorer::picture::viridis;

use crate::terminal::Colours;

/// Plain characters from no weight to all of it.
const RAMP: &[u8; 10] = b" .:-=+*#%@";

/// `text` on the colour of a weight, in black or white, whichever reads better.
pub fn paint(text: &str, weight: f32, colours: Colours) -> String {
    let rgb = viridis(weight);
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
    fn characters_run_from_blank_to_full() {
        assert_eq!([-1.0, 0.0, 0.05, 0.1, 0.55, 0.95, 1.0, 2.0, f32::NAN].map(character), [' ', ' ', ' ', '.', '+', '@', '@', '@', ' ']);
    }
}
