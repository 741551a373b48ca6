//! The one operation: queries look at keys and fetch a mixture of values. Forward, backward, and over packed sequences.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::kernel::backward::{self, Backward, Saved};
use crate::kernel::forward::{self, Forward};
use crate::kernel::products::ROWS;
use crate::kernel::score::Lanes;
use crate::problem::{Problem, shape};
use crate::simd::dispatch;
use crate::{Element, Options, Parallelism, QkvMut, Result, View, ViewMut};

/// Attention (Vaswani et al. 2017, section 3.2.1): `out = softmax(scale q k^T + ...) v`, one softmax for each query over the keys.
///
/// | operand | shape |
/// |---|---|
/// | `q` | `[batch, heads, q_len, dim]` |
/// | `k` | `[batch, kv_heads, k_len, dim]`; `kv_heads` divides `heads`, and query head `h` looks at key head `h / (heads / kv_heads)` |
/// | `v` | `[batch, kv_heads, k_len, value_dim]` |
/// | `out` | `[batch, heads, q_len, value_dim]` |
/// | `lse` | `[batch, heads, q_len]`: the log-sum-exp of each query's scores, in natural logarithm |
///
/// What [`Options`] may add, and in which order, is told there. Scores are never held for more than a tile: memory beyond the operands
/// does not grow with the lengths. `lse` is what [`attend_backward`] and the [lenses](crate::lens) need.
///
/// A query without a key to look at gets 0 and a log-sum-exp of `-inf`. A NaN in a query or in a key or value that it looks at makes its
/// row NaN. The result does not depend on the number of threads.
///
/// # Errors
/// If shapes, lengths or options do not fit each other.
///
/// ```
/// use heedful::{Options, View, ViewMut, attend};
///
/// // One query, two keys: the key that points the query's way gets more weight.
/// let (q, k, v) = ([1.0, 0.0], [1.0, 0.0, 0.0, 1.0], [10.0, 20.0]);
/// let mut out = [0.0];
/// attend(
///     View::contiguous(&q, [1, 1, 1, 2])?,
///     View::contiguous(&k, [1, 1, 2, 2])?,
///     View::contiguous(&v, [1, 1, 2, 1])?,
///     &Options::new(),
///     ViewMut::contiguous(&mut out, [1, 1, 1, 1])?,
///     None,
/// )?;
/// assert!((out[0] - 13.302).abs() < 1e-3);
/// # Ok::<(), heedful::Error>(())
/// ```
pub fn attend<Q: Element, K: Element>(
    q: View<'_, Q>,
    k: View<'_, K>,
    v: View<'_, K>,
    options: &Options<'_>,
    out: ViewMut<'_>,
    lse: Option<&mut [f32]>,
) -> Result<()> {
    forward("attend", &Problem::new("attend", q, k, v, options)?, options.parallelism, out, lse)
}

/// [`attend`] within each of several sequences that lie one after the other, of any lengths, without padding.
///
/// Sequence `i` has the queries `offsets_q[i]..offsets_q[i + 1]` and the keys `offsets_k[i]..offsets_k[i + 1]`; causal masks, windows and
/// ALiBi count from its own first query and key.
///
/// | operand | shape |
/// |---|---|
/// | `q` | `[1, heads, q_total, dim]` |
/// | `k`, `v` | `[1, kv_heads, k_total, dim]`, `[1, kv_heads, k_total, value_dim]` |
/// | `out` | `[1, heads, q_total, value_dim]` |
/// | `lse` | `[heads, q_total]` |
///
/// # Errors
/// As [`attend`]; also if offsets do not ascend from 0 to the total, or if a mask, a bias, key lengths or key starts are set.
pub fn attend_packed<Q: Element, K: Element>(
    q: View<'_, Q>,
    k: View<'_, K>,
    v: View<'_, K>,
    offsets_q: &[usize],
    offsets_k: &[usize],
    options: &Options<'_>,
    out: ViewMut<'_>,
    lse: Option<&mut [f32]>,
) -> Result<()> {
    let problem = Problem::packed("attend_packed", q, k, v, [offsets_q, offsets_k], options)?;
    forward("attend_packed", &problem, options.parallelism, out, lse)
}

