//! What was left out of a corpus, and why.

use std::collections::BTreeMap;
use std::fmt;

/// How many examples of each reason are kept.
const EXAMPLES: usize = 3;
/// How much of a sentence an example shows, in characters.
const EXCERPT: usize = 60;

/// Why a line of a corpus is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// More bytes than a line may have.
    LineTooLong,
    /// Bytes that are no text.
    NotUtf8,
    /// Fewer columns than asked for.
    MissingColumn,
    /// Nothing but white space on one side.
    Empty,
    /// More words than allowed on one side.
    TooManyWords,
    /// One side has too many times the words of the other.
    LengthRatio,
    /// The same pair was there before.
    Duplicate,
    /// One side is, but for case and punctuation, a sentence that was set aside for validation or testing.
    HeldOut,
    /// More tokens than allowed on one side.
    TooManyTokens,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LineTooLong => "line too long",
            Self::NotUtf8 => "not UTF-8",
            Self::MissingColumn => "missing column",
            Self::Empty => "empty on one side",
            Self::TooManyWords => "too many words",
            Self::LengthRatio => "lengths too different",
            Self::Duplicate => "duplicate pair",
            Self::HeldOut => "in the validation or test set",
            Self::TooManyTokens => "too many tokens",
        })
    }
}

/// The lines that were left out for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many.
    pub count: u64,
    /// The first of them: line number and an excerpt, or what is wrong.
    pub examples: Vec<(u64, String)>,
}

/// What was read, what is kept, and what was left out for which reason. Prints as a few lines for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Lines that were read.
    pub read: u64,
    /// Pairs that are still in use.
    pub kept: u64,
    /// What was left out.
    pub dropped: BTreeMap<Reason, Dropped>,
}

impl Report {
    /// Counts a line that never became a pair.
    pub(super) fn unusable(&mut self, reason: Reason, line: u64, detail: String) {
        let dropped = self.dropped.entry(reason).or_default();
        dropped.count += 1;
        if dropped.examples.len() < EXAMPLES {
            dropped.examples.push((line, detail));
        }
    }

    /// Counts a pair that is left out.
    pub(super) fn drop_pair(&mut self, reason: Reason, pair: &super::Pair) {
        self.unusable(reason, pair.line, format!("{} | {}", excerpt(&pair.source), excerpt(&pair.target)));
    }
}

fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines read, {} pairs kept", self.read, self.kept)?;
        for (reason, dropped) in &self.dropped {
            write!(f, "\n  {}: {}", reason, dropped.count)?;
            for (line, example) in &dropped.examples {
                write!(f, "\n    line {line}: {example}")?;
            }
        }
        Ok(())
    }
}
