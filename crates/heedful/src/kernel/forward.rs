//! A block of queries against all the keys they may look at.

use std::ops::Range;

use super::score::{query_factor, score};
use super::tile::{KEYS, Lanes, ROWS, Rows, padded};
use crate::Element;
use crate::plan::Tile;
use crate::problem::{Problem, Sequence};
use crate::simd::panel::Panel;
use crate::simd::{Isa, Op};
use crate::softmax::Online;

/// Rows of queries that go through the keys together, so that a tile of keys and values is read once for all of them.
pub(crate) const BLOCK: usize = 4 * ROWS;

/// Buffers that one block leaves to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    tiles: Vec<QueryTile>,
    scores: Vec<f32>,
    bent: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

/// Queries side by side and what is known of their result so far.
#[derive(Debug, Default)]
struct QueryTile {
    /// `[dim][width]`
    queries: Vec<f32>,
    online: Online,
    /// `[count][padded value_dim]`
    contexts: Vec<f32>,
}

/// Computes contexts and log-sum-exps of the rows `rows` of a sequence, a row being a query of one of the heads that share a key/value
/// head, and hands them to `sink` tile by tile: `contexts[r]` in rows of `padded(value_dim)`, and `lse[r]`.
pub(crate) struct Forward<'a, 'p, Q, K, S> {
    pub problem: &'a Problem<'p, Q, K>,
    pub sequence: &'a Sequence,
    pub kv_head: usize,
    pub rows: Range<usize>,
    pub scratch: &'a mut Scratch,
    pub sink: S,
}

impl<Q: Element, K: Element, S: FnMut(&Lanes, &[f32], &[f32; ROWS])> Op for Forward<'_, '_, Q, K, S> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self, isa: I) {
        for first in self.rows.clone().step_by(BLOCK) {
            self.block(isa, first..(first + BLOCK).min(self.rows.end));
        }
    }
}

impl<Q: Element, K: Element, S: FnMut(&Lanes, &[f32], &[f32; ROWS])> Forward<'_, '_, Q, K, S> {
    #[inline(always)]
    fn block<I: Isa>(&mut self, isa: I, rows: Range<usize>) {
        let Self { problem, sequence, kv_head, .. } = *self;
        let Scratch { tiles, scores, bent, k, v } = &mut *self.scratch;
        let value_dim = problem.dims()[1];
        let value_width = padded(value_dim);
        let all_lanes: [Option<Lanes>; BLOCK / ROWS] = std::array::from_fn(|i| {
            let first = rows.start + i * ROWS;
            (first < rows.end).then(|| Lanes::new(problem, sequence, kv_head, first..rows.end))
        });
        let lanes = || all_lanes.iter().flatten();
        tiles.resize_with(tiles.len().max(BLOCK / ROWS), QueryTile::default);
        for (lanes, tile) in lanes().zip(&mut *tiles) {
            lanes.transpose(isa, &problem.q, sequence, query_factor(problem), &mut tile.queries);
            tile.online = Online::default();
            tile.contexts.resize(lanes.count * value_width, 0.0);
        }
        scores.resize(KEYS * ROWS, 0.0);

        let band = &sequence.band;
        let first_query = lanes().next().map_or(0, |lanes| lanes.queries().start);
        let reach = band.reach(first_query..lanes().last().map_or(0, |lanes| lanes.queries().end));
        let mut start = reach.start;
        while start < reach.end {
            let block_keys = start..(start + KEYS).min(reach.end);
            start = block_keys.end;
            let block_k = Rows::new(&problem.k, sequence, kv_head, block_keys.clone(), false, k);
            let block_v = Rows::new(&problem.v, sequence, kv_head, block_keys.clone(), true, v);
            for (lanes, tile) in lanes().zip(&mut *tiles) {
                let reach = band.reach(lanes.queries());
                let keys = block_keys.start.max(reach.start)..block_keys.end.min(reach.end);
                let kind = band.classify(lanes.queries(), keys.clone());
                if kind == Tile::Empty {
                    continue;
                }
                let skipped = keys.start - block_keys.start;
                let scores = &mut scores[..keys.len() * lanes.width];
                score(isa, problem, sequence, lanes, &tile.queries, block_k.skip(skipped), keys.clone(), kind, scores, bent);
                let is_first = tile.online.is_empty();
                let factors = tile.online.push(isa, lanes.width, scores);
                if !is_first {
                    for (context, factor) in tile.contexts.chunks_exact_mut(value_width.max(1)).zip(factors) {
                        if factor != 1.0 {
                            scale(isa, factor, context);
                        }
                    }
                }
                let v = block_v.skip(skipped);
                isa.call(Panel {
                    width: value_width,
                    depth: keys.len(),
                    count: lanes.count,
                    rows: v.data,
                    row_stride: v.stride,
                    scalars: scores,
                    scalar_strides: [lanes.width, 1],
                    out: &mut tile.contexts,
                    out_stride: value_width,
                    accumulate: !is_first,
                });
            }
        }
        for (lanes, tile) in lanes().zip(&mut *tiles) {
            if tile.online.is_empty() {
                tile.contexts.fill(0.0);
            }
            let (factors, lse) = tile.online.finish(isa);
            for (context, factor) in tile.contexts.chunks_exact_mut(value_width.max(1)).zip(factors) {
                scale(isa, factor, context);
            }
            (self.sink)(lanes, &tile.contexts, &lse);
        }
    }
}

#[inline(always)]
fn scale<I: Isa>(isa: I, factor: f32, row: &mut [f32]) {
    for x in row.chunks_exact_mut(I::LANES) {
        isa.store(isa.mul(isa.splat(factor), isa.load(x)), x);
    }
}
