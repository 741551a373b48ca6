//! The gradients that flow through a block of queries.
//!
//! The weights are recomputed from the scores and the saved log-sum-exp, `p = e^(s - lse)` (Dao et al. 2022, appendix B.4). With
//! `D = sum_c d_out out`: `d_v += p^T d_out`, `d_s = p (d_out v^T - D)`, `d_q = scale d_s k`, `d_k += scale d_s^T q`.

mod tiled;

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::elementary::exp_of_nonpositive;
use super::score::{score, slope_of_softcap};
use super::steps::{Step, plan, tiles_pay};
use super::tile::{KEYS, Lanes, ROWS, Rows, add_row, padded, transpose_rows, write_row};
use crate::problem::{Problem, Sequence};
use crate::simd::buffer::Buffer;
use crate::simd::panel::Panel;
use crate::simd::tiles::{Registers, Right, TERMS};
use crate::simd::{Isa, Op, Tiles};
use crate::view::Tensors;
use crate::{Element, QkvMut, View, ViewMut};

/// Rows of queries that go through the keys together, so that keys, values and their gradients pass by once for all of them.
const BLOCK: usize = 4 * ROWS;
/// The same in tile registers, where laying out keys and values shows.
const TILED_BLOCK: usize = 16 * ROWS;

/// Numbers that are held for the gradients of keys and values: 8 MiB. Further keys wait for their turn, in a segment of their own.
const SEGMENT: usize = 1 << 21;

/// Buffers that one block leaves to the next, and the sums over blocks.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    tiles: Vec<QueryTile>,
    steps: Vec<Step>,
    weights: Buffer,
    d_scores: Buffer,
    bent: Buffer,
    k: Buffer,
    v: Buffer,
    tiled: tiled::Scratch,
    d_query_rows: Buffer,
    /// Gradients of a segment's keys over `scale`, `[keys][padded dim]`.
    d_k: Buffer,
    /// Gradients of a segment's values, `[keys][padded value_dim]`.
    d_v: Buffer,
}

/// Queries side by side, what is given for them, and the sum of their gradients so far.
#[derive(Debug, Default)]
struct QueryTile {
    lanes: Lanes,
    /// `[dim][width]`
    queries: Buffer,
    /// `[count][padded dim]`
    query_rows: Buffer,
    /// `[value_dim][width]`
    d_contexts: Buffer,
    /// `[count][padded value_dim]`
    d_context_rows: Buffer,
    /// `[value_dim][width]`
    contexts: Buffer,
    /// `queries` and `d_contexts` for tile registers, unless there are numbers that those do not take.
    operands: [Right; 2],
    is_ordinary: bool,
    /// `+inf`, which makes every weight 0, in idle lanes and for rows without keys.
    lse: [f32; ROWS],
    /// `D`
    delta: [f32; ROWS],
    /// Over `scale`, `[padded dim][width]`.
    d_queries: Buffer,
}

/// What the forward pass left, and the gradient of its output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saved<'a> {
    pub out: View<'a>,
    /// `[batch, heads, q_len]`
    pub lse: &'a [f32],
    pub d_out: View<'a>,
}

/// Computes the gradients of all queries of one key/value head of a sequence, and of that head's keys and values; adds to that of the bias.
pub(crate) struct Backward<'a, 'p, Q, K> {
    pub problem: &'a Problem<'p, Q, K>,
    pub saved: &'a Saved<'p>,
    pub sequence: &'a Sequence,
    pub kv_head: usize,
    pub scratch: &'a mut Scratch,
    /// `[batch or 1, heads or 1, q_len or 1, k_len or 1]`
    pub d_bias: Option<ViewMut<'a>>,
    pub target: &'a Mutex<QkvMut<'p>>,
}

