//! Where results go, and what happens when nobody reads them any more.

use std::fs::File;
use std::io::{self, Write, stdout};
use std::path::Path;

use anyhow::{Context, Result};

/// Standard output or a file.
pub struct Output {
    to: Box<dyn Write>,
    name: String,
}

impl Output {
    pub fn new(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self { to: Box::new(stdout()), name: "standard output".to_owned() }) };
        let name = path.display().to_string();
        let file = File::create(path).with_context(|| format!("creating {name}"))?;
        Ok(Self { to: Box::new(file), name })
    }

    /// Writes all of it at once: who reads sees whole lines as soon as they are there.
    pub fn write(&mut self, text: impl AsRef<[u8]>) -> Result<()> {
        self.to.write_all(text.as_ref()).and_then(|()| self.to.flush()).with_context(|| format!("writing to {}", self.name))
    }
}

/// Writes to standard output.
pub fn print(text: impl AsRef<[u8]>) -> Result<()> {
    Output::new(None)?.write(text)
}

/// Whether the error is that the reader at the other end of a pipe has seen enough, such as `head`.
pub fn reader_is_gone(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}
