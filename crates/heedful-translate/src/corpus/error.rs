//! What makes a corpus unusable. A bad line is no error: it is left out and counted in the [`Report`](super::Report).

use std::path::PathBuf;

/// An error of this module; its message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be opened.
    #[error("opening {}: {error}; check the path and its permissions", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
    /// Reading stopped in the middle.
    #[error("reading {name} after line {line}: {error}; the file may be damaged or cut off")]
    Read {
        /// The file.
        name: String,
        /// The last line that could be read.
        line: u64,
        /// What the system, or the decompressor, says.
        #[source]
        error: std::io::Error,
    },
    /// There is not a single line.
    #[error("reading {0}: it is empty; give a file with one sentence pair a line")]
    Empty(String),
    /// Two paired files differ in length.
    #[error(
        "reading {source_name} and {target_name}: {longer} goes on after line {lines}, where the other ends; line k of both must belong together"
    )]
    LineCounts {
        /// The source file.
        source_name: String,
        /// The target file.
        target_name: String,
        /// The one with more lines.
        longer: String,
        /// How many lines the shorter one has.
        lines: u64,
    },
    /// A column number that cannot be.
    #[error("reading {name}: source column {source_column} and target column {target_column}; columns are counted from 1 and must differ")]
    Columns {
        /// The file.
        name: String,
        /// The source column asked for.
        source_column: usize,
        /// The target column asked for.
        target_column: usize,
    },
}

/// A result of this module.
pub type Result<T> = std::result::Result<T, Error>;