impl<Q: Element, K: Element> Op for Backward<'_, '_, Q, K> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self, isa: I) {
        let Self { problem, sequence, kv_head, target, .. } = self;
        let [dim, value_dim] = problem.dims();
        let rows = problem.group() * sequence.queries.len();
        let segment = (SEGMENT / (padded(dim) + padded(value_dim)).max(1)).next_multiple_of(KEYS);
        let pays = tiles_pay(problem, sequence) && value_dim > 0 && self.d_bias.is_none();
        let registers = isa.tiles().filter(|_| pays).map(|tiles| (tiles, tiles.open()));
        let block = if registers.is_some() { TILED_BLOCK } else { BLOCK };
        // Even without keys the gradients of the queries are to be written.
        for first in (0..sequence.key_count.max(1)).step_by(segment) {
            let keys = first..(first + segment).min(sequence.key_count);
            for (sum, width) in [(&mut self.scratch.d_k, dim), (&mut self.scratch.d_v, value_dim)] {
                sum.zero(keys.len() * padded(width));
            }
            for first in (0..rows).step_by(block) {
                self.block(isa, registers.as_ref(), first..(first + block).min(rows), keys.clone());
            }
            let mut target = target.lock().unwrap_or_else(PoisonError::into_inner);
            for (part, sum, width, factor) in [(1, &self.scratch.d_k, dim, problem.scale), (2, &self.scratch.d_v, value_dim, 1.0)] {
                let mut tensor = target.part(part);
                for (j, row) in sum.chunks_exact(padded(width).max(1)).enumerate() {
                    write_row(isa, &mut tensor, [sequence.batch, kv_head, sequence.first_key + keys.start + j], factor, row);
                }
            }
        }
    }
}

impl<Q: Element, K: Element> Backward<'_, '_, Q, K> {
    /// Adds what some rows have to do with the keys of a segment. The first segment overwrites the gradients of queries, later ones add to them.
    #[inline(always)]
    fn block<I: Isa>(&mut self, isa: I, registers: Option<&(Tiles, Registers)>, rows: Range<usize>, segment: Range<usize>) {
        let Self { problem, saved, sequence, kv_head, target, .. } = *self;
        let Scratch { tiles, steps, weights, d_scores, bent, k, v, tiled, d_query_rows, d_k, d_v } = &mut *self.scratch;
        let [dim, value_dim] = problem.dims();
        let (k_width, v_width) = (padded(dim), padded(value_dim));
        let (band, group) = (&sequence.band, problem.group());
        let reach = band.reach(rows.start / group..(rows.end - 1) / group + 1);
        let reach = reach.start.max(segment.start)..reach.end.min(segment.end);
        let is_first = segment.start == 0;
        if reach.is_empty() && !is_first {
            return;
        }
        tiles.resize_with(tiles.len().max(rows.len().div_ceil(ROWS)), QueryTile::default);
        let tiles = &mut tiles[..rows.len().div_ceil(ROWS)];
        for (tile, first) in tiles.iter_mut().zip(rows.clone().step_by(ROWS)) {
            tile.lanes.take_rows(problem, sequence, kv_head, first..rows.end);
            if registers.is_some() {
                tile.lanes.width = ROWS;
            }
            tile.fill(isa, problem, saved, sequence);
        }
        if let Some((token, registers)) = registers {
            tiled.take_queries(isa, *token, registers, [dim, value_dim], tiles);
        }
        weights.resize(KEYS * ROWS);
        d_scores.resize(KEYS * ROWS);

        let mut start = reach.start;
        while start < reach.end {
            let keys = start..(start + KEYS).min(reach.end);
            start = keys.end;
            let block = Block {
                problem,
                sequence,
                keys: keys.clone(),
                k: Rows::new(isa, &problem.k, sequence, kv_head, keys.clone(), registers.is_some(), k),
                v: Rows::new(isa, &problem.v, sequence, kv_head, keys.clone(), registers.is_some(), v),
            };
            let whole = if registers.is_some() { TERMS } else { 1 };
            plan(steps, problem, sequence, keys.clone(), whole, tiles.iter().map(|tile| &tile.lanes));
            let first_row = keys.start - segment.start;
            let (d_k, d_v) = (&mut d_k[first_row * k_width..], &mut d_v[first_row * v_width..]);
            if let Some((token, registers)) = registers
                && tiled.add(isa, *token, registers, &block, steps, tiles, [weights, d_scores], bent, [d_k, d_v])
            {
                continue;
            }
            for step in &*steps {
                block.add(isa, step, &mut tiles[step.tile], [weights, d_scores], bent, [d_k, d_v], self.d_bias.as_mut());
            }
        }
        let mut target = target.lock().unwrap_or_else(PoisonError::into_inner);
        let mut d_q = target.part(0);
        for QueryTile { lanes, d_queries, .. } in tiles {
            d_query_rows.resize(lanes.width * k_width);
            transpose_rows(isa, d_queries, lanes.width, [k_width, lanes.width], d_query_rows, k_width);
            for (r, row) in d_query_rows.chunks_exact(k_width.max(1)).take(lanes.count).enumerate() {
                let place = [sequence.batch, lanes.heads[r], sequence.queries.start + lanes.queries[r]];
                if is_first {
                    write_row(isa, &mut d_q, place, problem.scale, row);
                } else {
                    add_row(isa, &mut d_q, place, problem.scale, row);
                }
            }
        }
    }
}

