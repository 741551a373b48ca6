//! From a configuration to a [`Trainer`]: read, clean, learn the tokenizer, encode.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::links::read_links;
use super::{TrainError, Trainer, Validation};
use crate::bundle::Bundle;
use crate::config::{DataConfig, TrainingConfig};
use crate::corpus::{Cleaning, Columns, Files, Pair, Report, clean, encode, group_references, read, split};
use crate::files::write_atomically;
use crate::model::transformer::MAX_POSITIONS;
use crate::model::{Model, Start, build};
use crate::text::Tokenizer;

/// A run that is ready to begin or to go on.
pub struct Prepared {
    /// The run.
    pub trainer: Trainer,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// What was dropped from the training text, and why.
    pub training_report: Report,
    /// What was dropped from the validation text, and why.
    pub validation_report: Report,
}

/// The tokenizer's file in a run's folder.
pub const TOKENIZER: &str = "tokenizer.json";

/// Reads and encodes the text of a run. With `resume`, the tokenizer is the one in the run's folder; otherwise it is learnt and written there.
///
/// # Errors
/// If text cannot be read, nothing is left of it, or the run's folder does not fit.
pub fn prepare(config: &TrainingConfig, resume: bool) -> Result<Prepared, TrainError> {
    let folder = &config.training.output;
    if !resume && super::trainer::is_run(folder) {
        return Err(TrainError::Exists { path: folder.clone() });
    }
    let text = TrainingText::read(&config.data, config.training.seed)?;
    let path = folder.join(TOKENIZER);
    let tokenizer = if resume { load_tokenizer(&path)? } else { text.learn_tokenizer(config.tokenizer.vocabulary)? };
    text.prepare(config, &tokenizer, resume)
}

/// A run that starts from a model that is there, with its tokenizer, instead of from random weights: to adapt it to the text of another domain, or
/// to train it longer. Its sizes and its vocabulary must be those of `config`; the learning rate begins anew. Such a run is resumed like any
/// other, by [`prepare`].
///
/// # Errors
/// As [`prepare`], or if the model has another type, other sizes or another vocabulary.
pub fn prepare_from(config: &TrainingConfig, start: Bundle) -> Result<Prepared, TrainError> {
    let folder = &config.training.output;
    if super::trainer::is_run(folder) {
        return Err(TrainError::Exists { path: folder.clone() });
    }
    if start.config.model != config.model || start.tokenizer.vocabulary_size() != config.tokenizer.vocabulary {
        return Err(TrainError::OtherModel);
    }
    let text = TrainingText::read(&config.data, config.training.seed)?;
    text.prepare_model(config, &start.tokenizer, start.model, false)
}

/// The text that one or more runs learn from: read, cleaned, and apart from what is held out.
pub struct TrainingText {
    /// What to train on.
    pub training: Vec<Pair>,
    /// What to validate on.
    pub held_out: Vec<Pair>,
    /// What never to train on, beside that.
    pub test: Vec<Pair>,
    /// The word links of the training pairs, by line.
    links: HashMap<u64, Vec<[u32; 2]>>,
    training_report: Report,
    validation_report: Report,
    /// What of the test set cannot be used.
    pub test_report: Report,
}

