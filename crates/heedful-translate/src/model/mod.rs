//! What every architecture offers: a training step, and a decoder that takes one token at a time and shows what it looked at.

pub mod config;
#[cfg(test)]
mod contract;
pub mod first_attention;
mod guided;
pub mod looks;
mod packed;
pub mod rnn;
pub mod rnn_attention;
mod rnn_ends;
mod time_major;
pub mod transformer;
mod transformer_decoder;

use heedful_nn::incremental::Imposed;
use heedful_nn::{Gradients, Parameters, Workspace};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use config::ModelConfig;
pub use guided::Guided;

/// One worker's part of a batch: sentence pairs as token ids.
///
/// Both sides end with [`EOS`](crate::text::EOS) and start with a word; a model puts [`BOS`](crate::text::BOS) before the target itself.
#[derive(Clone, Debug, Default)]
pub struct Shard<'a> {
    /// Source sentences.
    pub sources: Vec<&'a [u32]>,
    /// Target sentences, one for each source.
    pub targets: Vec<&'a [u32]>,
    /// Where the targets ought to look, if they are told.
    pub guide: Option<Guided>,
}

/// How a training step differs from a plain evaluation of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regularisation {
    /// The probability with which an activation is dropped.
    pub dropout: f32,
    /// How much of each target's probability mass is spread over the whole vocabulary (Szegedy et al. 2016, section 7).
    pub label_smoothing: f32,
    /// What the dropped positions are a pure function of, together with the place in the model: seed, update and shard.
    pub randomness: u64,
}

/// Sums over the target tokens of a shard, so that sums of shards add up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// What is minimised: the smoothed cross-entropy in nats.
    pub objective: f64,
    /// The plain negative log-likelihood in nats; `exp(nll / tokens)` is the perplexity.
    pub nll: f64,
    /// How many target tokens were predicted, the end of sentence included.
    pub tokens: usize,
}

/// How many attention distributions over the source a decoder has at each target position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrossAttention {
    /// Decoder layers that look at the source.
    pub layers: usize,
    /// Heads in each of them.
    pub heads: usize,
}

/// What the weights of a new model are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Random numbers that are a function of this seed.
    Random(u64),
    /// Zeros, for weights that come from a file.
    Blank,
}

impl Start {
    fn store(self) -> (Parameters, ChaCha8Rng) {
        match self {
            Self::Random(seed) => (Parameters::new(), ChaCha8Rng::seed_from_u64(seed)),
            Self::Blank => (Parameters::blank(), ChaCha8Rng::seed_from_u64(0)),
        }
    }
}

/// A model of the given architecture and sizes.
pub fn build(config: &ModelConfig, vocabulary: usize, start: Start) -> Box<dyn Model> {
    match config {
        ModelConfig::Transformer(config) => Box::new(transformer::Transformer::new(config, vocabulary, start)),
        ModelConfig::Rnn(config) => Box::new(rnn::Rnn::new(config, vocabulary, start)),
        ModelConfig::RnnAttention(config) => Box::new(rnn_attention::RnnAttention::new(config, vocabulary, start)),
    }
}

/// A translation model.
pub trait Model: Send + Sync {
    /// Its weights.
    fn parameters(&self) -> &Parameters;

    /// Its weights.
    fn parameters_mut(&mut self) -> &mut Parameters;

    /// The number of tokens that it can produce.
    fn vocabulary(&self) -> usize;

    /// The attention over the source, or `None` for the model that sees one hidden state only.
    fn cross_attention(&self) -> Option<CrossAttention>;

    /// The Transformer that it is, for whoever looks into all of its attention.
    fn as_transformer(&self) -> Option<&transformer::Transformer> {
        None
    }

    /// Adds the derivative of the shard's objective, **divided by nothing**, to `gradients`, and returns the sums.
    fn train_step(&self, shard: &Shard<'_>, how: Regularisation, gradients: &mut Gradients, workspace: &mut Workspace) -> Loss;

    /// The loss of a shard without dropout and smoothing.
    fn loss(&self, shard: &Shard<'_>, workspace: &mut Workspace) -> Loss;

    /// Reads the sources (each ends with `EOS`) and stands before the first target token of each: one row a source.
    fn decoder<'m>(&'m self, sources: &[&[u32]]) -> Box<dyn Decoder + 'm>;
}

/// Target prefixes ("rows") that grow by one token at a time.
pub trait Decoder {
    /// How many rows there are.
    fn rows(&self) -> usize;

    /// Makes a row look at some of its source tokens at its next step: at every layer and head, if it has any.
    fn impose(&mut self, _look: Imposed) {}

    /// Feeds one token to each row (`BOS` at first) and returns the scores of the next token, `[rows, vocabulary]`, before the
    /// softmax.
    fn step(&mut self, tokens: &[u32]) -> &[f32];

    /// Where the last step of a row looked: probabilities `[layers, heads, source_len]`, each row of `source_len` sums to 1.
    /// Empty for a model without attention.
    fn attention(&self, row: usize) -> &[f32];

    /// Makes row `i` a copy of what row `rows[i]` was: for beams that fork and sentences that are done.
    fn select(&mut self, rows: &[usize]);
}
