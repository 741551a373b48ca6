//! The gradients of one key/value head of a short sequence.
//!
//! All weights and their gradients are there at once, as matrices `[keys][rows]`, so that each gradient is one sum, written where it belongs.

use std::ops::Range;

use super::{WIDTH, place_of, tile_rows, tile_width, write_product};
use crate::kernel::backward::Saved;
use crate::kernel::elementary::exp_of_nonpositive;
use crate::kernel::score::{score, slope_of_softcap};
use crate::kernel::tile::{Lanes, MOST_LANES, Rows, padded};
use crate::output::Output;
use crate::problem::{Problem, Sequence};
use crate::simd::buffer::Buffer;
use crate::simd::panel::Panel;
use crate::simd::{Isa, Op};
use crate::{Element, QkvMut, View};

/// Keys whose gradients are summed together: over the queries that see one of them.
const KEY_BLOCK: usize = 16;

/// Some queries, and the keys that one of them may look at.
#[derive(Debug, Default)]
struct Tile {
    lanes: Lanes,
    keys: Range<usize>,
}

/// Buffers that one sequence leaves to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    tiles: Vec<Tile>,
    /// `[dim][tile width]`
    queries: Buffer,
    /// `[value_dim][tile width]`
    d_contexts: Buffer,
    /// Of a tile, `[keys][tile width]`
    scores: Buffer,
    /// `p`, `[keys][rows]`
    weights: Buffer,
    /// Gradients of the weights, then `scale d_s`, `[keys][rows]`
    d_scores: Buffer,
    bent: Buffer,
    k: Buffer,
    v: Buffer,
    /// `[rows][padded dim]`
    query_rows: Buffer,
    /// `[rows][padded value_dim]`
    d_context_rows: Buffer,
    results: Buffer,
}

/// Computes the gradients of the queries that share a key/value head, and of its keys and values.
pub(crate) struct Backward<'a, 's, 'o, 'p, Q, K> {
    pub problem: &'a Problem<'p, Q, K>,
    pub saved: &'a Saved<'p>,
    pub sequence: &'a Sequence,
    pub kv_head: usize,
    pub scratch: &'a mut Scratch,
    pub target: &'a mut Output<'s, QkvMut<'o>>,
}

