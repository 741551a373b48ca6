//! How good translations and alignments are.
//!
//! [`Bleu`], [`ChrF`] and [`Ter`] give the numbers of sacreBLEU 2.6, and print the same [signature](Metric::signature);
//! [`AlignmentErrorRate`] compares alignments with manual ones. Each score of a corpus is computed from sums over its sentences, so that
//! [`Segments`] can score any part of it: by [length](Segments::by_length), or [resampled](Segments::interval) to say how sure a score is.
//!
//! ```
//! use heedful_translate::evaluate::{Bleu, Metric, evaluate};
//!
//! let hypotheses = ["the cat sat on the mat"];
//! let references = [vec!["the cat sat on a mat", "a cat sat on the mat"]];
//! let bleu = Bleu::default();
//! let segments = evaluate(&bleu, &hypotheses, &references)?;
//! println!("{} = {:.1}", bleu.signature(segments.reference_count()), segments.score());
//! # Ok::<(), heedful_translate::evaluate::Error>(())
//! ```

mod aer;
mod bleu;
mod bootstrap;
mod buckets;
mod chrf;
mod error;
mod links;
mod segments;
mod symmetrise;
mod ter;
mod test_set;
mod text;
mod tokenization;

pub use aer::{AlignmentErrorRate, AlignmentQuality, ReferenceLinks, evaluate_alignments};
pub use bleu::{Bleu, BleuScore, Smoothing};
pub use bootstrap::{Comparison, Interval, compare};
pub use buckets::Buckets;
pub use chrf::ChrF;
pub use error::{Error, Result};
pub use links::{Link, Links, format_links, parse_links};
pub use segments::{Bucket, Metric, Scorer, Segments, evaluate};
pub use symmetrise::{Free, Symmetrisation, symmetrise};
pub use ter::Ter;
pub use test_set::{BucketScore, MetricScores, SAMPLES, SEED, TestSet};
pub use tokenization::Tokenization;

/// BLEU and chrF with their default settings, of translations whose sources have one or more references each: what training looks at.
///
/// Zero if there is nothing to score, or a translation without a reference.
pub fn validation_scores<H: AsRef<str> + Sync, R: AsRef<str> + Sync>(translations: &[H], references: &[Vec<R>]) -> (f64, f64) {
    let score = |metric: &dyn Metric| evaluate(metric, translations, references).map_or(0.0, |segments| segments.score());
    (score(&Bleu::default()), score(&ChrF::default()))
}

/// Whether many of the translations end in a period after a space, as tokenized text does: a BLEU of tokenized text cannot be compared with
/// others.
///
/// The rule is sacreBLEU's: at least 100 lines.
pub fn looks_tokenized<S: AsRef<str>>(hypotheses: &[S]) -> bool {
    hypotheses.iter().filter(|line| line.as_ref().ends_with(" .")).nth(99).is_some()
}
