//! What a training run is made of: data, tokenizer, model, training, decoding and the card of the model that comes out.
//!
//! A configuration is put together in layers, each over the one before: [a preset](TrainingConfig::preset), a TOML file
//! ([`TrainingConfig::with_toml`]) and single keys ([`TrainingConfig::with_overrides`]). Every key has a default, and
//! [`TrainingConfig::to_commented_toml`] prints all of them with what they mean.

mod layers;
mod reference;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::decode::{MaxLength, Normalisation, Reading};
use crate::model::config::ModelConfig;
use crate::translator::{Search, TranslateOptions};

pub(crate) use layers::within;
pub use layers::{ConfigError, PRESETS};

/// Everything that decides what a training run does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// Where the text comes from and what is left out of it.
    pub data: DataConfig,
    /// How text becomes tokens.
    pub tokenizer: TokenizerConfig,
    /// The architecture and its sizes.
    pub model: ModelConfig,
    /// How the weights are found.
    pub training: RunConfig,
    /// How sentences are translated with the model file unless it is said otherwise; validation is greedy.
    pub decoding: DecodingConfig,
    /// What the model file says about itself.
    pub card: CardConfig,
}

/// Where the text comes from and what is left out of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Training pairs: one TSV file, or a source file and a target file with one sentence a line; `.gz` is unpacked.
    pub train: Vec<PathBuf>,
    /// Validation pairs in the same form; none: [`Self::held_out`] pairs of the training data, drawn by the seed.
    pub valid: Vec<PathBuf>,
    /// Test pairs in the same form, if there are any: what has a sentence in common with them is left out of training.
    pub test: Vec<PathBuf>,
    /// Word links of the training pairs, line for line in the Pharaoh format, which guide the attention; empty: none.
    pub links: PathBuf,
    /// How many training pairs are set aside for validation if `valid` is empty.
    pub held_out: usize,
    /// The TSV column that holds the source, counted from 1.
    pub source_column: usize,
    /// The TSV column that holds the target, counted from 1.
    pub target_column: usize,
    /// The source language's name, for the model card.
    pub source_language: String,
    /// The target language's name, for the model card.
    pub target_language: String,
    /// Pairs with more words on either side are left out.
    pub max_words: usize,
    /// Pairs where one side has this many times the words of the other are left out; 0 keeps all.
    pub max_ratio: f32,
    /// Whether repeated pairs are left out.
    pub drop_duplicates: bool,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            train: Vec::new(),
            valid: Vec::new(),
            test: Vec::new(),
            links: PathBuf::new(),
            held_out: 1000,
            source_column: 1,
            target_column: 2,
            source_language: String::new(),
            target_language: String::new(),
            max_words: 100,
            max_ratio: 4.0,
            drop_duplicates: true,
        }
    }
}

/// How text becomes tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenizerConfig {
    /// How many tokens the joint vocabulary of both languages has at most.
    pub vocabulary: usize,
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self { vocabulary: 8000 }
    }
}

/// How the learning rate changes after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleConfig {
    /// It stays.
    Constant,
    /// With `1 / sqrt(update)` (Vaswani et al. 2017, section 5.3).
    #[default]
    InverseSqrt,
    /// Straight down to zero at the end of the run, from where the warm-up ends; needs a limit of updates or of minutes beyond that.
    Linear,
}

/// What decides which validation was the best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// The lowest loss per token.
    Loss,
    /// The highest BLEU of the translated validation sentences.
    #[default]
    Bleu,
}

/// How the weights are stored in the model file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// 32 bits, exactly as trained.
    F32,
    /// 16 bits, IEEE 754 binary16.
    #[default]
    F16,
    /// 8 bits with one scale per row of a matrix; vectors have 16 bits.
    I8,
}

