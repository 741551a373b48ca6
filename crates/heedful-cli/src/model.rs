//! The model that a command works with: a file, or one that is built in.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use heedful_translate::bundle::Bundle;

/// The models that are built in, German to English, and what they go by where a file could be named. The first is the default.
pub const BUILT_IN: [(&str, &[u8]); 3] = [
    ("built-in", include_bytes!("../models/de-en.safetensors")),
    ("built-in:rnn-attention", include_bytes!("../models/de-en-rnn-attention.safetensors")),
    ("built-in:rnn", include_bytes!("../models/de-en-rnn.safetensors")),
];

/// Which model to use.
#[derive(Debug, Args)]
pub struct ModelArgument {
    /// A model file made by `heedful train`, or a built-in model, German to English: `built-in` (a Transformer), `built-in:rnn-attention`,
    /// `built-in:rnn`
    #[arg(long, value_name = "FILE", default_value = BUILT_IN[0].0)]
    model: PathBuf,
}

impl ModelArgument {
    pub fn load(&self) -> Result<Bundle> {
        open(&self.model)
    }
}

/// The model in a file, or the built-in one of that name.
pub fn open(path: &Path) -> Result<Bundle> {
    match BUILT_IN.iter().find(|(name, _)| path == Path::new(name)) {
        Some((name, bytes)) => Bundle::from_bytes(bytes).with_context(|| format!("the model {name} cannot be used")),
        None => Bundle::open(path).with_context(|| format!("the model {} cannot be used", path.display())),
    }
}

/// All models that are built in.
pub fn built_in() -> Result<Vec<Bundle>> {
    BUILT_IN.iter().map(|(name, _)| open(Path::new(name))).collect()
}
