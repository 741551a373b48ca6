//! The numbers of a run as JSON lines, one line an event.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::TrainError;
use crate::files::write_atomically;

/// The file's name in a run's folder.
pub const METRICS: &str = "metrics.jsonl";

/// Appends to a run's metrics.
pub(super) struct Metrics {
    file: File,
    path: PathBuf,
}

impl Metrics {
    /// Opens the file; lines about updates after `update`, which a resumed run does again, are taken out.
    pub fn open(folder: &Path, update: u64) -> Result<Self, TrainError> {
        let path = folder.join(METRICS);
        let kept: String = match std::fs::read_to_string(&path) {
            Ok(text) => text.lines().filter(|line| update_of(line).is_some_and(|u| u <= update)).flat_map(|line| [line, "\n"]).collect(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(TrainError::Read { path, source }),
        };
        let write = |source| TrainError::Write { path: path.clone(), source };
        write_atomically(&path, kept.as_bytes()).map_err(write)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(write)?;
        Ok(Self { file, path })
    }

    /// Adds a line in one write, so that a reader never sees half of one.
    pub fn append(&mut self, line: &Value) -> Result<(), TrainError> {
        self.file.write_all(format!("{line}\n").as_bytes()).map_err(|source| TrainError::Write { path: self.path.clone(), source })
    }
}

fn update_of(line: &str) -> Option<u64> {
    serde_json::from_str::<Value>(line).ok()?.get("update")?.as_u64()
}
