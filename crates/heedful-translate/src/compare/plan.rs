//! What is compared: the rungs, what they have in common, and how they are scored.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::CompareError;
use crate::config::{RunConfig, TrainingConfig};
use crate::evaluate::Buckets;
use crate::files::write_atomically;

/// The comparison's file in its folder.
const PLAN: &str = "compare.toml";
/// The configuration's file in a rung's folder.
const CONFIG: &str = "config.toml";
/// Points on a learning curve, unless a configuration says otherwise.
const POINTS: u64 = 24;

/// One architecture with its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Rung {
    /// What it is called, and its folder.
    pub name: String,
    /// How it is trained.
    pub config: TrainingConfig,
}

/// How much each rung may train: a limit that is 0 is none, and the one that is reached first counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Minutes of the rung's own turns, validation included.
    pub minutes: f64,
    /// Updates of the weights.
    pub updates: u64,
}

impl Budget {
    /// Makes this the only limit of a run, and has it validated at equal distances.
    pub fn apply(self, config: &mut RunConfig) {
        (config.epochs, config.patience) = (0, 0);
        (config.minutes, config.updates) = (self.minutes, self.updates);
        if self.updates > 0 {
            (config.validate_every, config.validate_minutes) = (self.updates.div_ceil(POINTS), 0.0);
        } else {
            (config.validate_every, config.validate_minutes) = (0, self.minutes / POINTS as f64);
        }
    }
}

/// How the rungs are scored and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The names of the rungs, in order.
    pub rungs: Vec<String>,
    /// Ranges of source lengths in words: see [`Buckets`].
    pub buckets: String,
    /// Whether translations are scored against all references of a source, not its first.
    pub all_references: bool,
    /// Sentences to show beside those that are chosen from the test set.
    pub sentences: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { rungs: Vec::new(), buckets: "1-10,11-20,21-30,31-40,41+".to_owned(), all_references: false, sentences: Vec::new() }
    }
}

/// A comparison on the disk: its folder, its rungs and its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub(super) folder: PathBuf,
    pub(super) rungs: Vec<Rung>,
    pub(super) settings: Settings,
    pub(super) buckets: Buckets,
}

impl Plan {
    /// A comparison in `folder`. What the rungs write goes into folders of their names there.
    ///
    /// # Errors
    /// If there are no rungs, names cannot be used, or the rungs differ in corpus, tokenizer or seed.
    pub fn new(folder: impl Into<PathBuf>, mut rungs: Vec<Rung>, mut settings: Settings) -> Result<Self, CompareError> {
        let folder = folder.into();
        let buckets = settings.buckets.parse()?;
        let first = rungs.first().ok_or(CompareError::NoRungs)?.clone();
        for (i, rung) in rungs.iter().enumerate() {
            let usable = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
            if rung.name.is_empty() || !rung.name.chars().all(usable) {
                return Err(CompareError::Name(rung.name.clone()));
            }
            if rungs[..i].iter().any(|other| other.name == rung.name) {
                return Err(CompareError::SameName(rung.name.clone()));
            }
            let differ = |what| Err(CompareError::Differ { what, first: first.name.clone(), second: rung.name.clone() });
            if rung.config.data != first.config.data {
                return differ("the data");
            }
            if rung.config.tokenizer != first.config.tokenizer {
                return differ("the tokenizers");
            }
            if rung.config.training.seed != first.config.training.seed {
                return differ("the seeds");
            }
            let budget = |rung: &Rung| {
                let RunConfig { epochs, updates, minutes, .. } = rung.config.training;
                (epochs, updates, minutes)
            };
            if budget(rung) != budget(&first) {
                return differ("the budgets");
            }
            rung.config.check().map_err(|source| CompareError::Config { rung: rung.name.clone(), source })?;
        }
        for rung in &mut rungs {
            rung.config.training.output = folder.join(&rung.name);
        }
        settings.rungs = rungs.iter().map(|rung| rung.name.clone()).collect();
        Ok(Self { folder, rungs, settings, buckets })
    }

    /// The comparison that a folder holds.
    ///
    /// # Errors
    /// If it holds none, or a file of it cannot be used.
    pub fn read(folder: impl Into<PathBuf>) -> Result<Self, CompareError> {
        let folder = folder.into();
        let path = folder.join(PLAN);
        if !path.exists() {
            return Err(CompareError::Missing(folder));
        }
        let settings: Settings = toml::from_str(&text(&path)?).map_err(|error| CompareError::Damaged { path, what: error.to_string() })?;
        let rung = |name: &String| {
            let text = text(&folder.join(name).join(CONFIG))?;
            let config = TrainingConfig::default().with_toml(&text);
            Ok(Rung { name: name.clone(), config: config.map_err(|source| CompareError::Config { rung: name.clone(), source })? })
        };
        let rungs = settings.rungs.iter().map(rung).collect::<Result<_, CompareError>>()?;
        Self::new(folder, rungs, settings)
    }

    /// Whether a folder holds a comparison.
    pub fn exists(folder: &Path) -> bool {
        folder.join(PLAN).exists()
    }

    /// Writes the plan into its folder.
    ///
    /// # Errors
    /// If that fails.
    pub(super) fn write(&self) -> Result<(), CompareError> {
        for rung in &self.rungs {
            let text = rung.config.to_commented_toml().map_err(|source| CompareError::Config { rung: rung.name.clone(), source })?;
            write(&rung.config.training.output.join(CONFIG), text.as_bytes())?;
        }
        let path = self.folder.join(PLAN);
        let text =
            toml::to_string(&self.settings).map_err(|error| CompareError::Damaged { path: path.clone(), what: error.to_string() })?;
        write(&path, text.as_bytes())
    }

    /// The comparison's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The rungs, in order.
    pub fn rungs(&self) -> &[Rung] {
        &self.rungs
    }

    /// How they are scored.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

fn text(path: &Path) -> Result<String, CompareError> {
    std::fs::read_to_string(path).map_err(|source| CompareError::Read { path: path.to_owned(), source })
}

pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), CompareError> {
    write_atomically(path, content).map_err(|source| CompareError::Write { path: path.to_owned(), source })
}
