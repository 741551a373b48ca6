//! How much may be asked for.

use std::time::Duration;

use serde_json::{Value, json};

/// How much may be asked for, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of a text to translate.
    pub text_bytes: usize,
    /// Tokens of a sentence whose heads are all looked at.
    pub sentence_tokens: usize,
    /// Of a text to map.
    pub map_bytes: usize,
    /// Of a text to map.
    pub map_tokens: usize,
    /// Bytes that all maps may take together.
    pub map_memory: usize,
    /// Candidates of a sentence.
    pub n_best: usize,
    /// Hypotheses kept at each step.
    pub beam: usize,
    /// Weights that one answer may hold.
    pub matrix_cells: usize,
    /// For a body to arrive.
    pub body_time: Duration,
    /// For an answer to be computed, and as much again to wait for a place.
    pub time: Duration,
    /// Answers that are computed at the same time.
    pub at_once: usize,
    /// Requests that wait for a place.
    pub waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            text_bytes: 100_000,
            sentence_tokens: 512,
            map_bytes: 4_000_000,
            map_tokens: 1 << 18,
            map_memory: 2 << 30,
            n_best: 20,
            beam: 32,
            matrix_cells: 2_000_000,
            body_time: Duration::from_secs(10),
            time: Duration::from_secs(30),
            at_once: cores,
            waiting: 256,
        }
    }
}

impl Limits {
    pub(crate) fn description(&self) -> Value {
        json!({
            "text_bytes": self.text_bytes,
            "sentence_tokens": self.sentence_tokens,
            "map_bytes": self.map_bytes,
            "map_tokens": self.map_tokens,
            "n_best": self.n_best,
            "beam": self.beam,
            "matrix_cells": self.matrix_cells,
            "seconds": self.time.as_secs(),
        })
    }
}
