//! What a model says about itself.

use serde::{Deserialize, Serialize};

/// Where a model comes from, what may be done with it, and how good it is. Empty texts are unknown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Card {
    /// The model's name.
    pub name: String,
    /// The language that it reads.
    pub source_language: String,
    /// The language that it writes.
    pub target_language: String,
    /// What it was trained on, and where that can be had.
    pub data: String,
    /// The licence of the weights.
    pub licence: String,
    /// Whom the data's licence asks to be named.
    pub attribution: String,
    /// How it was trained.
    pub training: String,
    /// What it scored.
    pub scores: Vec<CardScore>,
}

/// One score of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CardScore {
    /// What was translated.
    pub test_set: String,
    /// The metric, such as BLEU.
    pub metric: String,
    /// Its value.
    pub value: f64,
    /// How it was computed, as sacreBLEU writes it.
    pub signature: String,
}
