//! The scores of any rectangle of one head.

use std::ops::Range;

use super::score::{query_factor, score};
use super::tile::{KEYS, Lanes, ROWS, Rows};
use crate::Element;
use crate::plan::Tile;
use crate::problem::{Problem, Sequence};
use crate::simd::{Isa, Op};

/// Fills `out[queries][keys]`; cells that no query may look at are left as they are.
pub(crate) struct Scores<'a, 'p, Q, K> {
    pub problem: &'a Problem<'p, Q, K>,
    pub sequence: &'a Sequence,
    pub head: usize,
    pub queries: Range<usize>,
    pub keys: Range<usize>,
    pub out: &'a mut [f32],
}

impl<Q: Element, K: Element> Op for Scores<'_, '_, Q, K> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { problem, sequence, head, queries, keys, out } = self;
        let (mut q, mut bent, mut buffer) = (Vec::new(), Vec::new(), Vec::new());
        let (mut scores, mut lanes) = ([0.0; KEYS * ROWS], Lanes::default());
        for first in queries.clone().step_by(ROWS) {
            lanes.take_head(problem, sequence, head, first..queries.end);
            lanes.transpose(isa, &problem.q, sequence, query_factor(problem), &mut q);
            let reach = sequence.band.reach(lanes.queries());
            let (mut start, end) = (reach.start.max(keys.start), reach.end.min(keys.end));
            while start < end {
                let part = start..(start + KEYS).min(end);
                start = part.end;
                let tile = sequence.band.classify(lanes.queries(), part.clone());
                if tile == Tile::Empty {
                    continue;
                }
                let scores = &mut scores[..part.len() * lanes.width];
                let k = Rows::new(isa, &problem.k, sequence, head / problem.group(), part.clone(), false, &mut buffer);
                score(isa, problem, sequence, &lanes, &q, k, part.clone(), tile, scores, &mut bent);
                for r in 0..lanes.count {
                    let row = (lanes.queries[r] - queries.start) * keys.len();
                    for (j, scores) in part.clone().zip(scores.chunks_exact(lanes.width)) {
                        out[row + j - keys.start] = scores[r];
                    }
                }
            }
        }
    }
}
