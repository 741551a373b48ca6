//! How texts are translated.

use crate::decode::{DecodeError, MaxLength, Normalisation, Reading, Sampling};

/// The most hypotheses of a sentence: each takes memory for all its tokens.
const WIDEST: usize = 1000;

/// How a translation is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Search {
    /// The most probable token at every step: fastest.
    Greedy,
    /// The best of several prefixes side by side.
    Beam {
        /// How many, from 1 to 1000.
        width: usize,
    },
    /// At random.
    Sample(Sampling),
}

/// How texts are translated, or pairs scored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TranslateOptions {
    /// How a translation is looked for.
    pub search: Search,
    /// How many translations are returned for each sentence, from 1 to 1000; greedy search has one.
    pub n_best: usize,
    /// How the log-probability of a translation becomes its score.
    pub normalisation: Normalisation,
    /// Where a translation that does not end is cut, and marked as such.
    pub max_length: MaxLength,
    /// No sequence of this many tokens occurs twice in a translation; 0 allows everything.
    pub no_repeat_ngram: usize,
    /// Whether translations carry an alignment. A model without attention has none.
    pub alignment: bool,
    /// How the alignment is read; `None` leaves it to the translator.
    pub reading: Option<Reading>,
    /// Whether texts are split into sentences; otherwise each line is translated as a whole.
    pub split_sentences: bool,
    /// Source tokens that are translated together on one thread, counted once for each hypothesis. Memory grows with it; results do not
    /// depend on it.
    pub batch_tokens: usize,
}

impl Default for TranslateOptions {
    fn default() -> Self {
        Self {
            search: Search::Beam { width: 5 },
            n_best: 1,
            normalisation: Normalisation::default(),
            max_length: MaxLength::default(),
            no_repeat_ngram: 0,
            alignment: true,
            reading: None,
            split_sentences: true,
            batch_tokens: 4096,
        }
    }
}

impl TranslateOptions {
    /// How many rows of a decoder one sentence takes.
    pub(super) fn rows_per_sentence(&self) -> usize {
        match self.search {
            Search::Greedy => 1,
            Search::Beam { width } => width,
            Search::Sample(_) => self.n_best,
        }
    }

    pub(super) fn check(&self) -> Result<(), DecodeError> {
        for (name, value) in [("the number of translations", self.n_best), ("the width of the beam", self.rows_per_sentence())] {
            if !(1..=WIDEST).contains(&value) {
                return Err(DecodeError::Option { name, value: value as f64, allowed: "between 1 and 1000" });
            }
        }
        Ok(())
    }
}
