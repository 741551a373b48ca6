//! How much room text takes. Pictures are laid out without knowing the reader's font: widths are those of common sans-serif fonts, rather
//! too wide than too narrow.

use unicode_width::UnicodeWidthChar;

/// The size of text in pictures.
pub(super) const SIZE: f64 = 13.0;

/// The width of a line of text.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '!' | '|' | '(' | ')' | '[' | ']' | ' ' => 0.36,
        'f' | 'r' | 't' => 0.42,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.95,
        'A'..='Z' => 0.72,
        c => match c.width().unwrap_or(0) {
            0 => 0.0,
            1 => 0.62,
            _ => 1.05,
        },
    };
    text.chars().map(em).sum::<f64>() * size
}

/// The text, cut with an ellipsis if it is wider than the room.
pub(super) fn cut(text: &str, room: f64, size: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let mut used = width("\u{2026}", size);
    let kept: String = text
        .chars()
        .take_while(|&c| {
            used += width(c.encode_utf8(&mut [0; 4]), size);
            used <= room
        })
        .collect();
    kept + "\u{2026}"
}
