use std::path::PathBuf;

use crate::bundle::BundleError;
use crate::config::ConfigError;
use crate::train::TrainError;
use crate::translator::TranslateError;

/// Why a comparison cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// Nothing to compare.
    #[error("a comparison needs at least one rung")]
    NoRungs,
    /// A rung's name cannot be the name of its folder.
    #[error("{0:?} cannot be a rung's name; letters, digits, - and _ can")]
    Name(String),
    /// Two rungs have one name.
    #[error("two rungs are called {0}; give their configurations other file names")]
    SameName(String),
    /// The rungs do not have in common what must be the same for all.
    #[error("{what} of {first} and of {second} differ; a comparison has one corpus, one tokenizer, one seed and one budget")]
    Differ {
        /// What differs.
        what: &'static str,
        /// The first rung.
        first: String,
        /// Another.
        second: String,
    },
    /// A folder already holds a comparison.
    #[error("{} already holds a comparison; go on with it with --resume, or name another folder", .0.display())]
    Exists(PathBuf),
    /// A folder holds no comparison.
    #[error("{} holds no comparison; begin one without --resume, or name its folder with -o", .0.display())]
    Missing(PathBuf),
    /// A file of the comparison cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of the comparison cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of the comparison makes no sense.
    #[error("{} cannot be used: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A rung's configuration makes no sense.
    #[error("rung {rung}: {source}")]
    Config {
        /// The rung.
        rung: String,
        /// What is wrong.
        source: ConfigError,
    },
    /// The text cannot be used.
    #[error(transparent)]
    Text(TrainError),
    /// There is nothing to score.
    #[error("there is nothing to score; name a test set, or validation text")]
    NoTest,
    /// Not all of the test set can be used.
    #[error("a test set must be whole, and of this one lines cannot be used:\n{0}")]
    TestText(String),
    /// A line of the test set is longer than a model can read.
    #[error("line {line} of the test set has {tokens} tokens, and a model takes {limit}; leave it out or break it into several")]
    TestLine {
        /// Which, from 1.
        line: u64,
        /// How many tokens it has, the end of sentence included.
        tokens: usize,
        /// How many it may have.
        limit: usize,
    },
    /// A rung cannot be trained.
    #[error("rung {rung}: {source}")]
    Train {
        /// The rung.
        rung: String,
        /// Why.
        source: TrainError,
    },
    /// A rung's model file cannot be written or read.
    #[error("rung {rung}: {source}")]
    Bundle {
        /// The rung.
        rung: String,
        /// Why.
        source: BundleError,
    },
    /// A rung cannot translate the test set.
    #[error("rung {rung}: {source}")]
    Translate {
        /// The rung.
        rung: String,
        /// Why.
        source: TranslateError,
    },
    /// Translations cannot be scored.
    #[error("scores: {0}")]
    Score(#[from] crate::evaluate::Error),
    /// The observer asked to stop; what was done so far is kept.
    #[error("stopped before the end; what was done so far is kept")]
    Stopped,
}
