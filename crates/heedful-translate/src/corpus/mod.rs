//! Sentence pairs: reading them, cleaning them, setting some aside, and putting them into batches.
//!
//! ```no_run
//! use heedful_translate::corpus::{Cleaning, Columns, Files, Report, clean, encode, read};
//! use heedful_translate::text::Tokenizer;
//!
//! let files = Files::tsv("train.tsv.gz", Columns { source: 2, target: 1 });
//! let mut report = Report::default();
//! let pairs = read(&files, &mut report)?;
//! let pairs = clean(pairs, &Cleaning::default(), &[], &mut report);
//! let lines: Vec<&str> = pairs.iter().flat_map(|pair| [pair.source.as_str(), pair.target.as_str()]).collect();
//! let tokenizer = Tokenizer::learn(&lines, 8000)?;
//! let encoded = encode(&pairs, &tokenizer, 256, &mut report);
//! println!("{report}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod augment;
mod batches;
mod clean;
mod encode;
mod error;
mod lines;
mod read;
mod references;
mod report;
mod split;

pub use augment::Augmentation;
pub use batches::batches;
pub use clean::{Cleaning, clean};
pub use encode::{EncodedPair, encode};
pub use error::{Error, Result};
pub use lines::{Fault, LONGEST_LINE, Line, Lines};
pub use read::{Columns, Entry, Files, open_lines, open_pairs, read, read_tsv};
pub use references::{Referenced, group_references};
pub use report::{Dropped, Reason, Report};
pub use split::{Split, split};

/// A sentence and its translation, as they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The line of the corpus it comes from, counted from 1.
    pub line: u64,
    /// The sentence to translate.
    pub source: String,
    /// What it is translated to.
    pub target: String,
}
