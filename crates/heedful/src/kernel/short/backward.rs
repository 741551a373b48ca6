//! The gradients of one key/value head of a short sequence.
//!
//! All weights and their gradients are there at once, as matrices `[keys][rows]`, so that each gradient is one sum, written where it belongs.

use super::{WIDTH, place_of, tiles, write_product};
use crate::kernel::backward::Saved;
use crate::kernel::elementary::exp_of_nonpositive;
use crate::kernel::score::score;
use crate::kernel::tile::{Lanes, Rows, padded};
use crate::output::Output;
use crate::problem::{Problem, Sequence};
use crate::simd::buffer::Buffer;
use crate::simd::panel::Panel;
use crate::simd::{Isa, Op};
use crate::{Element, QkvMut, View};

/// Keys whose gradients are summed together: over the queries that see one of them.
const KEY_BLOCK: usize = 16;

/// Buffers that one sequence leaves to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The rows of each tile.
    lanes: Vec<Lanes>,
    /// `[dim][WIDTH]`
    queries: Buffer,
    /// `[value_dim][WIDTH]`
    d_contexts: Buffer,
    /// Of a tile, `[keys][WIDTH]`: scores, then weights.
    scores: Buffer,
    /// Of a tile, `[keys][WIDTH]`: gradients of the weights, then of the scores before the factor `scale`.
    d_weights: Buffer,
    /// `p`, `[keys][rows]`
    weights: Buffer,
    /// `scale d_s`, `[keys][rows]`
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
        let Scratch { lanes, queries, d_contexts, scores, d_weights, weights, d_scores, bent, k, v, query_rows, d_context_rows, results } =
            self.scratch;
        let (band, [dim, value_dim]) = (&sequence.band, problem.dims());
        let (k_width, v_width) = (padded(dim), padded(value_dim));
        let rows = problem.group() * sequence.queries.len();
        let all_keys = band.reach(0..sequence.queries.len());
        let width = rows.next_multiple_of(WIDTH);
        let all_k = Rows::new(isa, &problem.k, sequence, kv_head, all_keys.clone(), true, k);
        let all_v = Rows::new(isa, &problem.v, sequence, kv_head, all_keys.clone(), false, v);
        for tile in [&mut *scores, d_weights] {
            tile.resize(all_keys.len() * WIDTH);
        }
        for matrix in [&mut *weights, d_scores] {
            matrix.resize(all_keys.len() * width);
        }
        lanes.resize_with(lanes.len().max(rows.div_ceil(WIDTH)), Lanes::default);
        let lanes = &mut lanes[..rows.div_ceil(WIDTH)];

        for (lanes, part) in lanes.iter_mut().zip(tiles(rows)) {
            let first = part.start;
            lanes.take_rows(problem, sequence, kv_head, part);
            let keys = band.reach(lanes.queries());
            let skipped = keys.start - all_keys.start;
            let (k, v) = (all_k.skip(skipped), all_v.skip(skipped));
            let kind = band.classify(lanes.queries(), keys.clone());
            lanes.transpose(isa, &problem.q, sequence, problem.query_factor, queries);
            lanes.transpose(isa, &saved.d_out, sequence, 1.0, d_contexts);
            let (scores, d_weights) = (&mut scores[..keys.len() * WIDTH], &mut d_weights[..keys.len() * WIDTH]);
            score(isa, problem, sequence, lanes, queries, k, keys.clone(), kind, scores, bent);
            // d_p[j][r] = v[j] . d_out[r]
            isa.call(Panel {
                width: WIDTH,
                depth: value_dim,
                count: keys.len(),
                rows: d_contexts,
                row_stride: WIDTH,
                scalars: v.data,
                scalar_strides: [v.column_stride, v.stride],
                out: d_weights,
                out_stride: WIDTH,
                accumulate: false,
            });
            let bent = problem.softcap.is_some().then_some(&bent[..]);
            differentiate(isa, &lse_of(problem, saved, sequence, lanes), problem.scale, bent, scores, d_weights);
            // Into the matrices, with zeros where this tile sees nothing.
            for (matrix, tile) in [(&mut *weights, &*scores), (d_scores, d_weights)] {
                let mut cells = matrix.chunks_exact_mut(width).map(|row| &mut row[first..first + WIDTH]);
                cells.by_ref().take(skipped).for_each(|cells| cells.fill(0.0));
                for (tile, cells) in tile.chunks_exact(WIDTH).zip(cells.by_ref()) {
                    cells.copy_from_slice(tile);
                }
                cells.for_each(|cells| cells.fill(0.0));
            }
            // d_q[r] = sum_j d_s[j][r] k[j]
            let product = Panel {
                width: k_width,
                depth: keys.len(),
                count: lanes.count,
                rows: k.data,
                row_stride: k.stride,
                scalars: d_weights,
                scalar_strides: [WIDTH, 1],
                out: &mut [],
                out_stride: 0,
                accumulate: false,
            };
            write_product(isa, &product, false, target, 0, problem.group() == 1, results, |r| place_of(sequence, lanes, r));
        }

        let q = rows_of(isa, &problem.q, problem, sequence, lanes, query_rows);
        let d_out = rows_of(isa, &saved.d_out, problem, sequence, lanes, d_context_rows);
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
            let sees = |lanes: &Lanes| {
                let keys = band.reach(lanes.queries());
                keys.start < block.end && block.start < keys.end
            };
            let from = lanes.iter().position(sees).unwrap_or(0) * WIDTH;
            let depth = lanes.iter().rposition(sees).map_or(0, |last| ((last + 1) * WIDTH).min(rows) - from);
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
    lanes: &[Lanes],
    buffer: &'b mut Buffer,
) -> Rows<'b> {
    if problem.group() == 1 && !lanes.is_empty() {
        return Rows::from(isa, tensor, place_of(sequence, &lanes[0], 0), sequence.queries.len(), true, buffer);
    }
    let stride = padded(tensor.shape()[3]);
    buffer.resize(lanes.len() * WIDTH * stride);
    for (lanes, to) in lanes.iter().zip(buffer.chunks_mut((WIDTH * stride).max(1))) {
        lanes.gather(isa, tensor, sequence, to);
    }
    Rows { data: buffer, stride, column_stride: 1 }
}