/// How the weights are found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// The folder for checkpoints, metrics and the model file.
    pub output: PathBuf,
    /// All randomness is a function of this number and of the position in the run.
    pub seed: u64,
    /// Tokens of either side in one update, about.
    pub batch_tokens: usize,
    /// Parts that a batch is cut into, which then run at the same time. The result depends on it, but not on the number of threads.
    pub shards: usize,
    /// How much of each target's probability mass is spread over the whole vocabulary.
    pub label_smoothing: f32,
    /// The probability with which an activation is dropped.
    pub dropout: f32,
    /// The share of the pairs that are joined with another one, drawn anew in each epoch: see [`Augmentation`](crate::corpus::Augmentation).
    pub concatenate: f32,
    /// The probability with which a merge is left out when a training sentence is segmented, anew in each epoch.
    pub bpe_dropout: f32,
    /// Which attention [`DataConfig::links`] guide: see [`Guided`](crate::model::Guided).
    pub guide_reading: Reading,
    /// What the cross-entropy of the guided attention is multiplied with, beside the 1 of the translation.
    pub guide_weight: f32,
    /// The highest learning rate, reached at the end of the warm-up.
    pub learning_rate: f32,
    /// What follows the warm-up.
    pub schedule: ScheduleConfig,
    /// Updates over which the learning rate grows from zero.
    pub warmup: u64,
    /// Decay of the weights per update, times the learning rate (AdamW).
    pub weight_decay: f32,
    /// The largest norm of a gradient; longer ones are shortened to it. 0 leaves them.
    pub clip: f32,
    /// Stop after this many passes over the data; 0 is no limit.
    pub epochs: u64,
    /// Stop after this many updates; 0 is no limit.
    pub updates: u64,
    /// Stop after this many minutes of training; 0 is no limit.
    pub minutes: f64,
    /// Updates between validations; 0 leaves it to [`Self::validate_minutes`].
    pub validate_every: u64,
    /// Minutes of training between validations; 0 leaves it to [`Self::validate_every`].
    pub validate_minutes: f64,
    /// Stop after this many validations in a row without a new best; 0 is never.
    pub patience: u64,
    /// What the best validation is.
    pub keep_best: Criterion,
    /// How many of the best checkpoints are averaged for the model file; 1 takes the best as it is.
    pub average: usize,
    /// Updates between checkpoints; a stop and every validation write one too.
    pub checkpoint_every: u64,
    /// How the weights are stored in the model file.
    pub storage: Storage,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            output: PathBuf::from("model"),
            seed: 1,
            batch_tokens: 4096,
            shards: 4,
            label_smoothing: 0.1,
            dropout: 0.1,
            concatenate: 0.0,
            bpe_dropout: 0.0,
            guide_reading: Reading { shift: true, ..Reading::LAST },
            guide_weight: 0.5,
            learning_rate: 0.001,
            schedule: ScheduleConfig::InverseSqrt,
            warmup: 1000,
            weight_decay: 0.0,
            clip: 1.0,
            epochs: 20,
            updates: 0,
            minutes: 0.0,
            validate_every: 500,
            validate_minutes: 0.0,
            patience: 10,
            keep_best: Criterion::Bleu,
            average: 5,
            checkpoint_every: 500,
            storage: Storage::F16,
        }
    }
}

/// How sentences are translated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodingConfig {
    /// Hypotheses that are kept at each step; 1 is greedy.
    pub beam: usize,
    /// Log-probabilities are divided by `((5 + length) / 6)^length_penalty` (Wu et al. 2016, section 7).
    pub length_penalty: f32,
    /// A translation has at most this many tokens for each source token, and [`Self::max_length_constant`] more.
    pub max_length_factor: f32,
    /// See [`Self::max_length_factor`].
    pub max_length_constant: usize,
    /// Which attention is read as the alignment.
    pub reading: Reading,
}

impl Default for DecodingConfig {
    fn default() -> Self {
        Self { beam: 5, length_penalty: 1.0, max_length_factor: 2.0, max_length_constant: 10, reading: Reading::LAST }
    }
}

impl DecodingConfig {
    /// Whether every value lies in its range.
    ///
    /// # Errors
    /// Names the first key that does not, and what it may be.
    pub fn check(&self) -> Result<(), ConfigError> {
        within("decoding.beam", self.beam, 1, 1000)?;
        within("decoding.length_penalty", self.length_penalty, 0.0, 10.0)?;
        within("decoding.max_length_factor", self.max_length_factor, 0.0, 100.0)?;
        within("decoding.max_length_constant", self.max_length_constant, 1, 10_000)
    }

    /// The same for the translator.
    pub fn options(&self) -> TranslateOptions {
        TranslateOptions {
            search: if self.beam == 1 { Search::Greedy } else { Search::Beam { width: self.beam } },
            normalisation: Normalisation::Wu { alpha: self.length_penalty },
            max_length: MaxLength { factor: self.max_length_factor, constant: self.max_length_constant, ..MaxLength::default() },
            reading: Some(self.reading),
            ..TranslateOptions::default()
        }
    }
}

/// What the model file says about itself, beside what is known from the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CardConfig {
    /// The model's name.
    pub name: String,
    /// The model whose weights training began with; empty: none.
    pub started_from: String,
    /// What the model was trained on, and where that can be had.
    pub data: String,
    /// The licence of the weights.
    pub licence: String,
    /// Whom the data's licence asks to be named.
    pub attribution: String,
}