/// Some keys of a sequence and their values.
struct Block<'a, 'p, Q, K> {
    problem: &'a Problem<'p, Q, K>,
    sequence: &'a Sequence,
    keys: Range<usize>,
    k: Rows<'a>,
    v: Rows<'a>,
}

impl<Q: Element, K: Element> Block<'_, '_, Q, K> {
    /// Adds what a tile of queries has to do with the block to the gradients of its queries, and to those of the block's keys and values.
    #[inline(always)]
    fn add<I: Isa>(
        &self,
        isa: I,
        step: &Step,
        tile: &mut QueryTile,
        [weights, d_scores]: [&mut [f32]; 2],
        bent: &mut Buffer,
        [d_k, d_v]: [&mut [f32]; 2],
        d_bias: Option<&mut ViewMut<'_>>,
    ) {
        let Self { problem, sequence, .. } = *self;
        let (k, v, keys) = (self.k.skip(step.skipped), self.v.skip(step.skipped), step.keys.clone());
        let (lanes, width, [dim, value_dim]) = (&tile.lanes, tile.lanes.width, problem.dims());
        let (k_width, v_width) = (padded(dim), padded(value_dim));
        let weights = &mut weights[..keys.len() * width];
        let d_scores = &mut d_scores[..keys.len() * width];
        score(isa, problem, sequence, lanes, &tile.queries, k, keys.clone(), step.kind, weights, bent);
        // d_p[j][r] = v[j] . d_out[r]
        isa.call(Panel {
            width,
            depth: value_dim,
            count: keys.len(),
            rows: &tile.d_contexts,
            row_stride: width,
            scalars: v.data,
            scalar_strides: [v.column_stride, v.stride],
            out: d_scores,
            out_stride: width,
            accumulate: false,
        });
        let zero = isa.splat(0.0);
        for (weights, d_scores) in weights.chunks_exact_mut(width).zip(d_scores.chunks_exact_mut(width)) {
            for lane in (0..width).step_by(I::LANES) {
                let p = exp_of_nonpositive(isa, isa.sub(isa.load(&weights[lane..]), isa.load(&tile.lse[lane..])));
                isa.store(p, &mut weights[lane..]);
                // Whatever a hidden value is, it has no part in this.
                let d_p = isa.select(isa.eq(p, zero), zero, isa.load(&d_scores[lane..]));
                let d = isa.mul(p, isa.sub(d_p, isa.load(&tile.delta[lane..])));
                isa.store(d, &mut d_scores[lane..]);
            }
        }
        if let Some(d_bias) = d_bias {
            add_to_bias(d_bias, sequence, lanes, keys.start, d_scores);
        }
        if problem.softcap.is_some() {
            for (d, bent) in d_scores.chunks_exact_mut(I::LANES).zip(bent.chunks_exact(I::LANES)) {
                isa.store(isa.mul(isa.load(d), slope_of_softcap(isa, bent)), d);
            }
        }
        // d_v[j] += sum_r p[j][r] d_out[r]
        isa.call(Panel {
            width: v_width,
            depth: lanes.count,
            count: keys.len(),
            rows: &tile.d_context_rows,
            row_stride: v_width,
            scalars: weights,
            scalar_strides: [1, width],
            out: &mut d_v[step.skipped * v_width..],
            out_stride: v_width,
            accumulate: true,
        });
        // d_k[j] += sum_r d_s[j][r] q[r]
        isa.call(Panel {
            width: k_width,
            depth: lanes.count,
            count: keys.len(),
            rows: &tile.query_rows,
            row_stride: k_width,
            scalars: d_scores,
            scalar_strides: [1, width],
            out: &mut d_k[step.skipped * k_width..],
            out_stride: k_width,
            accumulate: true,
        });
        // d_q[c][r] += sum_j d_s[j][r] k[j][c]
        isa.call(Panel {
            width,
            depth: keys.len(),
            count: dim,
            rows: d_scores,
            row_stride: width,
            scalars: k.data,
            scalar_strides: [k.stride, k.column_stride],
            out: &mut tile.d_queries,
            out_stride: width,
            accumulate: true,
        });
    }
}

