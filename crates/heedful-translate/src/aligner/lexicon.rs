//! How likely each target word is to come from each source word.

use rayon::prelude::*;

use super::Text;

/// The number of the source word that stands for none.
pub(super) const NO_WORD: u32 = 0;

/// No pair of words that occurs is held for quite impossible: another pair of sentences may have nothing better.
const LEAST: f64 = 1e-12;

/// The table `p(target word | source word)`, of the words that occur in one pair: row by row of the source words, target words in order.
pub(super) struct Lexicon {
    /// Where the row of each source word begins, and the end of all.
    rows: Vec<usize>,
    targets: Vec<u32>,
    probabilities: Vec<f64>,
}

impl Lexicon {
    /// All target words of a row equally likely, for `vocabulary` source words.
    pub fn new(texts: &[Text<'_>], vocabulary: usize) -> Self {
        let mut texts_of = vec![Vec::new(); vocabulary];
        for (number, text) in texts.iter().enumerate() {
            for &source in text.source.iter().chain(&[NO_WORD]) {
                let texts = &mut texts_of[source as usize];
                if texts.last() != Some(&number) {
                    texts.push(number);
                }
            }
        }
        let row = |texts_of: &Vec<usize>| {
            let mut row: Vec<u32> = texts_of.iter().flat_map(|&number| texts[number].target).copied().collect();
            row.sort_unstable();
            row.dedup();
            row
        };
        let by_source: Vec<Vec<u32>> = texts_of.par_iter().map(row).collect();
        let ends = by_source.iter().scan(0, |end, row| {
            *end += row.len();
            Some(*end)
        });
        let rows = std::iter::once(0).chain(ends).collect();
        let targets = by_source.concat();
        let alike = by_source[NO_WORD as usize].len().max(1) as f64;
        Self { rows, probabilities: vec![1.0 / alike; targets.len()], targets }
    }

    /// How many pairs of words there are.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// The place of a pair of words that occurs.
    pub fn place(&self, source: u32, target: u32) -> usize {
        let row = self.rows[source as usize]..self.rows[source as usize + 1];
        row.start + self.targets[row].binary_search(&target).expect("each target word is in the rows of the source words beside it")
    }

    /// `p(target | source)` of the pair at `place`.
    pub fn probability(&self, place: usize) -> f64 {
        self.probabilities[place]
    }

    /// The table in which a pair is as likely as its share of the row's `counts`.
    pub fn with_counts(&self, counts: &[f64]) -> Self {
        let share = |row: &[usize]| {
            let counts = &counts[row[0]..row[1]];
            let sum = counts.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            counts.iter().map(move |count| (count / sum).max(LEAST))
        };
        let probabilities = self.rows.windows(2).flat_map(share).collect();
        Self { rows: self.rows.clone(), targets: self.targets.clone(), probabilities }
    }
}
