//! The alignment of a sentence as text: heat map, scale, and where each word came from.

use heedful_explorer::picture::with_end;
use heedful_translate::translator::{Candidate, Sentence};

use crate::heat_map::{HeatMap, legend};
use crate::terminal::Style;

/// The picture of one candidate, after an empty line.
pub fn of_sentence(sentence: &Sentence, candidate: &Candidate, style: Style) -> String {
    let Some(alignment) = &candidate.alignment else {
        return "\n(This model has no attention: its decoder sees one hidden state, not the words, so there is nothing to show.)\n"
            .to_owned();
    };
    let (columns, weights) = with_end(&sentence.source_words, alignment);
    let map = HeatMap { columns: &columns, rows: &candidate.target_words, weights: &weights };
    format!("\n{}{}\n{}", map.render(style), legend(style), map.strongest())
}
