use std::path::PathBuf;

/// Why a run cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A file of the run cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of the run cannot be written.
    #[error("{} cannot be written: {source}; what was there before is still whole", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A checkpoint cannot be used.
    #[error("{} cannot be used: {what}; start a new run in another folder, or give this one the settings it began with", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A folder already holds a run.
    #[error("{} already holds a training run; go on with it with --resume, or name another folder", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// Too few or too many files.
    #[error("{key} names {count} files; give one TSV file, or a source file and a target file")]
    Files {
        /// The key.
        key: &'static str,
        /// How many it names.
        count: usize,
    },
    /// Text cannot be read.
    #[error(transparent)]
    Corpus(#[from] crate::corpus::Error),
    /// The tokenizer cannot be learnt or read.
    #[error("the tokenizer: {0}")]
    Text(#[from] crate::text::Error),
    /// Word links do not fit the training text.
    #[error("{}: line {line} {what}; it must hold the links of line {line} of the training text, `i-j`, words counted from 0", path.display())]
    Links {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The attention that is to be guided is not there.
    #[error("training.guide_reading: {0}")]
    Reading(#[from] crate::decode::ReadingError),
    /// The model has no attention to guide.
    #[error("data.links: a model of this type has no attention that could be guided; choose another model.type or leave the links out")]
    NoAttention,
    /// The model to start from is another one than the configuration's.
    #[error(
        "the model to start from has another type, other sizes or another vocabulary than [model] and [tokenizer] say; leave them out, or give those that `heedful info` shows"
    )]
    OtherModel,
    /// Nothing is left to train on.
    #[error("no sentence pair is left to {0}; see the report of what was dropped")]
    Empty(&'static str),
    /// A setting makes no sense.
    #[error("training.{name} is {value}; {fix}")]
    Setting {
        /// The key.
        name: &'static str,
        /// Its value.
        value: String,
        /// What to do.
        fix: &'static str,
    },
    /// The loss stopped being a number.
    #[error("{0} updates in a row had no finite gradient; start a new run with a lower training.learning_rate or with training.clip")]
    Diverged(usize),
    /// The validation sentences cannot be translated.
    #[error("validation: {0}")]
    Decode(#[from] crate::decode::DecodeError),
}
