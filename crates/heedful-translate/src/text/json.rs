//! A tokenizer as text, to be stored with a model.

use serde::{Deserialize, Serialize};

use super::{Error, Result, Tokenizer};

const FORMAT: &str = "heedful-bpe-1";

/// Only what cannot be derived: ids follow from the order, the text of a merge from its parts.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: String,
    alphabet: String,
    merges: Vec<[u32; 2]>,
}

impl Tokenizer {
    /// The tokenizer as JSON: its format, its alphabet and its merges as pairs of ids.
    pub fn to_json(&self) -> String {
        let stored = Stored { format: FORMAT.into(), alphabet: self.alphabet().iter().collect(), merges: self.merge_list().to_vec() };
        serde_json::to_string(&stored).expect("strings and numbers have a JSON form")
    }

    /// The tokenizer that [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    ///
    /// [`Error::Json`], [`Error::Format`], [`Error::Inconsistent`]: whatever the text is, this does not panic, and what it returns can be
    /// used.
    pub fn from_json(json: &str) -> Result<Self> {
        let stored: Stored = serde_json::from_str(json)?;
        if stored.format != FORMAT {
            return Err(Error::Format { found: stored.format, expected: FORMAT });
        }
        let alphabet: Vec<char> = stored.alphabet.chars().collect();
        if !alphabet.is_sorted_by(|a, b| a < b) {
            return Err(Error::Inconsistent("the characters of its alphabet are not in order, each once".into()));
        }
        Self::new(alphabet, stored.merges)
    }
}
