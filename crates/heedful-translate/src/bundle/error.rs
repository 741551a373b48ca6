//! What can be wrong with a model file.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a model file cannot be read or written; the message names the tensor or key and says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The file cannot be read.
    #[error("reading the model file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("writing the model file {}: {source}; check that its folder can be written and has space", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file ends too early, goes on too long, or its header cannot be one.
    #[error("model file: {0}; it was damaged or cut short on its way, or is no .safetensors file: get it again")]
    Damaged(String),
    /// The header is not JSON of the right form.
    #[error("model file: its header is no .safetensors header: {0}; it was damaged on its way, or is no .safetensors file: get it again")]
    Header(serde_json::Error),
    /// An entry of the metadata is missing or wrong.
    #[error("model file: metadata `{key}`: {what}")]
    Metadata {
        /// The entry.
        key: &'static str,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// A tensor is missing, superfluous, or not what the configuration asks for.
    #[error("model file: tensor `{name}`: {what}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong with it, and what to do.
        what: String,
    },
}

impl BundleError {
    pub(super) fn tensor(name: &str, what: impl Into<String>) -> Self {
        Self::Tensor { name: name.to_owned(), what: what.into() }
    }
}