/// The gradients of [`attend`]: from `d_out`, the derivative of a loss by `out`, those by queries, keys, values and bias.
///
/// `out` and `lse` are what [`attend`] gave for the same operands and options. `gradients` are overwritten. `d_bias` has the shape of the
/// bias, before it was repeated, and receives the sum over whatever it was repeated along; asking for it makes the call serial.
///
/// # Errors
/// If shapes, lengths or options do not fit each other, or `d_bias` is given without a bias.
pub fn attend_backward<Q: Element, K: Element>(
    q: View<'_, Q>,
    k: View<'_, K>,
    v: View<'_, K>,
    options: &Options<'_>,
    out: View<'_>,
    lse: &[f32],
    d_out: View<'_>,
    gradients: QkvMut<'_>,
    d_bias: Option<ViewMut<'_>>,
) -> Result<()> {
    const OPERATION: &str = "attend_backward";
    let problem = Problem::new(OPERATION, q, k, v, options)?;
    if let Some(d_bias) = &d_bias {
        let Some(bias) = &options.bias else {
            return Err(shape(OPERATION, "d_bias", d_bias.shape(), "the options hold no bias: set it, or pass None"));
        };
        if d_bias.shape() != bias.shape() {
            return Err(shape(OPERATION, "d_bias", d_bias.shape(), format!("it must be that of the bias, {:?}", bias.shape())));
        }
    }
    backward(OPERATION, &problem, options.parallelism, Saved { out, lse, d_out }, gradients, d_bias)
}

/// The gradients of [`attend_packed`]; see [`attend_backward`].
///
/// # Errors
/// As [`attend_packed`].
pub fn attend_packed_backward<Q: Element, K: Element>(
    q: View<'_, Q>,
    k: View<'_, K>,
    v: View<'_, K>,
    offsets_q: &[usize],
    offsets_k: &[usize],
    options: &Options<'_>,
    out: View<'_>,
    lse: &[f32],
    d_out: View<'_>,
    gradients: QkvMut<'_>,
) -> Result<()> {
    const OPERATION: &str = "attend_packed_backward";
    let problem = Problem::packed(OPERATION, q, k, v, [offsets_q, offsets_k], options)?;
    backward(OPERATION, &problem, options.parallelism, Saved { out, lse, d_out }, gradients, None)
}

/// Tiles that one task computes, so that a task is worth handing to another thread.
const TILES: usize = 4;

fn forward<Q: Element, K: Element>(
    operation: &'static str,
    problem: &Problem<'_, Q, K>,
    parallelism: Parallelism,
    out: ViewMut<'_>,
    lse: Option<&mut [f32]>,
) -> Result<()> {
    problem.check_context(operation, "out", out.shape())?;
    if let Some(lse) = &lse {
        problem.check_lse(operation, lse.len())?;
    }
    let [_, heads, q_len, _] = problem.q.shape();
    // Each cell is written once, by one task; the lock only lets tasks share the slices.
    let target = Mutex::new((out, lse));
    let run = |scratch: &mut forward::Scratch, pair: usize, rows: std::ops::Range<usize>| {
        let sequence = problem.sequence(pair / problem.kv_heads());
        let kv_head = pair % problem.kv_heads();
        let end = rows.end.min(problem.group() * sequence.queries.len());
        for first in (rows.start..end).step_by(ROWS) {
            let lanes = Lanes::new(problem, &sequence, kv_head, first);
            dispatch(Forward { problem, sequence: &sequence, kv_head, lanes: &lanes, scratch });
            let (out, lse) = &mut *target.lock().unwrap_or_else(PoisonError::into_inner);
            for r in 0..lanes.count {
                let (head, position) = (lanes.heads[r], sequence.queries.start + lanes.queries[r]);
                out.each(sequence.batch, head, position, |c, to| *to = scratch.out[c * ROWS + r]);
                if let Some(lse) = lse {
                    lse[(sequence.batch * heads + head) * q_len + position] = scratch.lse[r];
                }
            }
        }
    };
    let pairs = problem.sequences() * problem.kv_heads();
    match parallelism {
        Parallelism::Serial => {
            let scratch = &mut forward::Scratch::default();
            (0..pairs).for_each(|pair| run(scratch, pair, 0..usize::MAX));
        }
        Parallelism::Rayon => {
            let longest = (0..problem.sequences()).map(|i| problem.sequence(i).queries.len()).max().unwrap_or(0);
            let blocks = (problem.group() * longest).div_ceil(TILES * ROWS);
            (0..pairs * blocks).into_par_iter().for_each_init(forward::Scratch::default, |scratch, task| {
                let first = (task % blocks) * TILES * ROWS;
                run(scratch, task / blocks, first..first + TILES * ROWS);
            });
        }
    }
    Ok(())
}

