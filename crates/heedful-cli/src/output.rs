//! Where results and messages go, and what happens when nobody reads them any more.

use std::fmt::Display;
use std::fs::{File, OpenOptions, canonicalize};
use std::io::{self, Write, stderr, stdout};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Standard output or a file.
pub struct Output {
    file: Option<File>,
    name: String,
    /// What the file held before is still in it.
    untouched: bool,
}

impl Output {
    /// Standard output, or the file at `path`, which keeps what it holds until the first [`write`](Self::write).
    ///
    /// # Errors
    /// If the file cannot be opened, or is one of those that are `read`.
    pub fn new<P: AsRef<Path>>(path: Option<&Path>, read: impl IntoIterator<Item = P>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self { file: None, name: "standard output".to_owned(), untouched: false }) };
        let name = path.display().to_string();
        if let Ok(place) = canonicalize(path)
            && place.is_file()
            && read.into_iter().any(|read| canonicalize(read).is_ok_and(|read| read == place))
        {
            bail!("{name} is read and cannot be written to at the same time; name another file");
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).with_context(|| format!("creating {name}"))?;
        Ok(Self { untouched: file.metadata().is_ok_and(|file| file.is_file()), file: Some(file), name })
    }

    /// Writes all of it at once: who reads sees whole lines as soon as they are there.
    pub fn write(&mut self, text: impl AsRef<[u8]>) -> Result<()> {
        self.try_write(text.as_ref()).with_context(|| format!("writing to {}", self.name))
    }

    fn try_write(&mut self, text: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return stdout().write_all(text).and_then(|()| stdout().flush()) };
        if std::mem::take(&mut self.untouched) {
            file.set_len(0)?;
        }
        file.write_all(text)
    }
}

/// Writes to standard output.
pub fn print(text: impl AsRef<[u8]>) -> Result<()> {
    Output::new::<&Path>(None, [])?.write(text)
}

/// Writes a line to standard error. That nobody reads it any more, as after `2>&1 | head`, ends nothing.
pub fn tell(line: impl Display) {
    let _ = writeln!(stderr(), "{line}");
}

/// Whether the error is that the reader at the other end of a pipe has seen enough, such as `head`.
pub fn reader_is_gone(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}