impl<Q: Element, K: Element> Op for Backward<'_, '_, '_, '_, Q, K> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { problem, saved, sequence, kv_head, target, .. } = self;
        let Scratch { tiles, queries, d_contexts, scores, weights, d_scores, bent, k, v, query_rows, d_context_rows, results } =
            self.scratch;
        let (band, [dim, value_dim]) = (&sequence.band, problem.dims());
        let (k_width, v_width) = (padded(dim), padded(value_dim));
        let rows = problem.group() * sequence.queries.len();
        let all_keys = band.reach(0..sequence.queries.len());
        let tile_width = tile_width(band);
        let width = rows.next_multiple_of(MOST_LANES);
        let all_k = Rows::new(isa, &problem.k, sequence, kv_head, all_keys.clone(), true, k);
        let all_v = Rows::new(isa, &problem.v, sequence, kv_head, all_keys.clone(), false, v);
        scores.resize(all_keys.len() * tile_width);
        for matrix in [&mut *weights, d_scores] {
            matrix.resize(all_keys.len() * width);
        }
        let tile_count = rows.div_ceil(tile_width);
        tiles.resize_with(tiles.len().max(tile_count), Tile::default);
        let tiles = &mut tiles[..tile_count];

        for (tile, part) in tiles.iter_mut().zip(tile_rows(rows, tile_width)) {
            let (lanes, first) = (&mut tile.lanes, part.start);
            lanes.take_rows(problem, sequence, kv_head, part);
            tile.keys = band.reach(lanes.queries());
            let keys = tile.keys.clone();
            let skipped = keys.start - all_keys.start;
            let (k, v) = (all_k.skip(skipped), all_v.skip(skipped));
            let kind = band.classify(lanes.queries(), keys.clone());
            lanes.transpose(isa, &problem.q, sequence, problem.query_factor, queries);
            lanes.transpose(isa, &saved.d_out, sequence, 1.0, d_contexts);
            let scores = &mut scores[..keys.len() * lanes.width];
            score(isa, problem, sequence, lanes, queries, k, keys.clone(), kind, scores, bent);
            // The tile's columns of the matrices, from its first key on.
            let at = skipped * width + first;
            let (weights, d_scores) = (&mut weights[at.min(all_keys.len() * width)..], &mut d_scores[at.min(all_keys.len() * width)..]);
            // d_p[j][r] = v[j] . d_out[r]
            isa.call(Panel {
                width: lanes.width,
                depth: value_dim,
                count: keys.len(),
                rows: d_contexts,
                row_stride: lanes.width,
                scalars: v.data,
                scalar_strides: [v.column_stride, v.stride],
                out: d_scores,
                out_stride: width,
                accumulate: false,
            });
            let bent = problem.softcap.is_some().then_some(&bent[..]);
            let lse = lse_of(isa, problem, saved, sequence, lanes);
            differentiate(isa, &lse, problem.scale, bent, lanes.width, scores, weights, d_scores, width);
            // d_q[r] = sum_j d_s[j][r] k[j]
            let product = Panel {
                width: k_width,
                depth: keys.len(),
                count: lanes.count,
                rows: k.data,
                row_stride: k.stride,
                scalars: d_scores,
                scalar_strides: [width, 1],
                out: &mut [],
                out_stride: 0,
                accumulate: false,
            };
            write_product(isa, &product, false, target, 0, problem.group() == 1, results, |r| place_of(sequence, lanes, r));
        }
        // Of a block of keys, each tile that sees some has weights for all: 0 for those that it does not see.
        for (tile, part) in tiles.iter().zip(tile_rows(rows, tile_width)) {
            let seen = tile.keys.start - all_keys.start..tile.keys.end - all_keys.start;
            let blocks = seen.start / KEY_BLOCK * KEY_BLOCK..seen.end.next_multiple_of(KEY_BLOCK).min(all_keys.len());
            for key in (blocks.start..seen.start).chain(seen.end..blocks.end) {
                for matrix in [&mut *weights, d_scores] {
                    matrix[key * width..][part.clone()].fill(0.0);
                }
            }
        }

        let q = rows_of(isa, &problem.q, problem, sequence, tiles, query_rows);
        let d_out = rows_of(isa, &saved.d_out, problem, sequence, tiles, d_context_rows);
        let mut first = 0;
        while first < sequence.key_count {
            let block = if first < all_keys.start {
                first..all_keys.start
            } else if first < all_keys.end {
                first..(first + KEY_BLOCK).min(all_keys.end)
            } else {
                first..sequence.key_count
            };
            first = block.end;
            // The queries of the tiles that see some of the keys: none outside of the reach, whose gradients are 0.
            let sees = |tile: &Tile| tile.keys.start < block.end && block.start < tile.keys.end;
            let from = tiles.iter().position(sees).unwrap_or(0) * tile_width;
            let depth = tiles.iter().rposition(sees).map_or(0, |last| ((last + 1) * tile_width).min(rows) - from);
            let at = block.start.saturating_sub(all_keys.start) * width + from;
            // d_v[j] = sum_r p[j][r] d_out[r], d_k[j] = sum_r d_s[j][r] q[r]
            for (which, matrix, rows, width_of_rows) in [(2, &*weights, d_out, v_width), (1, d_scores, q, k_width)] {
                let product = Panel {
                    width: width_of_rows,
                    depth,
                    count: block.len(),
                    rows: rows.skip(from).data,
                    row_stride: rows.stride,
                    scalars: &matrix[at.min(matrix.len())..],
                    scalar_strides: [1, width],
                    out: &mut [],
                    out_stride: 0,
                    accumulate: false,
                };
                let place = |j: usize| [sequence.batch, kv_head, sequence.first_key + block.start + j];
                write_product(isa, &product, false, target, which, true, results, place);
            }
        }
    }
}

