//! The alignment of a sentence as text: heat map, scale, and where each word came from.

use heedful_translate::translator::{Candidate, Sentence};

use crate::heat_map::{HeatMap, legend};
use crate::terminal::Style;

/// Weight outside all words is shown from here on.
const NOTABLE: f32 = 0.05;

/// The picture of one candidate, after an empty line.
pub fn of_sentence(sentence: &Sentence, candidate: &Candidate, style: Style) -> String {
    let Some(alignment) = &candidate.alignment else {
        return "\n(This model has no attention: its decoder sees one hidden state, not the words, so there is nothing to show.)\n"
            .to_owned();
    };
    let mut columns = sentence.source_words.clone();
    let with_end = alignment.outside().iter().any(|&weight| weight >= NOTABLE);
    if with_end {
        columns.push("(end)".to_owned());
    }
    let mut weights = Vec::with_capacity(columns.len() * candidate.target_words.len());
    for (row, &outside) in alignment.rows().zip(alignment.outside()) {
        weights.extend_from_slice(row);
        if with_end {
            weights.push(outside);
        }
    }
    let map = HeatMap { columns: &columns, rows: &candidate.target_words, weights: &weights };
    format!("\n{}{}\n{}", map.render(style), legend(style), map.strongest())
}
