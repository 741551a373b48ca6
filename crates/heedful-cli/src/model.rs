//! The model that a command works with: a file, or the one that is built in.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use heedful_translate::bundle::Bundle;

const BUILT_IN: &[u8] = include_bytes!("../models/de-en.safetensors");

/// Which model to use.
#[derive(Debug, Args)]
pub struct ModelArgument {
    /// A model file made by `heedful train` [default: the built-in model, German to English]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
}

impl ModelArgument {
    pub fn load(&self) -> Result<Bundle> {
        match &self.model {
            Some(path) => open(path),
            None => built_in(),
        }
    }
}

pub fn open(path: &Path) -> Result<Bundle> {
    Bundle::open(path).with_context(|| format!("the model {} cannot be used", path.display()))
}

pub fn built_in() -> Result<Bundle> {
    Bundle::from_bytes(BUILT_IN).context("the built-in model cannot be used")
}
