//! The report of a comparison as a page that needs nothing but itself, and as pictures; of a translation too.
//!
//! Pages hold no script and load nothing: they open from a disk, in a mail, in twenty years.

mod charts;
mod comparison;
mod html;
mod mechanisms;
mod translation;

pub use charts::{by_length, curves, overview};
pub use comparison::comparison;
pub use mechanisms::{Mechanism, Numbers, mechanism_pictures, mechanisms};
pub use translation::{NO_ATTENTION, sentence_heat_map, sentence_ribbons, translation};

use heedful_translate::compare::Report;

use crate::picture::Picture;

/// All pictures of a comparison with names for their files, without ending.
pub fn pictures(report: &Report) -> Vec<(String, Picture)> {
    let mut pictures = Vec::new();
    for metric in metrics(report) {
        pictures.push((format!("{}-by-length", metric.to_lowercase()), by_length(report, &metric)));
    }
    pictures.push(("learning-curves".to_owned(), curves(report)));
    for (number, sentence) in report.sentences.iter().enumerate() {
        for translation in &sentence.translations {
            if let Some(map) = comparison::heat_map(sentence, translation) {
                pictures.push((format!("sentence-{}-{}", number + 1, translation.rung), map));
            }
        }
    }
    pictures
}

/// The metrics that rungs were scored with.
fn metrics(report: &Report) -> Vec<String> {
    report.rungs.first().map(|rung| rung.scores.iter().map(|scores| scores.metric.clone()).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
