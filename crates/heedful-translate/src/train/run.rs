//! From a configuration to a [`Trainer`]: read, clean, learn the tokenizer, encode.

use std::path::{Path, PathBuf};

use super::{TrainError, Trainer, Validation};
use crate::config::TrainingConfig;
use crate::corpus::{Cleaning, Columns, Files, Pair, Report, clean, encode, group_references, read, split};
use crate::files::write_atomically;
use crate::model::transformer::MAX_POSITIONS;
use crate::model::{Start, build};
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
    let data = &config.data;
    let cleaning = Cleaning { max_words: data.max_words, max_ratio: data.max_ratio, drop_duplicates: data.drop_duplicates };
    let (mut training_report, mut validation_report) = (Report::default(), Report::default());
    let columns = Columns { source: data.source_column, target: data.target_column };
    let training = read(&files("data.train", &data.train, columns)?, &mut training_report)?;
    let (training, held_out) = if data.valid.is_empty() {
        let split = split(training, data.held_out, config.training.seed);
        (split.training, split.held_out)
    } else {
        (training, read(&files("data.valid", &data.valid, columns)?, &mut validation_report)?)
    };
    let training = clean(training, &cleaning, &[&held_out], &mut training_report);
    if training.is_empty() {
        return Err(TrainError::Empty("train on"));
    }
    let tokenizer = tokenizer(folder, &training, config.tokenizer.vocabulary, resume)?;
    let longest = MAX_POSITIONS.min(config.training.batch_tokens);
    let pairs = encode(&training, &tokenizer, longest, &mut training_report);
    let held_out_pairs = encode(&held_out, &tokenizer, longest, &mut validation_report);
    let validation = Validation::new(held_out_pairs, &group_references(&held_out), tokenizer.clone());
    let model = build(&config.model, tokenizer.vocabulary_size(), Start::Random(config.training.seed));
    let trainer = Trainer::new(config.training.clone(), model, pairs, tokenizer.clone(), validation, resume)?;
    Ok(Prepared { trainer, tokenizer, training_report, validation_report })
}

/// One path is a TSV file, two are a source and a target file.
fn files(key: &'static str, paths: &[PathBuf], columns: Columns) -> Result<Files, TrainError> {
    match paths {
        [tsv] => Ok(Files::tsv(tsv, columns)),
        [source, target] => Ok(Files::paired(source, target)),
        _ => Err(TrainError::Files { key, count: paths.len() }),
    }
}

fn tokenizer(folder: &Path, pairs: &[Pair], vocabulary: usize, resume: bool) -> Result<Tokenizer, TrainError> {
    let path = folder.join(TOKENIZER);
    if resume {
        let json = std::fs::read_to_string(&path).map_err(|source| TrainError::Read { path, source })?;
        return Ok(Tokenizer::from_json(&json)?);
    }
    let lines: Vec<&str> = pairs.iter().flat_map(|pair| [pair.source.as_str(), pair.target.as_str()]).collect();
    let tokenizer = Tokenizer::learn(&lines, vocabulary)?;
    write_atomically(&path, tokenizer.to_json().as_bytes()).map_err(|source| TrainError::Write { path, source })?;
    Ok(tokenizer)
}