impl TrainingText {
    /// Reads and cleans; where no validation text is named, what is set aside follows from `seed`.
    ///
    /// # Errors
    /// If text cannot be read or nothing is left of it.
    pub fn read(data: &DataConfig, seed: u64) -> Result<Self, TrainError> {
        let cleaning = Cleaning { max_words: data.max_words, max_ratio: data.max_ratio, drop_duplicates: data.drop_duplicates };
        let (mut training_report, mut validation_report) = (Report::default(), Report::default());
        let columns = Columns { source: data.source_column, target: data.target_column };
        let training = read(&files("data.train", &data.train, columns)?, &mut training_report)?;
        let (training, held_out) = if data.valid.is_empty() {
            let split = split(training, data.held_out, seed);
            (split.training, split.held_out)
        } else {
            (training, read(&files("data.valid", &data.valid, columns)?, &mut validation_report)?)
        };
        let mut test_report = Report::default();
        let test = if data.test.is_empty() { Vec::new() } else { read(&files("data.test", &data.test, columns)?, &mut test_report)? };
        let training = clean(training, &cleaning, &[&held_out, &test], &mut training_report);
        if training.is_empty() {
            return Err(TrainError::Empty("train on"));
        }
        let links = if data.links.as_os_str().is_empty() { HashMap::new() } else { read_links(&data.links, &training)? };
        Ok(Self { training, held_out, test, links, training_report, validation_report, test_report })
    }

    /// The tokenizer of both languages together.
    ///
    /// # Errors
    /// If the vocabulary is too small.
    pub fn learn_tokenizer(&self, vocabulary: usize) -> Result<Tokenizer, TrainError> {
        let lines: Vec<&str> = self.training.iter().flat_map(|pair| [pair.source.as_str(), pair.target.as_str()]).collect();
        Ok(Tokenizer::learn(&lines, vocabulary)?)
    }

    /// A run on this text, with the tokenizer written into its folder.
    ///
    /// # Errors
    /// If settings make no sense or the run's folder does not fit.
    pub fn prepare(&self, config: &TrainingConfig, tokenizer: &Tokenizer, resume: bool) -> Result<Prepared, TrainError> {
        let model = build(&config.model, tokenizer.vocabulary_size(), Start::Random(config.training.seed));
        self.prepare_model(config, tokenizer, model, resume)
    }

    fn prepare_model(
        &self,
        config: &TrainingConfig,
        tokenizer: &Tokenizer,
        model: Box<dyn Model>,
        resume: bool,
    ) -> Result<Prepared, TrainError> {
        let path = config.training.output.join(TOKENIZER);
        let (mut training_report, mut validation_report) = (self.training_report.clone(), self.validation_report.clone());
        let longest = MAX_POSITIONS.min(config.training.batch_tokens);
        let mut pairs = encode(&self.training, tokenizer, longest, &mut training_report);
        for pair in &mut pairs {
            pair.links = self.links.get(&pair.line).cloned().unwrap_or_default();
        }
        let held_out_pairs = encode(&self.held_out, tokenizer, longest, &mut validation_report);
        // What is too long for the loss is too long to be translated.
        let kept: HashSet<u64> = held_out_pairs.iter().map(|pair| pair.line).collect();
        let translated: Vec<Pair> = self.held_out.iter().filter(|pair| kept.contains(&pair.line)).cloned().collect();
        let validation = Validation::new(held_out_pairs, &group_references(&translated), tokenizer.clone());
        let trainer = Trainer::new(config.training.clone(), model, pairs, tokenizer.clone(), validation, resume)?;
        if !resume {
            write_atomically(&path, tokenizer.to_json().as_bytes()).map_err(|source| TrainError::Write { path, source })?;
        }
        Ok(Prepared { trainer, tokenizer: tokenizer.clone(), training_report, validation_report })
    }
}

/// One path is a TSV file, two are a source and a target file.
fn files(key: &'static str, paths: &[PathBuf], columns: Columns) -> Result<Files, TrainError> {
    match paths {
        [tsv] => Ok(Files::tsv(tsv, columns)),
        [source, target] => Ok(Files::paired(source, target)),
        _ => Err(TrainError::Files { key, count: paths.len() }),
    }
}

/// The tokenizer of a run that was begun.
///
/// # Errors
/// If the file cannot be read.
pub fn load_tokenizer(path: &Path) -> Result<Tokenizer, TrainError> {
    let json = std::fs::read_to_string(path).map_err(|source| TrainError::Read { path: path.to_owned(), source })?;
    Ok(Tokenizer::from_json(&json)?)
}
