//! The merges themselves, applied with some of them left out (Provilkov et al. 2020).

use std::collections::HashMap;

use crate::random::{mix, unit};

/// Pairs of tokens that merge, with their rank and what they become.
#[derive(Clone, Debug, Default)]
pub(super) struct Merges(HashMap<[u32; 2], (usize, u32)>);

impl Merges {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self(HashMap::with_capacity(capacity))
    }

    /// Adds a merge; `true` if the pair had one.
    pub(super) fn insert(&mut self, pair: [u32; 2], rank: usize, merged: u32) -> bool {
        self.0.insert(pair, (rank, merged)).is_some()
    }

    /// Merges `ids[start..]`, the characters of one piece, best rank first; each possible merge is left out with `probability`, anew at
    /// every step.
    pub(super) fn apply(&self, ids: &mut Vec<u32>, start: usize, probability: f32, seed: u64) {
        for step in 0u64.. {
            let best = ids[start..]
                .windows(2)
                .enumerate()
                .filter_map(|(at, pair)| self.0.get(&[pair[0], pair[1]]).map(|&(rank, merged)| (rank, start + at, merged)))
                .filter(|&(_, at, _)| unit(mix(&[seed, start as u64, step, at as u64])) >= f64::from(probability))
                .min();
            let Some((_, at, merged)) = best else { break };
            ids[at] = merged;
            ids.remove(at + 1);
        }
    }
}
