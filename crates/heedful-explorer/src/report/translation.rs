//! A translation as pictures and as a page.

use heedful_translate::translator::{Candidate, Sentence, Translation};

use super::html::{Column, figure, heading, page, paragraph, quote, table};
use crate::picture::{HeatMap, Picture, Ribbons, Scale, with_end};

/// The title of a sentence's pictures.
const TITLE: &str = "Which source words each target word looked at";
/// What is said in place of a picture of a model without attention.
pub const NO_ATTENTION: &str =
    "This model has no attention: its decoder sees one hidden state, not the words, so there is nothing to show.";

/// The alignment of a candidate as a heat map; `None` for a model without attention.
pub fn sentence_heat_map(sentence: &Sentence, candidate: &Candidate, scale: Scale) -> Option<Picture> {
    let alignment = candidate.alignment.as_ref()?;
    let (columns, weights) = with_end(&sentence.source_words, alignment);
    Some(HeatMap { title: TITLE, columns: &columns, rows: &candidate.target_words, weights: &weights, scale }.picture())
}

/// The alignment of a candidate as ribbons, of which the largest make up `share` of each word's weight; `None` for a model without
/// attention.
pub fn sentence_ribbons(sentence: &Sentence, candidate: &Candidate, share: f32) -> Option<Picture> {
    let alignment = candidate.alignment.as_ref()?;
    let (source, weights) = with_end(&sentence.source_words, alignment);
    Some(Ribbons { title: TITLE, source: &source, target: &candidate.target_words, weights: &weights, share }.picture())
}

/// The page of a translated text: each sentence with its ribbons, its heat map and its words as a table.
pub fn translation(source: &str, translation: &Translation, scale: Scale, share: f32) -> String {
    let mut body = heading(1, "Translation") + &quote(source) + &quote(&translation.text);
    for (number, sentence) in translation.sentences.iter().enumerate() {
        body += &heading(2, &format!("Sentence {}", number + 1));
        body += &paragraph(&format!("{} \u{2192} {}", source.get(sentence.range.clone()).unwrap_or_default(), sentence.best.text));
        match (sentence_ribbons(sentence, &sentence.best, share), sentence_heat_map(sentence, &sentence.best, scale)) {
            (Some(ribbons), Some(map)) => body += &(figure(&ribbons, "") + &figure(&map, "Weights in hundredths.")),
            _ => body += &paragraph(NO_ATTENTION),
        }
        body += &words(sentence);
    }
    page("Translation", &body)
}

/// Each target word with its probability and the source word that it looked at most.
fn words(sentence: &Sentence) -> String {
    let links = sentence.best.alignment.as_ref().map(heedful_translate::decode::Alignment::links).unwrap_or_default();
    let row = |(i, word): (usize, &String)| {
        let link = links.iter().find(|link| link.target == i);
        let probability = sentence.best.word_log_probs.get(i).map(|log| format!("{:.3}", log.exp())).unwrap_or_default();
        let from = link.and_then(|link| sentence.source_words.get(link.source)).cloned().unwrap_or_default();
        vec![word.clone(), probability, from, link.map(|link| format!("{:.2}", link.weight)).unwrap_or_default()]
    };
    let rows: Vec<Vec<String>> = sentence.best.target_words.iter().enumerate().map(row).collect();
    table(&[Column::Text("word"), Column::Number("probability"), Column::Text("looked most at"), Column::Number("weight")], &rows)
}
