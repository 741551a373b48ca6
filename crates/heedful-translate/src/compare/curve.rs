//! How a rung's validation scores grew.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::CompareError;
use crate::train::METRICS;

/// A validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CurvePoint {
    /// After this update.
    pub update: u64,
    /// Seconds of the rung's own turns until then, validation included.
    pub seconds: f64,
    /// Processor seconds until then, over all threads.
    pub cpu_seconds: f64,
    /// Negative log-likelihood per target token, in nats.
    pub loss: f64,
    /// BLEU of greedy translations of the validation sentences.
    pub bleu: f64,
    /// chrF of the same.
    pub chrf: f64,
}

#[derive(Deserialize)]
struct Line {
    update: u64,
    seconds: f64,
    #[serde(default)]
    cpu_seconds: f64,
    validation: Option<Scores>,
}

#[derive(Deserialize)]
struct Scores {
    loss: f64,
    bleu: f64,
    chrf: f64,
}

/// The curve that a run's folder holds.
pub(super) fn read(folder: &Path) -> Result<Vec<CurvePoint>, CompareError> {
    let path = folder.join(METRICS);
    let text = std::fs::read_to_string(&path).map_err(|source| CompareError::Read { path: path.clone(), source })?;
    let mut curve = Vec::new();
    for line in text.lines() {
        let line: Line =
            serde_json::from_str(line).map_err(|error| CompareError::Damaged { path: path.clone(), what: error.to_string() })?;
        if let Some(Scores { loss, bleu, chrf }) = line.validation {
            curve.push(CurvePoint { update: line.update, seconds: line.seconds, cpu_seconds: line.cpu_seconds, loss, bleu, chrf });
        }
    }
    Ok(curve)
}
