//! Pictures as SVG: alignments as ribbons and heat maps, lines with their intervals, bars; and any of them as PNG.
//!
//! Every picture has a title and a description for who cannot see it, is told apart by more than colour, and follows the reader's light or dark
//! page. Roles have the same colours everywhere: queries (target words) blue, keys (source words) orange, weights purple.
//!
//! ```
//! use heedful_explorer::picture::{HeatMap, Scale};
//!
//! let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
//! let map = HeatMap {
//!     title: "Where each word came from",
//!     columns: &words("Hilf mir"),
//!     rows: &words("Help me"),
//!     weights: &[0.9, 0.1, 0.2, 0.8],
//!     scale: Scale::Purple,
//! };
//! assert!(map.picture().to_svg().starts_with("<svg "));
//! ```

mod axis;
mod bars;
mod heat_map;
mod lines;
mod png;
mod ribbons;
mod scale;
mod style;
mod svg;
mod text;

pub use bars::{Bar, Bars};
pub use heat_map::HeatMap;
pub use lines::{Line, Lines, Point};
pub use png::{PngError, png};
pub use ribbons::Ribbons;
pub use scale::{Scale, viridis};
pub use style::STYLE;
pub use svg::Picture;
pub(crate) use svg::escape;

/// Weight outside of all words is shown from here on.
const NOTABLE: f32 = 0.05;

/// Source words and weights of an alignment for a picture: where a target word notably looked at no word, but at the end of sentence, that is a
/// column of its own. The weights are `[target_words, columns]`.
pub fn with_end(source_words: &[String], alignment: &heedful_translate::decode::Alignment) -> (Vec<String>, Vec<f32>) {
    let mut columns = source_words.to_vec();
    let with_end = alignment.outside().iter().any(|&weight| weight >= NOTABLE);
    if with_end {
        columns.push("(end)".to_owned());
    }
    let mut weights = Vec::with_capacity(columns.len() * alignment.target_words());
    for (row, &outside) in alignment.rows().zip(alignment.outside()) {
        weights.extend_from_slice(row);
        if with_end {
            weights.push(outside);
        }
    }
    (columns, weights)
}

#[cfg(test)]
mod tests;
