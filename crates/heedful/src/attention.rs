//! The one operation: queries look at keys and fetch a mixture of values. Forward, backward, and over packed sequences.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;

use crate::kernel::backward::{self, Backward, Saved};
use crate::kernel::forward::{self, Forward};
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
/// A query without a key to look at gets 0 and a log-sum-exp of `-inf`. With a `dim` of 0 every score is 0 before bias and mask. A NaN in a
/// query or in a key or value that it looks at makes its row NaN; a NaN or infinity in a *value* that it may not look at can do so too, where
/// it shares a tile with values in sight, since 0 times NaN is NaN: put zeros into padding. The result does not depend on the number of threads.
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

/// Multiply-adds that are worth handing to another thread.
const TASK: usize = 1 << 20;

/// Runs `run` over all of `0..tasks`, in ranges that are worth a thread. Which ranges must not matter for the result.
fn each_task(parallelism: Parallelism, tasks: usize, products_per_task: usize, run: impl Fn(Range<usize>) + Sync) {
    let together = (TASK / products_per_task.max(1)).max(1);
    if parallelism == Parallelism::Serial || tasks <= together || rayon::current_num_threads() == 1 {
        return run(0..tasks);
    }
    let run_part = |part: usize| run(part * together..((part + 1) * together).min(tasks));
    (0..tasks.div_ceil(together)).into_par_iter().for_each(run_part);
}

fn forward<Q: Element, K: Element>(
    operation: &'static str,
    problem: &Problem<'_, Q, K>,
    parallelism: Parallelism,
    out: ViewMut<'_>,
    lse: Option<&mut [f32]>,
) -> Result<()> {
    thread_local!(static SCRATCH: RefCell<forward::Scratch> = RefCell::default());
    problem.check_context(operation, "out", out.shape())?;
    if let Some(lse) = &lse {
        problem.check_lse(operation, lse.len())?;
    }
    let [dim, value_dim] = problem.dims();
    // Each cell is written once, by one task; the lock only lets tasks share the slices.
    let target = Mutex::new((out, lse));
    let longest = (0..problem.sequences()).map(|i| problem.sequence(i).queries.len()).max().unwrap_or(0);
    let blocks = (problem.group() * longest).div_ceil(forward::BLOCK);
    let run = |tasks: Range<usize>, scratch: &mut forward::Scratch| {
        for task in tasks {
            let (pair, first) = (task / blocks, task % blocks * forward::BLOCK);
            let (sequence, kv_head) = (problem.sequence(pair / problem.kv_heads()), pair % problem.kv_heads());
            let rows = first..(first + forward::BLOCK).min(problem.group() * sequence.queries.len());
            if !rows.is_empty() {
                dispatch(Forward { problem, sequence: &sequence, kv_head, rows, scratch, target: &target });
            }
        }
    };
    let products = problem.k.shape()[2] * (dim + value_dim) * (problem.group() * longest).min(forward::BLOCK);
    let pairs = problem.sequences() * problem.kv_heads();
    each_task(parallelism, pairs * blocks, products, |tasks| SCRATCH.with_borrow_mut(|scratch| run(tasks, scratch)));
    Ok(())
}

fn backward<Q: Element, K: Element>(
    operation: &'static str,
    problem: &Problem<'_, Q, K>,
    parallelism: Parallelism,
    saved: Saved<'_>,
    gradients: QkvMut<'_>,
    d_bias: Option<ViewMut<'_>>,
) -> Result<()> {
    thread_local!(static SCRATCH: RefCell<backward::Scratch> = RefCell::default());
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
    let run = |scratch: &mut backward::Scratch, pair: usize, d_bias: Option<ViewMut<'_>>| {
        let sequence = &problem.sequence(pair / problem.kv_heads());
        let kv_head = pair % problem.kv_heads();
        dispatch(Backward { problem, saved: &saved, sequence, kv_head, scratch, d_bias, target: &target });
    };
    let pairs = problem.sequences() * problem.kv_heads();
    if let Some(mut d_bias) = d_bias {
        d_bias.fill(0.0);
        let scratch = &mut backward::Scratch::default();
        (0..pairs).for_each(|pair| run(scratch, pair, Some(d_bias.reborrow())));
        return Ok(());
    }
    let products = problem.k.shape()[2] * (3 * dim + 2 * value_dim) * problem.group() * problem.q.shape()[2] / problem.sequences().max(1);
    each_task(parallelism, pairs, products, |tasks| {
        SCRATCH.with_borrow_mut(|scratch| tasks.for_each(|pair| run(scratch, pair, None)));
    });
    Ok(())
}
