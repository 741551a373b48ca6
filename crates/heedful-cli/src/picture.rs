//! The alignment of a sentence as text: heat map, scale, and where each word came from.

use heedful_explorer::picture::with_end;
use heedful_explorer::report::NO_ATTENTION;
use heedful_translate::translator::{Candidate, Sentence};

use crate::heat_map::{HeatMap, legend};
use crate::terminal::Style;

/// The pictures of the best candidates of some sentences, each after an empty line; the model has attention for all of them or for none.
pub fn of_sentences(sentences: &[Sentence], style: Style) -> String {
    let pictures: Option<String> = sentences.iter().map(|sentence| of_candidate(sentence, &sentence.best, style)).collect();
    pictures.unwrap_or_else(|| format!("\n({NO_ATTENTION})\n"))
}

fn of_candidate(sentence: &Sentence, candidate: &Candidate, style: Style) -> Option<String> {
    let alignment = candidate.alignment.as_ref()?;
    let (columns, weights) = with_end(&sentence.source_words, alignment);
    let map = HeatMap { columns: &columns, rows: &candidate.target_words, weights: &weights };
    Some(format!("\n{}{}\n{}", map.render(style), legend(style), map.strongest()))
}