/// The log-sum-exp of each lane: `+inf`, which makes every weight 0, in idle lanes and for rows without keys.
#[inline(always)]
fn lse_of<Q: Element, K: Element>(problem: &Problem<'_, Q, K>, saved: &Saved<'_>, sequence: &Sequence, lanes: &Lanes) -> [f32; WIDTH] {
    let [_, heads, q_len, _] = problem.q.shape();
    let mut lse = [f32::INFINITY; WIDTH];
    for (r, to) in lse[..lanes.count].iter_mut().enumerate() {
        let [batch, head, position] = place_of(sequence, lanes, r);
        let saved = saved.lse[(batch * heads + head) * q_len + position];
        if saved != f32::NEG_INFINITY {
            *to = saved;
        }
    }
    lse
}

/// Turns scores into weights, and gradients of weights into those of scores before the factor `scale`; both `[keys][WIDTH]`.
///
/// `D` is taken as `sum_j p_j d_p_j / sum_j p_j`: where one key has all the weight, it equals that key's `d_p`, and the two cancel exactly.
#[inline(always)]
fn differentiate<I: Isa>(isa: I, lse: &[f32; WIDTH], scale: f32, bent: Option<&[f32]>, scores: &mut [f32], d_weights: &mut [f32]) {
    let scale = isa.splat(scale);
    for lane in (0..WIDTH).step_by(I::LANES) {
        let lse = isa.load(&lse[lane..]);
        let zero = isa.splat(0.0);
        let (mut delta, mut sum) = (zero, zero);
        for (s, d) in scores.chunks_exact_mut(WIDTH).zip(d_weights.chunks_exact_mut(WIDTH)) {
            let p = exp_of_nonpositive(isa, isa.sub(isa.load(&s[lane..]), lse));
            // Whatever a hidden value is, it has no part in this.
            let d_p = isa.select(isa.eq(p, zero), zero, isa.load(&d[lane..]));
            delta = isa.fma(p, d_p, delta);
            sum = isa.add(sum, p);
            isa.store(p, &mut s[lane..]);
            isa.store(d_p, &mut d[lane..]);
        }
        // Of large scores the log-sum-exp is rounded coarsely, and with it the sum of the weights.
        let delta = isa.select(isa.eq(sum, zero), zero, isa.div(delta, sum));
        for (p, d) in scores.chunks_exact(WIDTH).zip(d_weights.chunks_exact_mut(WIDTH)) {
            let scaled = isa.mul(isa.load(&p[lane..]), scale);
            isa.store(isa.mul(scaled, isa.sub(isa.load(&d[lane..]), delta)), &mut d[lane..]);
        }
        for (t, d) in bent.unwrap_or(&[]).chunks_exact(WIDTH).zip(d_weights.chunks_exact_mut(WIDTH)) {
            let t = isa.load(&t[lane..]);
            let slope = isa.neg_fma(t, t, isa.splat(1.0));
            isa.store(isa.mul(isa.load(&d[lane..]), slope), &mut d[lane..]);
        }
    }
}
