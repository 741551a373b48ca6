//! chrF.

use std::collections::HashMap;
use std::hash::Hash;

use super::text::{case, is_space, signature, split, yes};
use super::{Metric, Scorer};

/// chrF (Popović 2015) and, with words, chrF++ (Popović 2017): the numbers of sacreBLEU.
///
/// `F = (1 + beta^2) P R / (beta^2 P + R)`, where `P` and `R` are the precision and recall of character n-grams, and of word n-grams if
/// any, each averaged over the orders. Of several references, the one with the best score of the sentence counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChrF {
    /// The longest character n-grams.
    pub char_order: usize,
    /// The longest word n-grams: 0 for chrF, 2 for chrF++.
    pub word_order: usize,
    /// How many times recall weighs more than precision.
    pub beta: u32,
    /// Whether case is ignored.
    pub lowercase: bool,
    /// Whether white space counts as characters.
    pub whitespace: bool,
    /// Whether F is averaged over all orders, an absent one counting as almost 0, as in the first implementation; else orders that are
    /// absent on either side are left out.
    pub eps_smoothing: bool,
}

impl Default for ChrF {
    /// chrF2: characters up to 6, no words, recall twice as important.
    fn default() -> Self {
        Self { char_order: 6, word_order: 0, beta: 2, lowercase: false, whitespace: false, eps_smoothing: false }
    }
}

impl ChrF {
    /// chrF2++: with words up to 2.
    pub fn plus_plus() -> Self {
        Self { word_order: 2, ..Self::default() }
    }

    /// For each order its n-grams with their counts.
    fn ngrams(&self, text: &str) -> Vec<HashMap<Vec<char>, u32>> {
        let text = if self.lowercase { text.to_lowercase() } else { text.to_owned() };
        let characters: Vec<char> = text.chars().filter(|&c| self.whitespace || !is_space(c)).collect();
        let words = words_and_punctuation(&text);
        let characters = (1..=self.char_order).map(|n| counted(characters.windows(n).map(<[char]>::to_vec)));
        // Words hold no space, so that words with spaces between them are as good a key as the list of them.
        let words = (1..=self.word_order).map(|n| counted(words.windows(n).map(|words| words.join(" ").chars().collect())));
        characters.chain(words).collect()
    }
}

fn counted<T: Hash + Eq>(items: impl Iterator<Item = T>) -> HashMap<T, u32> {
    let mut counts = HashMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts
}

/// Words, with one punctuation mark of ASCII split off: the last character, or else the first.
fn words_and_punctuation(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in split(text) {
        let (first, last) = (word.chars().next().map_or(0, char::len_utf8), word.chars().next_back().map_or(0, char::len_utf8));
        if first == word.len() {
            words.push(word);
        } else if word.ends_with(|c: char| c.is_ascii_punctuation()) {
            words.extend([&word[..word.len() - last], &word[word.len() - last..]]);
        } else if word.starts_with(|c: char| c.is_ascii_punctuation()) {
            words.extend([&word[..first], &word[first..]]);
        } else {
            words.push(word);
        }
    }
    words
}

impl Scorer for ChrF {
    fn score(&self, sums: &[f64]) -> f64 {
        const EPSILON: f64 = 1e-16;
        let factor = f64::from(self.beta).powi(2);
        let f_score = |precision: f64, recall: f64| (1.0 + factor) * precision * recall / (factor * precision + recall);
        let (mut f_sum, mut precisions, mut recalls, mut orders) = (0.0, 0.0, 0.0, 0.0);
        for order in sums.chunks_exact(3) {
            let (hypothesis, reference, matches) = (order[0], order[1], order[2]);
            let precision = if hypothesis > 0.0 { matches / hypothesis } else { EPSILON };
            let recall = if reference > 0.0 { matches / reference } else { EPSILON };
            f_sum += if factor * precision + recall > 0.0 { f_score(precision, recall) } else { EPSILON };
            if hypothesis > 0.0 && reference > 0.0 {
                precisions += precision;
                recalls += recall;
                orders += 1.0;
            }
        }
        if self.eps_smoothing {
            return 100.0 * f_sum / (self.char_order + self.word_order) as f64;
        }
        if orders == 0.0 || precisions + recalls == 0.0 {
            return 0.0;
        }
        100.0 * f_score(precisions / orders, recalls / orders)
    }
}

impl Metric for ChrF {
    fn name(&self) -> String {
        format!("chrF{}{}", self.beta, "+".repeat(self.word_order))
    }

    fn statistics(&self, hypothesis: &str, references: &[&str]) -> Vec<f64> {
        let hypothesis = self.ngrams(hypothesis);
        let mut best: Option<(f64, Vec<f64>)> = None;
        for reference in references {
            let mut statistics = Vec::with_capacity(3 * hypothesis.len());
            for (hypothesis, reference) in hypothesis.iter().zip(self.ngrams(reference)) {
                let total = |counts: &HashMap<Vec<char>, u32>| counts.values().map(|&count| f64::from(count)).sum::<f64>();
                let matches: f64 =
                    hypothesis.iter().map(|(ngram, &count)| f64::from(count.min(reference.get(ngram).copied().unwrap_or_default()))).sum();
                // An order that the reference lacks counts on neither side.
                statistics.extend([if reference.is_empty() { 0.0 } else { total(hypothesis) }, total(&reference), matches]);
            }
            let score = self.score(&statistics);
            if best.as_ref().is_none_or(|&(best, _)| score > best) {
                best = Some((score, statistics));
            }
        }
        best.map_or_else(|| vec![0.0; 3 * hypothesis.len()], |(_, statistics)| statistics)
    }

    fn signature(&self, references: Option<usize>) -> String {
        let settings = format!(
            "case:{}|eff:{}|nc:{}|nw:{}|space:{}",
            case(self.lowercase),
            yes(!self.eps_smoothing),
            self.char_order,
            self.word_order,
            yes(self.whitespace)
        );
        signature(references, &settings)
    }
}
