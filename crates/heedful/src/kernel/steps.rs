//! What tiles of queries have to do with a block of keys.

use std::ops::Range;

use super::score::classify;
use super::tile::{Lanes, MOST_LANES, ROWS};
use crate::Element;
use crate::plan::Tile;
use crate::problem::{Problem, Sequence};

/// Whether a sequence has enough to do for tile registers, which want keys and values laid out for them. Values may be missing, where only the
/// weights are looked at.
pub(super) fn tiles_pay<Q: Element, K: Element>(problem: &Problem<'_, Q, K>, sequence: &Sequence) -> bool {
    let [dim, value_dim] = problem.dims();
    dim >= MOST_LANES && (value_dim >= MOST_LANES || value_dim == 0) && problem.group() * sequence.queries.len() >= 2 * ROWS
}

/// What a tile of queries has to do with a block of keys.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub tile: usize,
    pub keys: Range<usize>,
    /// Keys of the block before these.
    pub skipped: usize,
    pub kind: Tile,
}

/// Fills `steps` with the tiles of queries that look at some of the keys of a block, in their order. Keys are skipped `whole` at a time, so that the first
/// ones of a step may be hidden.
#[inline(always)]
pub(super) fn plan<'a, Q: Element, K: Element>(
    steps: &mut Vec<Step>,
    problem: &Problem<'_, Q, K>,
    sequence: &Sequence,
    block: Range<usize>,
    whole: usize,
    tiles: impl Iterator<Item = &'a Lanes>,
) {
    steps.clear();
    for (tile, lanes) in tiles.enumerate() {
        let reach = sequence.band.reach(lanes.queries());
        let skipped = reach.start.saturating_sub(block.start);
        let skipped = skipped - skipped % whole;
        let keys = block.start + skipped..block.end.min(reach.end);
        let kind = classify(problem, sequence, lanes, keys.clone());
        if kind != Tile::Empty {
            steps.push(Step { tile, keys, skipped, kind });
        }
    }
}
