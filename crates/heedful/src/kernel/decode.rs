//! Few queries against many keys: a step of decoding over a cache.
//!
//! Keys and values are read once, from the first byte to the last; everything else should hide behind that. Products with keys therefore run
//! over the width of a head, where a row of keys lies, and not over queries, of which there are fewer than lanes.

use std::ops::Range;

use super::dots::{dots, gather_queries};
use super::lanes::{Scale, elementwise};
use super::score::{adjust, classify, hides};
use super::tile::{Lanes, Rows, padded, prefetch_row};
use crate::Element;
use crate::plan::Tile;
use crate::problem::{Problem, Sequence};
use crate::simd::buffer::Buffer;
use crate::simd::panel::{Panel, SkipZeros};
use crate::simd::{Isa, Op};
use crate::softmax::Online;

/// Most rows of queries, over the heads that share a key/value head.
pub(crate) const ROWS: usize = 8;
/// Keys that pass the scores and the contexts together: they stay in the innermost cache between the two.
const KEYS: usize = 32;

/// Buffers that one call leaves to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    lanes: Lanes,
    /// `[rows][padded dim]`
    queries: Buffer,
    scores: Buffer,
    /// `[rows][padded value_dim]`
    contexts: Buffer,
    bent: Buffer,
    k: Buffer,
    v: Buffer,
}

/// Attention of all queries that share a key/value head over some of their keys.
pub(crate) struct Decode<'a, 'p, Q, K> {
    pub problem: &'a Problem<'p, Q, K>,
    pub sequence: &'a Sequence,
    pub kv_head: usize,
    pub keys: Range<usize>,
    pub scratch: &'a mut Scratch,
    /// Receives `[rows][value_dim + 1]`: a context, and its log-sum-exp.
    pub partial: &'a mut [f32],
}

impl<Q: Element, K: Element> Op for Decode<'_, '_, Q, K> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { problem, sequence, kv_head, keys, partial, .. } = self;
        let Scratch { lanes, queries, scores, contexts, bent, k, v } = self.scratch;
        let [dim, value_dim] = problem.dims();
        let (width, value_width) = (padded(dim), padded(value_dim));
        lanes.take_rows(problem, sequence, kv_head, 0..problem.group() * sequence.queries.len());
        gather_queries(isa, problem, sequence, lanes, queries);
        scores.resize(KEYS * lanes.width);
        contexts.zero(lanes.count * value_width);

        let mut online = Online::default();
        let mut start = keys.start;
        while start < keys.end {
            let tile = start..(start + KEYS).min(keys.end);
            start = tile.end;
            let kind = classify(problem, sequence, lanes, tile.clone());
            if kind == Tile::Empty {
                continue;
            }
            let tile_k = Rows::new(isa, &problem.k, sequence, kv_head, tile.clone(), true, k);
            let scores = &mut scores[..tile.len() * lanes.width];
            // While a key is multiplied, its value and the key a tile further on are on their way.
            let ahead = |j: usize| {
                prefetch_row(isa, &problem.v, [sequence.batch, kv_head, sequence.first_key + tile.start + j]);
                if tile.start + j + KEYS < keys.end {
                    prefetch_row(isa, &problem.k, [sequence.batch, kv_head, sequence.first_key + tile.start + j + KEYS]);
                }
            };
            dots(isa, queries, lanes.count, tile_k, width, scores, lanes.width, ahead);
            adjust(isa, problem, sequence, lanes, tile.clone(), kind, scores, bent);
            let factors = online.push::<I, false>(isa, lanes.width, scores);
            for (context, factor) in contexts.chunks_exact_mut(value_width.max(1)).zip(factors) {
                if factor != 1.0 {
                    elementwise(isa, [], [context], &Scale(factor));
                }
            }
            // Not before they have arrived: halves are widened here.
            let tile_v = Rows::new(isa, &problem.v, sequence, kv_head, tile.clone(), true, v);
            let product = Panel {
                width: value_width,
                depth: tile.len(),
                count: lanes.count,
                rows: tile_v.data,
                row_stride: tile_v.stride,
                scalars: scores,
                scalar_strides: [lanes.width, 1],
                out: contexts,
                out_stride: value_width,
                accumulate: true,
            };
            if hides(problem, kind) && !tile_v.are_ordinary(isa, tile.len(), value_width) {
                isa.call(SkipZeros(product));
            } else {
                isa.call(product);
            }
        }
        let (factors, lse) = online.finish(isa, lanes.width);
        for (r, to) in partial.chunks_exact_mut(value_dim + 1).enumerate() {
            for (to, x) in to.iter_mut().zip(&contexts[r * value_width..][..value_dim]) {
                *to = x * factors[r];
            }
            to[value_dim] = lse[r];
        }
    }
}
