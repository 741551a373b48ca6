//! From a model's scores to sentences: greedy search, beam search, sampling and forced decoding, over any [`Decoder`].
//!
//! Every way of decoding returns [`Hypothesis`] values that can carry the attention of each step, whatever the architecture.
//! What a sentence decodes to depends on that sentence and the options alone, never on the sentences beside it in the batch: ties go to
//! the hypothesis that ranked first one step before, and then to the smaller token.

mod alignment;
mod beam;
mod force;
mod greedy;
#[cfg(test)]
mod markov;
mod path;
mod reading;
mod sample;
#[cfg(test)]
mod tests;
mod top_k;

pub use alignment::{Alignment, Link, Spans};
pub use beam::{Beam, beam};
pub use force::force;
pub use greedy::greedy;
pub use reading::{Layers, Reading, ReadingError};
pub use sample::{Sampling, sample};

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::Decoder;

/// A look at the source that is imposed on one step: `bias` is added to the scores of these source tokens before the softmax, at every
/// layer and head. Models without attention take no notice.
#[derive(Clone, Debug, PartialEq)]
pub struct ImposedLook {
    /// The step that chooses this target token, from 0.
    pub step: usize,
    /// Source tokens; what lies beyond the source's end is ignored.
    pub source: Range<usize>,
    /// A large number, such as 30, leaves next to nothing for other tokens.
    pub bias: f32,
}

/// What is asked of the decoder's row of the same index.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Request<'a> {
    /// The number of source tokens, the end of sentence included.
    pub source_len: usize,
    /// Tokens that the target must begin with. If they end with [`EOS`](crate::text::EOS), they are the whole target.
    pub prefix: &'a [u32],
    /// Where single steps have to look.
    pub looks: &'a [ImposedLook],
    /// Which random numbers [`sample`] draws, together with its seed.
    pub stream: u64,
}

/// What all ways of decoding have in common.
#[derive(Clone, Copy, Debug)]
pub struct SearchOptions<'a> {
    /// Where a hypothesis that does not end is cut.
    pub max_length: MaxLength,
    /// How the log-probability of a hypothesis becomes its score.
    pub normalisation: Normalisation,
    /// No sequence of this many tokens occurs twice in a hypothesis; 0 allows everything.
    pub no_repeat_ngram: usize,
    /// Whether hypotheses carry their attention.
    pub attention: bool,
    /// Ends the search with [`DecodeError::Stopped`] before its next step once it is true.
    pub stop: Option<&'a AtomicBool>,
}

impl Default for SearchOptions<'_> {
    fn default() -> Self {
        Self { max_length: MaxLength::default(), normalisation: Normalisation::default(), no_repeat_ngram: 0, attention: true, stop: None }
    }
}

impl SearchOptions<'_> {
    /// # Errors
    /// If the search is to end.
    pub(crate) fn go_on(&self) -> Result<(), DecodeError> {
        match self.stop {
            Some(stop) if stop.load(Ordering::Relaxed) => Err(DecodeError::Stopped),
            _ => Ok(()),
        }
    }
}

/// The largest number of target tokens, the end of sentence included: `factor * source_len + constant`, but not more than `at_most`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaxLength {
    /// Target tokens for each source token.
    pub factor: f32,
    /// Target tokens on top.
    pub constant: usize,
    /// What the model can write at all.
    pub at_most: usize,
}

impl Default for MaxLength {
    fn default() -> Self {
        Self { factor: 2.0, constant: 10, at_most: usize::MAX }
    }
}

impl MaxLength {
    /// The limit of one request. One token can always be added to a prefix within `at_most`.
    fn of(self, request: &Request<'_>) -> usize {
        let length = (self.factor * request.source_len as f32) as usize + self.constant;
        length.max(request.prefix.len() + 1).min(self.at_most)
    }
}

