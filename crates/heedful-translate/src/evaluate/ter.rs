//! Translation edit rate.

mod distance;
mod shift;
mod words;

use std::collections::HashMap;

use super::text::{case, signature, yes};
use super::{Metric, Scorer};

/// Translation edit rate (Snover et al. 2006), less is better: the numbers of sacreBLEU, which follow Tercom.
///
/// `100 * edits / words`, where an edit inserts, deletes or replaces a word of the translation, or moves words; of several references, the
/// one with the fewest edits counts, and `words` is their mean length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent switches, as in the signature")]
pub struct Ter {
    /// Whether punctuation is set apart from words.
    pub normalized: bool,
    /// Whether punctuation is removed.
    pub no_punctuation: bool,
    /// Whether the two above treat Chinese and Japanese too.
    pub asian_support: bool,
    /// Whether case counts.
    pub case_sensitive: bool,
}

impl Scorer for Ter {
    fn score(&self, sums: &[f64]) -> f64 {
        let (edits, length) = (sums[0], sums[1]);
        if length > 0.0 {
            100.0 * (edits / length)
        } else if edits > 0.0 {
            100.0
        } else {
            0.0
        }
    }
}

impl Metric for Ter {
    fn name(&self) -> String {
        "TER".into()
    }

    fn statistics(&self, hypothesis: &str, references: &[&str]) -> Vec<f64> {
        let hypothesis = self.words(hypothesis);
        let references: Vec<String> = references.iter().map(|reference| self.words(reference)).collect();
        let mut numbers = HashMap::new();
        let hypothesis = numbered(&hypothesis, &mut numbers);
        let references: Vec<Vec<u32>> = references.iter().map(|reference| numbered(reference, &mut numbers)).collect();

        let fewest = references.iter().map(|reference| shift::edits(&hypothesis, reference)).min().unwrap_or_default();
        let length: usize = references.iter().map(Vec::len).sum();
        vec![fewest as f64, length as f64 / references.len().max(1) as f64]
    }

    fn signature(&self, references: Option<usize>) -> String {
        let settings = format!(
            "case:{}|tok:tercom|norm:{}|punct:{}|asian:{}",
            case(!self.case_sensitive),
            yes(self.normalized),
            yes(!self.no_punctuation),
            yes(self.asian_support)
        );
        signature(references, &settings)
    }
}

/// Words as numbers, equal where the words are.
fn numbered<'t>(words: &'t str, numbers: &mut HashMap<&'t str, u32>) -> Vec<u32> {
    words
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| {
            let next = numbers.len() as u32;
            *numbers.entry(word).or_insert(next)
        })
        .collect()
}
