//! The queries of one key/value head of a short sequence against all their keys.

use super::{WIDTH, place_of, tile_rows, tile_width, write_product};
use crate::kernel::elementary::{exp_of_nonpositive, ln};
use crate::kernel::score::{classify, hides, largest, score};
use crate::kernel::tile::{Lanes, Rows, padded};
use crate::output::Output;
use crate::plan::Tile;
use crate::problem::{Problem, Sequence};
use crate::simd::buffer::Buffer;
use crate::simd::panel::Panel;
use crate::simd::{Isa, Op};
use crate::{Element, ViewMut};

/// Buffers that one sequence leaves to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    lanes: Lanes,
    /// `[dim][tile width]`
    queries: Buffer,
    /// `[keys][tile width]`
    weights: Buffer,
    /// `[lanes][padded value_dim]`
    contexts: Buffer,
    bent: Buffer,
    k: Buffer,
    v: Buffer,
}

/// Computes contexts and log-sum-exps of the heads that share a key/value head.
pub(crate) struct Forward<'a, 's, 'o, 'p, Q, K> {
    pub problem: &'a Problem<'p, Q, K>,
    pub sequence: &'a Sequence,
    pub kv_head: usize,
    pub scratch: &'a mut Scratch,
    pub out: &'a mut Output<'s, ViewMut<'o>>,
    /// `[batch, heads, q_len, 1]`
    pub lse: Option<&'a mut Output<'s, ViewMut<'o>>>,
}

impl<Q: Element, K: Element> Op for Forward<'_, '_, '_, '_, Q, K> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { problem, sequence, kv_head, out, mut lse, .. } = self;
        let Scratch { lanes, queries, weights, contexts, bent, k, v } = self.scratch;
        let (band, group) = (&sequence.band, problem.group());
        let all_keys = band.reach(0..sequence.queries.len());
        let all_k = Rows::new(isa, &problem.k, sequence, kv_head, all_keys.clone(), false, k);
        let all_v = Rows::new(isa, &problem.v, sequence, kv_head, all_keys.clone(), true, v);
        let width = tile_width(band);
        weights.resize(all_keys.len() * width);
        let mut is_ordinary = None;
        for rows in tile_rows(group * sequence.queries.len(), width) {
            lanes.take_rows(problem, sequence, kv_head, rows);
            let mut keys = band.reach(lanes.queries());
            let kind = classify(problem, sequence, lanes, keys.clone());
            if kind == Tile::Empty {
                keys.end = keys.start;
            }
            let skipped = keys.start - all_keys.start;
            let (k, v) = (all_k.skip(skipped), all_v.skip(skipped));
            lanes.transpose(isa, &problem.q, sequence, problem.query_factor, queries);
            let weights = &mut weights[..keys.len() * lanes.width];
            score(isa, problem, sequence, lanes, queries, k, keys.clone(), kind, weights, bent);
            let tile_lse = softmax(isa, weights, lanes.width, lse.is_some());

            let product = Panel {
                width: padded(problem.dims()[1]),
                depth: keys.len(),
                count: lanes.count,
                rows: v.data,
                row_stride: v.stride,
                scalars: weights,
                scalar_strides: [lanes.width, 1],
                out: &mut [],
                out_stride: 0,
                accumulate: false,
            };
            let careful =
                hides(problem, kind) && !*is_ordinary.get_or_insert_with(|| all_v.are_ordinary(isa, all_keys.len(), product.width));
            write_product(isa, &product, careful, out, 0, group == 1, contexts, |r| place_of(sequence, lanes, r));
            if let Some(lse) = &mut lse {
                let mut lse = lse.access();
                for r in 0..lanes.count {
                    lse.set(place_of(sequence, lanes, r), tile_lse[r]);
                }
            }
        }
    }
}

/// Turns the scores of a tile, `[keys][width]`, into weights; returns the log-sum-exps if they are `wanted`. Queries that see no key get weights of 0
/// and `-inf`.
#[inline(always)]
fn softmax<I: Isa>(isa: I, scores: &mut [f32], width: usize, wanted: bool) -> [f32; WIDTH] {
    let (zero, one, lowest) = (isa.splat(0.0), isa.splat(1.0), isa.splat(f32::NEG_INFINITY));
    let mut lse = [f32::NEG_INFINITY; WIDTH];
    for lane in (0..width).step_by(I::LANES) {
        let max = largest(isa, scores, width, lane);
        // A row of nothing but -inf gets weights e^(-inf - 0), not e^(-inf + inf).
        let shift = isa.select(isa.eq(max, lowest), zero, max);
        let mut sum = zero;
        for s in scores.chunks_exact_mut(width) {
            let weight = exp_of_nonpositive(isa, isa.sub(isa.load(&s[lane..]), shift));
            sum = isa.add(sum, weight);
            isa.store(weight, &mut s[lane..]);
        }
        let empty = isa.eq(sum, zero);
        let sum = isa.select(empty, one, sum);
        let factor = isa.div(one, sum);
        for s in scores.chunks_exact_mut(width) {
            isa.store(isa.mul(isa.load(&s[lane..]), factor), &mut s[lane..]);
        }
        if wanted {
            isa.store(isa.select(empty, lowest, isa.add(shift, ln(isa, sum))), &mut lse[lane..]);
        }
    }
    lse
}