/// What the log-probability of a hypothesis of `n` tokens, the end of sentence included, is divided by to become its score.
///
/// Without it, a beam prefers short sentences, since every further token costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Normalisation {
    /// 1.
    None,
    /// `n`: the score is the mean log-probability of a token.
    Average,
    /// `((5 + n) / 6)^alpha` (Wu et al. 2016, section 7, without the coverage penalty).
    Wu {
        /// 0 is no normalisation; 0.6 to 1 are usual.
        alpha: f32,
    },
}

impl Default for Normalisation {
    fn default() -> Self {
        Self::Wu { alpha: 1.0 }
    }
}

impl Normalisation {
    fn score(self, log_prob: f64, tokens: usize) -> f64 {
        let tokens = tokens.max(1) as f64;
        log_prob
            / match self {
                Self::None => 1.0,
                Self::Average => tokens,
                Self::Wu { alpha } => ((5.0 + tokens) / 6.0).powf(f64::from(alpha)),
            }
    }
}

/// A target sentence and what the model thought on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// The target tokens, without the end of sentence.
    pub tokens: Vec<u32>,
    /// The log-probability (natural logarithm) of each token given those before it; the last one is that of the end of sentence if the
    /// hypothesis is `finished`.
    pub log_probs: Vec<f32>,
    /// The sum of `log_probs` after [`Normalisation`]; larger is better.
    pub score: f64,
    /// Where each step looked, `[log_probs.len(), layers, heads, source_len]`: empty if it was not asked for or if the model has no
    /// attention.
    pub attention: Vec<f32>,
    /// False if the hypothesis was cut at [`MaxLength`] before its end of sentence.
    pub finished: bool,
}

impl Hypothesis {
    /// The log-probability of the whole hypothesis.
    pub fn log_prob(&self) -> f64 {
        self.log_probs.iter().map(|&l| f64::from(l)).sum()
    }
}

/// Why a batch cannot be decoded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Whoever asked does not want the answer any more.
    #[error("decode: stopped before the end, as was asked for")]
    Stopped,
    /// One request is needed for each row of the decoder.
    #[error("decode: {requests} requests for a decoder of {rows} rows; make the decoder from the same sentences as the requests")]
    Requests {
        /// How many requests there are.
        requests: usize,
        /// How many rows the decoder has.
        rows: usize,
    },
    /// The model's scores make no probabilities.
    #[error(
        "decode: the model's scores for target token {step} of sentence {sentence} of the batch hold NaN or infinity; \
         its weights are damaged, take another checkpoint or bundle"
    )]
    Scores {
        /// The sentence's place in the batch, from 0.
        sentence: usize,
        /// The target token's place in the sentence, from 0.
        step: usize,
    },
    /// A prefix holds a token that the model does not know.
    #[error("decode: token {token} of the target given for sentence {sentence} of the batch; the vocabulary has {vocabulary} tokens")]
    Token {
        /// The sentence's place in the batch, from 0.
        sentence: usize,
        /// The unknown token.
        token: u32,
        /// How many tokens the model knows.
        vocabulary: usize,
    },
    /// An option has a value that makes no sense.
    #[error("decode: {name} is {value}; it must be {allowed}")]
    Option {
        /// The option.
        name: &'static str,
        /// What it was set to.
        value: f64,
        /// What it can be set to.
        allowed: &'static str,
    },
}

/// Checks what all ways of decoding rely on.
fn check(decoder: &dyn Decoder, requests: &[Request<'_>], options: &SearchOptions<'_>) -> Result<(), DecodeError> {
    let rows = decoder.rows();
    if rows != requests.len() {
        return Err(DecodeError::Requests { requests: requests.len(), rows });
    }
    if !(options.max_length.factor >= 0.0 && options.max_length.factor.is_finite()) {
        let value = f64::from(options.max_length.factor);
        return Err(DecodeError::Option { name: "the factor of the largest length", value, allowed: "at least 0" });
    }
    match options.normalisation {
        Normalisation::Wu { alpha } if !(alpha >= 0.0 && alpha.is_finite()) => {
            Err(DecodeError::Option { name: "the length normalisation's alpha", value: f64::from(alpha), allowed: "at least 0" })
        }
        _ => Ok(()),
    }
}