fn backward<Q: Element, K: Element>(
    operation: &'static str,
    problem: &Problem<'_, Q, K>,
    parallelism: Parallelism,
    saved: Saved<'_>,
    gradients: QkvMut<'_>,
    mut d_bias: Option<ViewMut<'_>>,
) -> Result<()> {
    problem.check_context(operation, "out", saved.out.shape())?;
    problem.check_context(operation, "d_out", saved.d_out.shape())?;
    problem.check_lse(operation, saved.lse.len())?;
    for (i, (operand, like)) in [("d_q", problem.q.shape()), ("d_k", problem.k.shape()), ("d_v", problem.v.shape())].into_iter().enumerate()
    {
        if gradients.shape(i) != like {
            return Err(shape(operation, operand, gradients.shape(i), format!("it must be that of {}, {like:?}", &operand[2..])));
        }
    }
    let [dim, value_dim] = problem.dims();
    // Each cell is written once, by one task; the lock only lets tasks share the slices.
    let target = Mutex::new(gradients);
    let run = |scratch: &mut backward::Scratch, pair: usize, mut d_bias: Option<ViewMut<'_>>| {
        let sequence = problem.sequence(pair / problem.kv_heads());
        let kv_head = pair % problem.kv_heads();
        let k_len = sequence.key_count;
        for (sum, width) in [(&mut scratch.d_k, dim), (&mut scratch.d_v, value_dim)] {
            sum.clear();
            sum.resize(k_len * width, 0.0);
        }
        for first in (0..problem.group() * sequence.queries.len()).step_by(ROWS) {
            let lanes = Lanes::new(problem, &sequence, kv_head, first);
            let d_bias = d_bias.as_mut().map(ViewMut::reborrow);
            dispatch(Backward { problem, saved: &saved, sequence: &sequence, kv_head, lanes: &lanes, scratch, d_bias });
            let mut target = target.lock().unwrap_or_else(PoisonError::into_inner);
            let mut d_q = target.part(0);
            for r in 0..lanes.count {
                let position = sequence.queries.start + lanes.queries[r];
                d_q.each(sequence.batch, lanes.heads[r], position, |c, to| *to = scratch.d_q[c * ROWS + r]);
            }
        }
        let mut target = target.lock().unwrap_or_else(PoisonError::into_inner);
        for (part, sum, width) in [(1, &scratch.d_k, dim), (2, &scratch.d_v, value_dim)] {
            let mut tensor = target.part(part);
            for j in 0..k_len {
                tensor.each(sequence.batch, kv_head, sequence.first_key + j, |c, to| *to = sum[j * width + c]);
            }
        }
    };
    let pairs = problem.sequences() * problem.kv_heads();
    if let Some(d_bias) = &mut d_bias {
        d_bias.fill(0.0);
    }
    if parallelism == Parallelism::Serial || d_bias.is_some() {
        let scratch = &mut backward::Scratch::default();
        (0..pairs).for_each(|pair| run(scratch, pair, d_bias.as_mut().map(ViewMut::reborrow)));
    } else {
        (0..pairs).into_par_iter().for_each_init(backward::Scratch::default, |scratch, pair| run(scratch, pair, None));
    }
    Ok(())
}