impl QueryTile {
    #[inline(always)]
    fn fill<I: Isa, Q: Element, K: Element>(&mut self, isa: I, problem: &Problem<'_, Q, K>, saved: &Saved<'_>, sequence: &Sequence) {
        let lanes = &self.lanes;
        lanes.transpose(isa, &problem.q, sequence, problem.query_factor, &mut self.queries);
        let [dim, value_dim] = problem.dims();
        self.query_rows.resize(lanes.count * padded(dim));
        lanes.gather(isa, &problem.q, sequence, &mut self.query_rows);
        lanes.transpose(isa, &saved.d_out, sequence, 1.0, &mut self.d_contexts);
        self.d_context_rows.resize(lanes.count * padded(value_dim));
        lanes.gather(isa, &saved.d_out, sequence, &mut self.d_context_rows);
        self.d_queries.zero(padded(dim) * lanes.width);

        let [_, heads, q_len, _] = problem.q.shape();
        self.lse = [f32::INFINITY; ROWS];
        for r in 0..lanes.count {
            let lse = saved.lse[(sequence.batch * heads + lanes.heads[r]) * q_len + sequence.queries.start + lanes.queries[r]];
            if lse != f32::NEG_INFINITY {
                self.lse[r] = lse;
            }
        }
        // In the order of the product with the values: where one key has all the weight, the two are equal and cancel exactly.
        lanes.transpose(isa, &saved.out, sequence, 1.0, &mut self.contexts);
        for lane in (0..lanes.width).step_by(I::LANES) {
            let mut sum = isa.splat(0.0);
            for (d_context, context) in self.d_contexts.chunks_exact(lanes.width).zip(self.contexts.chunks_exact(lanes.width)) {
                sum = isa.fma(isa.load(&d_context[lane..]), isa.load(&context[lane..]), sum);
            }
            isa.store(sum, &mut self.delta[lane..]);
        }
    }
}

/// Adds the tile to the gradient of the bias, over the dimensions along which the bias was repeated.
fn add_to_bias(d_bias: &mut ViewMut<'_>, sequence: &Sequence, lanes: &Lanes, first_key: usize, d_scores: &[f32]) {
    let layout = *d_bias.layout();
    let [batches, heads, queries, keys] = layout.shape();
    let fold = |index: usize, size: usize| if size == 1 { 0 } else { index };
    let stride = if keys == 1 { 0 } else { layout.strides()[3] };
    for r in 0..lanes.count {
        let query = fold(sequence.queries.start + lanes.queries[r], queries);
        let row = layout.row(fold(sequence.batch, batches), fold(lanes.heads[r], heads), query);
        for (j, d) in d_scores.chunks_exact(lanes.width).enumerate() {
            d_bias.data()[row + (first_key + j) * stride] += d[r];
        }
    }
}
