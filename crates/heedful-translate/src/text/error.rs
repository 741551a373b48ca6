//! What can go wrong with a tokenizer.

/// An error of this module; its message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There was nothing to learn from.
    #[error("learning a tokenizer: no text was given; give at least one line that is not blank")]
    NoText,
    /// The vocabulary cannot hold what it must.
    #[error(
        "learning a tokenizer: a vocabulary of {asked} tokens is outside {least} to {most}; it must hold the start, the end, 256 bytes and some \
         characters"
    )]
    VocabularySize {
        /// What was asked for.
        asked: usize,
        /// The smallest that works.
        least: usize,
        /// The largest that works.
        most: usize,
    },
    /// The stored tokenizer is not JSON, or its fields are not as expected.
    #[error("reading a tokenizer: {0}; the text is damaged or is no tokenizer of heedful")]
    Json(#[from] serde_json::Error),
    /// The stored tokenizer has another format.
    #[error(
        "reading a tokenizer: its format is \"{found}\" and this version of heedful reads \"{expected}\"; convert it or update heedful"
    )]
    Format {
        /// What the text says.
        found: String,
        /// What this version reads.
        expected: &'static str,
    },
    /// The stored tokenizer contradicts itself.
    #[error("reading a tokenizer: {0}; the text is damaged")]
    Inconsistent(String),
    /// The `tokenizers` crate refused the vocabulary.
    #[error("building a tokenizer: {0}")]
    Bpe(#[source] tokenizers::Error),
}

/// A result of this module.
pub type Result<T> = std::result::Result<T, Error>;
