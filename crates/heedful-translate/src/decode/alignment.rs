//! From where tokens looked to which words belong together.

use std::ops::Range;

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// How much each target word looked at each source word.
///
/// From the attention of tokens: a word that the source spells with several tokens receives the **sum** of their weights, as it was
/// looked at wherever one of its tokens was; a word that the target spells with several tokens gives the **mean** of their distributions, so
/// that every word has the same say, however it is spelt. What lies on the source's end of sentence is no word's and is kept
/// apart, in [`outside`](Self::outside): each row and its outside sum to 1.
///
/// As JSON: `{"weights": [[...], ...], "outside": [...], "coverage": [...]}` with a row for each target word.
#[derive(Clone, Debug, PartialEq)]
pub struct Alignment {
    /// `[target_words, source_words]`
    weights: Vec<f32>,
    source_words: usize,
    outside: Vec<f32>,
}

/// The tokens that each word of a sentence is made of, as ascending ranges.
pub type Spans<'a> = &'a [Range<usize>];

/// A target word and the source word that it looked at most.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Link {
    /// The source word, from 0.
    pub source: usize,
    /// The target word, from 0.
    pub target: usize,
    /// The weight between them.
    pub weight: f32,
}

impl Alignment {
    /// From one distribution for each target token, `[target_tokens, source_len]`, as [`Reading::read`](super::Reading::read) gives it.
    /// Rows after the last word's (the end of sentence's) and columns of no word count to no word.
    ///
    /// # Panics
    /// If a word's tokens are none or lie outside of `attention`, or if `attention` is no whole number of rows.
    pub fn new(attention: &[f32], source_len: usize, source: Spans<'_>, target: Spans<'_>) -> Self {
        assert!(
            source_len > 0 && attention.len().is_multiple_of(source_len),
            "attention of {} numbers is no [target_tokens, {source_len}]",
            attention.len()
        );
        let mut weights = vec![0.0; source.len() * target.len()];
        let mut outside = Vec::with_capacity(target.len());
        for (word, tokens) in target.iter().enumerate() {
            assert!(!tokens.is_empty(), "target word {word} has no tokens");
            let row = &mut weights[word * source.len()..(word + 1) * source.len()];
            let share = 1.0 / tokens.len() as f32;
            let mut everything = 0.0;
            for distribution in attention[tokens.start * source_len..tokens.end * source_len].chunks_exact(source_len) {
                for (weight, tokens) in row.iter_mut().zip(source) {
                    *weight += share * distribution[tokens.clone()].iter().sum::<f32>();
                }
                everything += share * distribution.iter().sum::<f32>();
            }
            outside.push((everything - row.iter().sum::<f32>()).max(0.0));
        }
        Self { weights, source_words: source.len(), outside }
    }

    /// How many source words there are.
    pub fn source_words(&self) -> usize {
        self.source_words
    }

    /// How many target words there are.
    pub fn target_words(&self) -> usize {
        self.outside.len()
    }

    /// All weights, `[target_words, source_words]`.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The weights of a target word: one for each source word.
    ///
    /// # Panics
    /// If there is no such word.
    pub fn row(&self, target: usize) -> &[f32] {
        assert!(target < self.target_words(), "target word {target} of {}", self.target_words());
        &self.weights[target * self.source_words..(target + 1) * self.source_words]
    }

    /// The weights of all target words in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        (0..self.target_words()).map(|target| self.row(target))
    }

    /// For each target word the weight that lies on no source word, but on the end of sentence. A large value says that the word came from
    /// no word in particular.
    pub fn outside(&self) -> &[f32] {
        &self.outside
    }

    /// The same with each row scaled to sum to 1 over the source words, and nothing outside. A row without any weight stays 0.
    #[must_use]
    pub fn renormalised(mut self) -> Self {
        if self.source_words > 0 {
            for row in self.weights.chunks_exact_mut(self.source_words) {
                let sum: f32 = row.iter().sum();
                if sum > 0.0 {
                    for weight in row.iter_mut() {
                        *weight /= sum;
                    }
                }
            }
        }
        self.outside.fill(0.0);
        self
    }

    /// For each source word the sum of the weights that it received. Near 0, no target word came from it.
    pub fn coverage(&self) -> Vec<f32> {
        let mut sums = vec![0.0; self.source_words];
        for row in self.rows() {
            sums.iter_mut().zip(row).for_each(|(sum, weight)| *sum += weight);
        }
        sums
    }

    /// The source word that each target word looked at most, the first of equals; a target word that looked at none has no link.
    pub fn links(&self) -> Vec<Link> {
        let best = |(target, row): (usize, &[f32])| {
            let mut best: Option<Link> = None;
            for (source, &weight) in row.iter().enumerate() {
                if weight > best.map_or(0.0, |b| b.weight) {
                    best = Some(Link { source, target, weight });
                }
            }
            best
        };
        self.rows().enumerate().filter_map(best).collect()
    }

    /// All source words that a target word looked at with at least this weight: none for a word that came from no word in particular, several
    /// for one that came from several.
    pub fn links_above(&self, threshold: f32) -> Vec<Link> {
        let above = |(target, row): (usize, &[f32])| {
            let links = row.iter().enumerate().filter(|&(_, &weight)| weight >= threshold && weight > 0.0);
            links.map(|(source, &weight)| Link { source, target, weight }).collect::<Vec<_>>()
        };
        self.rows().enumerate().flat_map(above).collect()
    }

    /// The links in the Pharaoh format: `source-target` pairs, counted from 0, in the order of the target.
    pub fn pharaoh(&self) -> String {
        let links: Vec<String> = self.links().iter().map(|link| format!("{}-{}", link.source, link.target)).collect();
        links.join(" ")
    }
}

