//! Everything that a run needs to go on as if it had never stopped: weights, optimiser, and the position in the data.
//!
//! Randomness needs no place in it: it is a function of the seed and the update. A checkpoint is one `.safetensors` file that is written
//! beside the old one and then renamed over it, so that whenever the power goes, a whole one is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use heedful_nn::Parameters;
use heedful_nn::optimiser::Adam;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::TrainError;
use crate::files::write_atomically;

/// The file's name in a run's folder.
pub const CHECKPOINT: &str = "checkpoint.safetensors";

const FORMAT: &str = "heedful checkpoint 1";

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// The pass over the data, from 0.
    pub epoch: u64,
    /// The next batch of that pass.
    pub batch: usize,
    /// Target tokens seen.
    pub tokens: u64,
    /// Seconds spent on updates and validation.
    pub seconds: f64,
    /// The part of [`Self::seconds`] that was spent on validation.
    pub validation_seconds: f64,
    /// Processor seconds spent on both, over all threads: unlike [`Self::seconds`], hardly longer when a machine has other work too.
    pub cpu_seconds: f64,
    /// The update after which the last validation was made.
    pub validated: u64,
    /// [`Self::seconds`] at its end.
    pub validated_at: f64,
    /// Validations in a row without a new best.
    pub stale: u64,
    /// The best validations so far, best first, as many as are averaged.
    pub best: Vec<Best>,
}

/// A validation whose weights are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The update after which it was made.
    pub update: u64,
    /// The criterion as a number of which more is better.
    pub score: f64,
}

/// What ties a checkpoint to its run: another model, tokenizer or corpus must not go on from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Everything in the configuration that the weights depend on.
    pub settings: String,
    /// A checksum of the encoded training pairs.
    pub corpus: String,
    /// How the best weights are chosen, and on which pairs; empty in files of runs that did not keep it.
    #[serde(default)]
    pub validation: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    identity: Identity,
    progress: Progress,
    updates: u64,
}

/// Writes a checkpoint.
///
/// # Errors
/// If the file cannot be written; an older checkpoint is still there then.
pub fn save(path: &Path, identity: &Identity, progress: &Progress, parameters: &Parameters, adam: &Adam) -> Result<(), TrainError> {
    let header = Header { identity: identity.clone(), progress: progress.clone(), updates: adam.updates() };
    let header = serde_json::to_string(&header).expect("plain numbers and strings");
    let (mean, square) = adam.moments();
    let bytes = [parameters.values(), mean, square].map(to_bytes);
    let tensors = ["parameters", "adam.mean", "adam.square"].into_iter().zip(&bytes).map(|(name, bytes)| {
        let view = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes).expect("four bytes a number");
        (name, view)
    });
    let metadata = [("format".to_owned(), FORMAT.to_owned()), ("run".to_owned(), header)].into();
    let file = safetensors::serialize(tensors, Some(metadata)).expect("three tensors of known length");
    write_atomically(path, &file).map_err(|source| TrainError::Write { path: path.to_owned(), source })
}

/// The settings in which two runs differ, each as `name: there, then here`; both are JSON objects.
fn differences(there: &str, here: &str) -> String {
    let read = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
    let (there, here) = (read(there), read(here));
    let names: BTreeSet<&String> = there.keys().chain(here.keys()).collect();
    let differing = names.into_iter().filter(|&name| there.get(name) != here.get(name)).map(|name| {
        if name == "parameters" {
            return "the sizes of the model".to_owned();
        }
        let value = |settings: &Map<String, Value>| settings.get(name).map_or("nothing".to_owned(), Value::to_string);
        format!("{name} is {} there and {} here", value(&there), value(&here))
    });
    differing.collect::<Vec<_>>().join(", ")
}

/// Reads a checkpoint into a model and an optimiser of the same layout.
///
/// # Errors
/// If the file is missing, damaged, or of a run with other settings or another corpus.
pub fn load(path: &Path, identity: &Identity, parameters: &mut Parameters, adam: &mut Adam) -> Result<Progress, TrainError> {
    let damaged = |what: String| TrainError::Checkpoint { path: path.to_owned(), what };
    let file = std::fs::read(path).map_err(|source| TrainError::Read { path: path.to_owned(), source })?;
    let (_, metadata) = SafeTensors::read_metadata(&file).map_err(|e| damaged(e.to_string()))?;
    let metadata = metadata.metadata().clone().unwrap_or_default();
    if metadata.get("format").map(String::as_str) != Some(FORMAT) {
        return Err(damaged(format!("it is not marked as \"{FORMAT}\"")));
    }
    let header: Header =
        serde_json::from_str(metadata.get("run").map_or("", String::as_str)).map_err(|e| damaged(format!("its run header: {e}")))?;
    if header.identity.settings != identity.settings {
        let what = differences(&header.identity.settings, &identity.settings);
        return Err(damaged(format!("it belongs to a run with other settings: {what}")));
    }
    if header.identity.corpus != identity.corpus {
        return Err(damaged("it was trained on other text than the training files hold now".to_owned()));
    }
    if header.identity.validation != identity.validation && !header.identity.validation.is_empty() {
        return Err(damaged("its best weights were chosen on other validation text, or by another training.keep_best".to_owned()));
    }
    let tensors = SafeTensors::deserialize(&file).map_err(|e| damaged(e.to_string()))?;
    let numbers = |name: &str| -> Result<Vec<f32>, TrainError> {
        let tensor = tensors.tensor(name).map_err(|e| damaged(e.to_string()))?;
        if tensor.dtype() != Dtype::F32 || tensor.data().len() != parameters.values().len() * 4 {
            return Err(damaged(format!("tensor {name} is not {} numbers of type F32", parameters.values().len())));
        }
        let numbers: Vec<f32> = tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        if numbers.iter().all(|x| x.is_finite()) { Ok(numbers) } else { Err(damaged(format!("tensor {name} holds NaN or infinity"))) }
    };
    let (values, mean, square) = (numbers("parameters")?, numbers("adam.mean")?, numbers("adam.square")?);
    parameters.values_mut().copy_from_slice(&values);
    adam.restore(&mean, &square, header.updates);
    Ok(header.progress)
}

/// Where the weights of a good validation lie.
pub fn best_path(folder: &Path, update: u64) -> PathBuf {
    folder.join("best").join(format!("{update}.weights"))
}

/// Writes weights only.
///
/// # Errors
/// If the file cannot be written.
pub fn save_weights(path: &Path, parameters: &Parameters) -> Result<(), TrainError> {
    write_atomically(path, &to_bytes(parameters.values())).map_err(|source| TrainError::Write { path: path.to_owned(), source })
}

/// The mean of several files of weights (Vaswani et al. 2017, section 6.1), `len` numbers each.
///
/// # Errors
/// If a file is missing or of another length.
pub fn average_weights(paths: &[PathBuf], len: usize) -> Result<Vec<f32>, TrainError> {
    let mut sum = vec![0.0f64; len];
    for path in paths {
        let file = std::fs::read(path).map_err(|source| TrainError::Read { path: path.clone(), source })?;
        if file.len() != len * 4 {
            return Err(TrainError::Checkpoint { path: path.clone(), what: format!("it is {} bytes long, not {}", file.len(), len * 4) });
        }
        for (sum, &bytes) in sum.iter_mut().zip(file.as_chunks().0) {
            *sum += f64::from(f32::from_le_bytes(bytes));
        }
    }
    Ok(sum.into_iter().map(|sum| (sum / paths.len() as f64) as f32).collect())
}

fn to_bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}
