//! The gradients that flow through one tile of queries.
//!
//! The weights are recomputed from the scores and the saved log-sum-exp, `p = e^(s - lse)` (Dao et al. 2022, appendix B.4). With
//! `D = sum_c d_out out`: `d_v += p^T d_out`, `d_s = p (d_out v^T - D)`, `d_q = scale d_s k`, `d_k += scale d_s^T q`.

use super::elementary::exp;
use super::products::{ROWS, add_times, add_transposed_times, times};
use super::score::{KEYS, Lanes, rows, score};
use crate::plan::Tile;
use crate::problem::{Problem, Sequence};
use crate::simd::{Isa, Op};
use crate::{Element, View, ViewMut};

/// Buffers that one tile leaves to the next, and the sums over tiles.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    q: Vec<f32>,
    q_rows: Vec<f32>,
    d_out: Vec<f32>,
    d_out_rows: Vec<f32>,
    weights: Vec<f32>,
    d_scores: Vec<f32>,
    bent: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    /// Gradient of the tile's queries, `[dim][ROWS]`.
    pub d_q: Vec<f32>,
    /// Gradient of the sequence's keys, `[k_len][dim]`.
    pub d_k: Vec<f32>,
    /// Gradient of the sequence's values, `[k_len][value_dim]`.
    pub d_v: Vec<f32>,
}

/// What the forward pass left, and the gradient of its output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saved<'a> {
    pub out: View<'a>,
    /// `[batch, heads, q_len]`
    pub lse: &'a [f32],
    pub d_out: View<'a>,
}

/// Computes [`Scratch::d_q`] of one tile of queries, and adds to the gradients of keys, values and bias.
pub(crate) struct Backward<'a, 'p, Q, K> {
    pub problem: &'a Problem<'p, Q, K>,
    pub saved: &'a Saved<'p>,
    pub sequence: &'a Sequence,
    pub kv_head: usize,
    pub lanes: &'a Lanes,
    pub scratch: &'a mut Scratch,
    /// `[batch or 1, heads or 1, q_len or 1, k_len or 1]`
    pub d_bias: Option<ViewMut<'a>>,
}

impl<Q: Element, K: Element> Op for Backward<'_, '_, Q, K> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self, isa: I) {
        let Self { problem, saved, sequence, kv_head, lanes, .. } = self;
        let scratch = self.scratch;
        let [dim, value_dim] = problem.dims();
        lanes.load_transposed(&problem.q, sequence, problem.scale, &mut scratch.q);
        lanes.load_transposed(&saved.d_out, sequence, 1.0, &mut scratch.d_out);
        transpose(&scratch.q, dim, &mut scratch.q_rows);
        transpose(&scratch.d_out, value_dim, &mut scratch.d_out_rows);
        let (lse, delta) = per_row(problem, saved, sequence, lanes, &scratch.d_out_rows);
        scratch.weights.resize(KEYS * ROWS, 0.0);
        scratch.d_scores.resize(KEYS * ROWS, 0.0);
        scratch.d_q.clear();
        scratch.d_q.resize(dim * ROWS, 0.0);
        let reach = sequence.band.reach(lanes.reach.clone());
        let mut start = reach.start;
        while start < reach.end {
            let keys = start..(start + KEYS).min(reach.end);
            start = keys.end;
            let tile = sequence.band.classify(lanes.reach.clone(), keys.clone());
            if tile == Tile::Empty {
                continue;
            }
            let weights = &mut scratch.weights[..keys.len() * ROWS];
            let d_scores = &mut scratch.d_scores[..keys.len() * ROWS];
            let k = rows(&problem.k, sequence, kv_head, keys.clone(), &mut scratch.k);
            let v = rows(&problem.v, sequence, kv_head, keys.clone(), &mut scratch.v);
            score(isa, problem, sequence, lanes, &scratch.q, k, keys.clone(), tile, weights, &mut scratch.bent);
            times(isa, v, &scratch.d_out, d_scores);
            for (weights, d_scores) in weights.chunks_exact_mut(ROWS).zip(d_scores.chunks_exact_mut(ROWS)) {
                for lane in (0..ROWS).step_by(I::LANES) {
                    let p = exp(isa, isa.sub(isa.load(&weights[lane..]), isa.load(&lse[lane..])));
                    isa.store(p, &mut weights[lane..]);
                    let d = isa.mul(p, isa.sub(isa.load(&d_scores[lane..]), isa.load(&delta[lane..])));
                    isa.store(d, &mut d_scores[lane..]);
                }
            }
            if let Some(d_bias) = &mut self.d_bias {
                add_to_bias(d_bias, sequence, lanes, keys.start, d_scores);
            }
            if problem.softcap.is_some() {
                for (d, bent) in d_scores.chunks_exact_mut(I::LANES).zip(scratch.bent.chunks_exact(I::LANES)) {
                    let t = isa.load(bent);
                    let slope = isa.neg_fma(t, t, isa.splat(1.0));
                    isa.store(isa.mul(isa.load(d), slope), d);
                }
            }
            add_times(isa, weights, &scratch.d_out_rows, value_dim, &mut scratch.d_v[keys.start * value_dim..keys.end * value_dim]);
            add_times(isa, d_scores, &scratch.q_rows, dim, &mut scratch.d_k[keys.start * dim..keys.end * dim]);
            add_transposed_times(isa, k, d_scores, &mut scratch.d_q);
        }
        for d_q in scratch.d_q.chunks_exact_mut(I::LANES) {
            isa.store(isa.mul(isa.splat(problem.scale), isa.load(d_q)), d_q);
        }
    }
}

/// `[width][ROWS]` to `[ROWS][width]`.
fn transpose(from: &[f32], width: usize, to: &mut Vec<f32>) {
    to.clear();
    to.resize(width * ROWS, 0.0);
    for (c, column) in from.chunks_exact(ROWS).enumerate() {
        for (r, &x) in column.iter().enumerate() {
            to[r * width + c] = x;
        }
    }
}

/// Log-sum-exp and `D` of each lane. A log-sum-exp of `+inf` makes every weight 0: that of idle lanes and of rows without keys.
fn per_row<Q: Element, K: Element>(
    problem: &Problem<'_, Q, K>,
    saved: &Saved<'_>,
    sequence: &Sequence,
    lanes: &Lanes,
    d_out_rows: &[f32],
) -> ([f32; ROWS], [f32; ROWS]) {
    let [_, heads, q_len, _] = problem.q.shape();
    let value_dim = problem.dims()[1];
    let (mut lse, mut delta) = ([f32::INFINITY; ROWS], [0.0; ROWS]);
    for r in 0..lanes.count {
        let (head, query) = (lanes.heads[r], sequence.queries.start + lanes.queries[r]);
        let saved_lse = saved.lse[(sequence.batch * heads + head) * q_len + query];
        if saved_lse != f32::NEG_INFINITY {
            lse[r] = saved_lse;
        }
        let (row, stride) = (saved.out.layout().row(sequence.batch, head, query), saved.out.layout().strides()[3]);
        let d_out = &d_out_rows[r * value_dim..][..value_dim];
        delta[r] = d_out.iter().enumerate().map(|(c, d)| d * saved.out.data()[row + c * stride]).sum();
    }
    (lse, delta)
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
        for (j, d) in d_scores.chunks_exact(ROWS).enumerate() {
            d_bias.data()[row + (first_key + j) * stride] += d[r];
        }
    }
}