/// The queries' rows of a tensor `[batch, heads, q_len, dim]`, to be read as vectors: where they lie, or else copied to `buffer`.
#[inline(always)]
fn rows_of<'b, I: Isa, T: Element, Q: Element, K: Element>(
    isa: I,
    tensor: &View<'b, T>,
    problem: &Problem<'_, Q, K>,
    sequence: &Sequence,
    tiles: &[Tile],
    buffer: &'b mut Buffer,
) -> Rows<'b> {
    if problem.group() == 1 && !tiles.is_empty() {
        return Rows::from(isa, tensor, place_of(sequence, &tiles[0].lanes, 0), sequence.queries.len(), true, buffer);
    }
    let stride = padded(tensor.shape()[3]);
    buffer.resize(tiles.iter().map(|tile| tile.lanes.count).sum::<usize>() * stride);
    let mut to = &mut buffer[..];
    for Tile { lanes, .. } in tiles {
        let (rows, others) = to.split_at_mut(lanes.count * stride);
        lanes.gather(isa, tensor, sequence, rows);
        to = others;
    }
    Rows { data: buffer, stride, column_stride: 1 }
}

/// The log-sum-exp of each lane: `+inf`, which makes every weight 0, in idle lanes and for rows without keys.
#[inline(always)]
fn lse_of<I: Isa, Q: Element, K: Element>(
    isa: I,
    problem: &Problem<'_, Q, K>,
    saved: &Saved<'_>,
    sequence: &Sequence,
    lanes: &Lanes,
) -> [f32; WIDTH] {
    let [_, heads, q_len, _] = problem.q.shape();
    let at = |[batch, head, position]: [usize; 3]| (batch * heads + head) * q_len + position;
    let mut lse = [f32::INFINITY; WIDTH];
    if problem.group() == 1 {
        let first = at(place_of(sequence, lanes, 0));
        lse[..lanes.count].copy_from_slice(&saved.lse[first..first + lanes.count]);
    } else {
        for (r, to) in lse[..lanes.count].iter_mut().enumerate() {
            *to = saved.lse[at(place_of(sequence, lanes, r))];
        }
    }
    let infinity = isa.splat(f32::INFINITY);
    for lse in lse.chunks_exact_mut(I::LANES) {
        let saved = isa.load(lse);
        isa.store(isa.select(isa.eq(saved, isa.splat(f32::NEG_INFINITY)), infinity, saved), lse);
    }
    lse
}

/// Turns scores `[keys][lanes]` into weights, and gradients of weights into those of scores before the factor `scale`, both `[keys][stride]`.
///
/// `D` is taken as `sum_j p_j d_p_j / sum_j p_j`: where one key has all the weight, it equals that key's `d_p`, and the two cancel exactly.
#[inline(always)]
fn differentiate<I: Isa>(
    isa: I,
    lse: &[f32; WIDTH],
    scale: f32,
    bent: Option<&[f32]>,
    width: usize,
    scores: &[f32],
    weights: &mut [f32],
    d_weights: &mut [f32],
    stride: usize,
) {
    let scale = isa.splat(scale);
    for lane in (0..width).step_by(I::LANES) {
        let lse = isa.load(&lse[lane..]);
        let zero = isa.splat(0.0);
        let (mut delta, mut sum) = (zero, zero);
        for ((s, p), d) in scores.chunks_exact(width).zip(weights.chunks_mut(stride)).zip(d_weights.chunks_mut(stride)) {
            let weight = exp_of_nonpositive(isa, isa.sub(isa.load(&s[lane..]), lse));
            // Whatever a hidden value is, it has no part in this.
            let d_p = isa.select(isa.eq(weight, zero), zero, isa.load(&d[lane..]));
            delta = isa.fma(weight, d_p, delta);
            sum = isa.add(sum, weight);
            isa.store(weight, &mut p[lane..]);
            isa.store(d_p, &mut d[lane..]);
        }
        // Of large scores the log-sum-exp is rounded coarsely, and with it the sum of the weights.
        let delta = isa.select(isa.eq(sum, zero), zero, isa.div(delta, sum));
        let keys = scores.len() / width;
        for (p, d) in weights.chunks(stride).zip(d_weights.chunks_mut(stride)).take(keys) {
            let scaled = isa.mul(isa.load(&p[lane..]), scale);
            isa.store(isa.mul(scaled, isa.sub(isa.load(&d[lane..]), delta)), &mut d[lane..]);
        }
        for (t, d) in bent.unwrap_or(&[]).chunks_exact(width).zip(d_weights.chunks_mut(stride)).take(keys) {
            isa.store(isa.mul(isa.load(&d[lane..]), slope_of_softcap(isa, &t[lane..])), &mut d[lane..]);
        }
    }
}