impl Serialize for Alignment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut alignment = serializer.serialize_struct("Alignment", 3)?;
        alignment.serialize_field("weights", &self.rows().collect::<Vec<_>>())?;
        alignment.serialize_field("outside", &self.outside)?;
        alignment.serialize_field("coverage", &self.coverage())?;
        alignment.end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Two source words of 2 and 1 tokens and `EOS`; three target words of 1, 2 and 1 tokens and `EOS`.
    fn example() -> Alignment {
        #[rustfmt::skip]
        let attention = [
            0.5,  0.25, 0.125, 0.125,
            0.0,  0.25, 0.5,   0.25,
            0.25, 0.0,  0.75,  0.0,
            0.0,  0.0,  0.0,   1.0,
            0.25, 0.25, 0.25,  0.25,
        ];
        Alignment::new(&attention, 4, &[0..2, 2..3], &[0..1, 1..3, 3..4])
    }

    #[test]
    fn source_tokens_are_summed_and_target_tokens_averaged() {
        let alignment = example();
        assert_eq!((alignment.source_words(), alignment.target_words()), (2, 3));
        assert_eq!(alignment.rows().collect::<Vec<_>>(), [[0.75, 0.125], [0.25, 0.625], [0.0, 0.0]]);
        assert_eq!(alignment.outside(), [0.125, 0.125, 1.0]);
        assert_eq!(alignment.coverage(), [1.0, 0.75]);
        assert_eq!(alignment.pharaoh(), "0-0 1-1", "the last word looked at no word");
        assert_eq!(alignment.links()[1], Link { source: 1, target: 1, weight: 0.625 });
    }

    #[test]
    fn renormalised_rows_sum_to_one_unless_they_are_empty() {
        let alignment = example().renormalised();
        let sums: Vec<f32> = alignment.rows().map(|row| row.iter().sum()).collect();
        assert!((sums[0] - 1.0).abs() < 1e-6 && (sums[1] - 1.0).abs() < 1e-6 && sums[2] == 0.0);
        assert_eq!(alignment.outside(), [0.0; 3]);
        assert_eq!(alignment.pharaoh(), "0-0 1-1");
    }

    #[test]
    fn json_has_a_row_for_each_target_word() {
        let expected = r#"{"weights":[[0.75,0.125],[0.25,0.625],[0.0,0.0]],"outside":[0.125,0.125,1.0],"coverage":[1.0,0.75]}"#;
        assert_eq!(serde_json::to_string(&example()).unwrap(), expected);
    }

    #[test]
    fn nothing_aligns_to_an_empty_side() {
        let no_source = Alignment::new(&[1.0, 1.0], 1, &[], &[0..1, 1..2]);
        assert_eq!((no_source.pharaoh().as_str(), no_source.outside(), no_source.row(1)), ("", &[1.0, 1.0][..], &[][..]));
        let no_target = Alignment::new(&[0.25, 0.25, 0.5], 3, &[0..1, 1..2], &[]);
        assert_eq!((no_target.pharaoh().as_str(), no_target.coverage()), ("", vec![0.0; 2]));
        assert_eq!(no_source.renormalised().target_words(), 2);
    }

    proptest! {
        #[test]
        fn no_mass_is_lost(source_cuts in prop::collection::vec(1usize..4, 0..6), target_cuts in prop::collection::vec(1usize..4, 0..6), seed: u32) {
            let spans = |cuts: &[usize]| {
                let ends = cuts.iter().scan(0, |end, cut| { *end += cut; Some(*end) });
                ends.zip(cuts).map(|(end, cut)| end - cut..end).collect::<Vec<_>>()
            };
            let (source, target) = (spans(&source_cuts), spans(&target_cuts));
            let source_len = source_cuts.iter().sum::<usize>() + 1;
            let steps = target_cuts.iter().sum::<usize>() + 1;
            let mut attention: Vec<f32> = (0..source_len * steps).map(|i| (i as u32).wrapping_mul(seed | 1) as f32 / 4e9 + 1e-3).collect();
            for row in attention.chunks_mut(source_len) {
                let sum: f32 = row.iter().sum();
                for weight in row.iter_mut() {
                    *weight /= sum;
                }
            }
            let alignment = Alignment::new(&attention, source_len, &source, &target);
            for (row, outside) in alignment.rows().zip(alignment.outside()) {
                prop_assert!((row.iter().sum::<f32>() + outside - 1.0).abs() < 1e-5);
            }
            let total: f32 = alignment.coverage().iter().chain(alignment.outside()).sum();
            prop_assert!((total - target.len() as f32).abs() < 1e-4);
        }
    }
}
