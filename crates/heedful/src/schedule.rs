//! Who computes what: a call as tasks for one or several threads.
//!
//! A sequence's kernel and the keys that are summed in one go depend on its own shape alone, and each cell of a result is computed by one
//! task. So results depend neither on the number of threads nor on what else is in the call.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::kernel::backward::{self, Backward, Saved};
use crate::kernel::decode::{self, Decode};
use crate::kernel::forward::{self, Forward};
use crate::kernel::short::{self, is_short};
use crate::output::Output;
use crate::plan::Part;
use crate::problem::{Problem, Sequence, shape};
use crate::simd::dispatch_on;
use crate::softmax::merge;
use crate::{Element, Parallelism, QkvMut, Result, ViewMut};

/// Multiply-adds that are worth handing to another thread.
const TASK: usize = 1 << 20;

/// Most tasks of a call from outside of the pool that are shared out at once, as many to each thread. Of more, threads take the next ones
/// as they are done: a thread that is late would cost more than waking one.
const SHARED_OUT: usize = 128;

/// In how many tasks to cut so many multiply-adds.
fn count_tasks(parallelism: Parallelism, products: usize) -> usize {
    let tasks = products / TASK;
    if tasks <= 1 || parallelism == Parallelism::Serial {
        return 1;
    }
    let threads = rayon::current_num_threads();
    if threads == 1 {
        1
    } else if tasks <= SHARED_OUT && rayon::current_thread_index().is_none() {
        tasks.min(threads)
    } else {
        tasks
    }
}

/// Runs both, on two threads if there are two. A caller that is none of the pool's threads takes `low` itself: were it to wait, a sleeping
/// thread would be woken in its place, often on the core of the other.
fn fork(low: impl FnOnce() + Send, high: impl FnOnce() + Send) {
    if rayon::current_thread_index().is_some() {
        rayon::join(low, high);
    } else {
        rayon::in_place_scope(|scope| {
            scope.spawn(|_| high());
            low();
        });
    }
}

/// Runs `run` over all of `0..tasks`, in ranges that are worth a thread. Which ranges must not matter for the result.
fn each_task(parallelism: Parallelism, tasks: usize, products_per_task: usize, run: impl Fn(Range<usize>) + Sync) {
    let together = (TASK / products_per_task.max(1)).max(1);
    let (parts, threads) = (tasks.div_ceil(together), rayon::current_num_threads());
    if parallelism == Parallelism::Serial || parts <= 1 || threads == 1 {
        return run(0..tasks);
    }
    // The caller works too, which `fork` tells the reason of; each thread takes the next part when it has done one.
    let next = AtomicUsize::new(0);
    let work = || loop {
        let first = next.fetch_add(1, Ordering::Relaxed).saturating_mul(together);
        if first >= tasks {
            break;
        }
        run(first..(first + together).min(tasks));
    };
    rayon::in_place_scope(|scope| {
        (1..threads.min(parts)).for_each(|_| scope.spawn(|_| work()));
        work();
    });
}

/// Which kernel computes a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// All keys in one tile.
    Short,
    /// Fewer queries than lanes, many keys.
    Decode,
    Long,
}

impl Kind {
    fn of<Q: Element, K: Element>(problem: &Problem<'_, Q, K>, sequence: &Sequence) -> Self {
        if is_short(problem, sequence) {
            Self::Short
        } else if problem.group() * sequence.queries.len() <= decode::ROWS {
            Self::Decode
        } else {
            Self::Long
        }
    }
}

/// What a call's sequences ask for. All of them count as if they had a query and a key, since there are results to write all the same.
#[derive(Default)]
struct Work {
    /// Scores of all short sequences.
    short_scores: usize,
    /// Most keys of a sequence to decode, and most rows; 0 if there is none.
    decoded: [usize; 2],
    /// Most queries of a long sequence; 0 if there is none.
    longest: usize,
}

impl Work {
    fn new<Q: Element, K: Element>(problem: &Problem<'_, Q, K>) -> Self {
        let mut work = Self::default();
        for sequence in (0..problem.sequences()).map(|i| problem.sequence(i)) {
            let (queries, keys) = (sequence.queries.len().max(1), sequence.band.keys.len().max(1));
            match Kind::of(problem, &sequence) {
                Kind::Short => work.short_scores = work.short_scores.saturating_add(queries * keys * problem.q.shape()[1]),
                Kind::Decode => work.decoded = [keys.max(work.decoded[0]), (problem.group() * queries).max(work.decoded[1])],
                Kind::Long => work.longest = queries.max(work.longest),
            }
        }
        work
    }
}

pub(crate) fn forward<Q: Element, K: Element>(
    operation: &'static str,
    problem: &Problem<'_, Q, K>,
    parallelism: Parallelism,
    mut out: ViewMut<'_>,
    mut lse: Option<&mut [f32]>,
) -> Result<()> {
    problem.check_context(operation, "out", out.shape())?;
    if let Some(lse) = &lse {
        problem.check_lse(operation, lse.len())?;
    }
    if out.shape()[..3].contains(&0) {
        return Ok(());
    }
    let [dim, value_dim] = problem.dims();
    let work = Work::new(problem);
    if work.short_scores > 0 || work.decoded[0] > 0 {
        let [batch, heads, q_len, _] = problem.q.shape();
        let mut lse = lse.as_deref_mut().map(|lse| ViewMut::contiguous(lse, [batch, heads, q_len, 1])).transpose()?;
        if work.decoded[0] > 0 {
            decode(problem, parallelism, &work, &mut out, lse.as_mut());
        }
        if work.short_scores > 0 {
            let tasks = count_tasks(parallelism, work.short_scores.saturating_mul(dim + value_dim));
            forward_short(problem, problem.whole(), Output::Own(out.reborrow()), lse.map(Output::Own), tasks);
        }
    }
    if work.longest > 0 {
        forward_long(problem, parallelism, work.longest, out, lse);
    }
    Ok(())
}

fn forward_long<Q: Element, K: Element>(
    problem: &Problem<'_, Q, K>,
    parallelism: Parallelism,
    longest: usize,
    out: ViewMut<'_>,
    lse: Option<&mut [f32]>,
) {
    thread_local!(static SCRATCH: RefCell<forward::Scratch> = RefCell::default());
    // Each cell is written once, by one task; the lock only lets tasks share the slices.
    let target = Mutex::new((out, lse));
    let block = forward::block(problem);
    let blocks = (problem.group() * longest).div_ceil(block);
    let run = |tasks: Range<usize>, scratch: &mut forward::Scratch| {
        for task in tasks {
            let (pair, first) = (task / blocks, task % blocks * block);
            let (sequence, kv_head) = (problem.sequence(pair / problem.kv_heads()), pair % problem.kv_heads());
            let rows = first..(first + block).min(problem.group() * sequence.queries.len());
            if !rows.is_empty() && Kind::of(problem, &sequence) == Kind::Long {
                dispatch_on(problem.tier, Forward { problem, sequence: &sequence, kv_head, rows, scratch, target: &target });
            }
        }
    };
    let products = problem.k.shape()[2] * problem.dims().iter().sum::<usize>() * (problem.group() * longest).min(block);
    let pairs = problem.sequences() * problem.kv_heads();
    each_task(parallelism, pairs * blocks, products, |tasks| SCRATCH.with_borrow_mut(|scratch| run(tasks, scratch)));
}

/// Computes the short sequences of a part, in about so many tasks.
fn forward_short<'s, 'o, Q: Element, K: Element>(
    problem: &Problem<'_, Q, K>,
    part: Part,
    mut out: Output<'s, ViewMut<'o>>,
    mut lse: Option<Output<'s, ViewMut<'o>>>,
    tasks: usize,
) {
    thread_local!(static SCRATCH: RefCell<short::forward::Scratch> = RefCell::default());
    if tasks > 1 && part.pairs() > 1 {
        let [low, high] = part.halves();
        let [low_rows, high_rows] = [&low, &high].map(|part| problem.query_rows(part));
        let (mut out_lock, mut lse_lock) = (None, None);
        let [low_out, high_out] = out.halves(&low_rows, &high_rows, &mut out_lock);
        let [low_lse, high_lse] = match lse {
            Some(lse) => lse.halves(&low_rows, &high_rows, &mut lse_lock).map(Some),
            None => [None, None],
        };
        fork(
            || forward_short(problem, low, low_out, low_lse, tasks / 2),
            || forward_short(problem, high, high_out, high_lse, tasks - tasks / 2),
        );
        return;
    }
    SCRATCH.with_borrow_mut(|scratch| {
        for sequence in part.sequences {
            let sequence = problem.sequence(sequence);
            for kv_head in part.kv_heads.clone().filter(|_| is_short(problem, &sequence)) {
                let (sequence, out, lse) = (&sequence, &mut out, lse.as_mut());
                dispatch_on(problem.tier, short::forward::Forward { problem, sequence, kv_head, scratch, out, lse });
            }
        }
    });
}

/// Keys of a task of decoding, unless there are so many that [`MOST_PARTS`] such tasks do not hold them.
const DECODED_KEYS: usize = 1024;
/// Most tasks that share the keys of a head, and most results to be merged.
const MOST_PARTS: usize = 64;

/// Computes the sequences with few queries: each task some keys, whose results are merged in their order.
fn decode<Q: Element, K: Element>(
    problem: &Problem<'_, Q, K>,
    parallelism: Parallelism,
    work: &Work,
    out: &mut ViewMut<'_>,
    mut lse: Option<&mut ViewMut<'_>>,
) {
    thread_local! {
        static SCRATCH: RefCell<decode::Scratch> = RefCell::default();
        static PARTIALS: RefCell<Vec<f32>> = RefCell::default();
    }
    let (kv_heads, [most_keys, most_rows], result) = (problem.kv_heads(), work.decoded, problem.dims()[1] + 1);
    // By the length of each sequence, as are the parts themselves.
    let part_keys = |keys: usize| DECODED_KEYS.max(keys.div_ceil(MOST_PARTS));
    let parts = most_keys.div_ceil(DECODED_KEYS).min(MOST_PARTS);
    let size = most_rows * result;
    // Taken, not borrowed: while this thread waits for others, it may run another call.
    let mut partials = PARTIALS.take();
    partials.resize(problem.sequences() * kv_heads * parts * size, 0.0);
    let run = |task: usize, partial: &mut [f32]| {
        let (pair, part) = (task / parts, task % parts);
        let sequence = &problem.sequence(pair / kv_heads);
        if Kind::of(problem, sequence) != Kind::Decode {
            return;
        }
        let reach = sequence.band.reach(0..sequence.queries.len());
        let step = part_keys(sequence.band.keys.len());
        let start = (reach.start + part * step).min(reach.end);
        let keys = start..(start + step).min(reach.end);
        let partial = &mut partial[..problem.group() * sequence.queries.len() * result];
        SCRATCH.with_borrow_mut(|scratch| {
            dispatch_on(problem.tier, Decode { problem, sequence, kv_head: pair % kv_heads, keys, scratch, partial });
        });
    };
    let products = most_rows * part_keys(most_keys).min(most_keys) * problem.dims().iter().sum::<usize>();
    if parallelism == Parallelism::Serial || rayon::current_num_threads() == 1 || partials.len() <= size {
        partials.chunks_exact_mut(size).enumerate().for_each(|(task, partial)| run(task, partial));
    } else {
        let tasks = partials.par_chunks_exact_mut(size).enumerate().with_min_len((TASK / products.max(1)).max(1));
        tasks.for_each(|(task, partial)| run(task, partial));
    }
    for (pair, partials) in partials.chunks_exact_mut(parts * size).enumerate() {
        let sequence = &problem.sequence(pair / kv_heads);
        if Kind::of(problem, sequence) != Kind::Decode {
            continue;
        }
        let (whole, others) = partials.split_at_mut(size);
        for (r, row) in whole.chunks_exact_mut(result).take(problem.group() * sequence.queries.len()).enumerate() {
            let (context, row_lse) = row.split_at_mut(result - 1);
            for other in others.chunks_exact(size) {
                let other = &other[r * result..][..result];
                merge(context, &mut row_lse[0], &other[..result - 1], other[result - 1]);
            }
            let head = pair % kv_heads * problem.group() + r % problem.group();
            let place = [sequence.batch, head, sequence.queries.start + r / problem.group()];
            match out.row_mut(place) {
                Ok(to) => to.copy_from_slice(context),
                Err(to) => to.zip(context).for_each(|(to, x)| *to = *x),
            }
            if let Some(lse) = &mut lse {
                lse.set(place, row_lse[0]);
            }
        }
    }
    PARTIALS.set(partials);
}

pub(crate) fn backward<Q: Element, K: Element>(
    operation: &'static str,
    problem: &Problem<'_, Q, K>,
    parallelism: Parallelism,
    saved: Saved<'_>,
    mut gradients: QkvMut<'_>,
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
    let products_per_score = 3 * dim + 2 * value_dim;
    let work = Work::new(problem);
    // The gradient of a bias is a sum over sequences: one task takes it, in their order, with the one kernel that can.
    if d_bias.is_none() && work.short_scores > 0 {
        let tasks = count_tasks(parallelism, work.short_scores.saturating_mul(products_per_score));
        backward_short(problem, &saved, problem.whole(), Output::Own(gradients.reborrow()), tasks);
        if work.longest == 0 && work.decoded[0] == 0 {
            return Ok(());
        }
    }
    // Each cell is written once, by one task; the lock only lets tasks share the slices.
    let target = Mutex::new(gradients);
    let run = |scratch: &mut backward::Scratch, pair: usize, d_bias: Option<ViewMut<'_>>| {
        let sequence = &problem.sequence(pair / problem.kv_heads());
        let kv_head = pair % problem.kv_heads();
        dispatch_on(problem.tier, Backward { problem, saved: &saved, sequence, kv_head, scratch, d_bias, target: &target });
    };
    let pairs = problem.sequences() * problem.kv_heads();
    if let Some(mut d_bias) = d_bias {
        d_bias.fill(0.0);
        let scratch = &mut backward::Scratch::default();
        (0..pairs).for_each(|pair| run(scratch, pair, Some(d_bias.reborrow())));
        return Ok(());
    }
    let products = problem.k.shape()[2] * products_per_score * problem.group() * problem.q.shape()[2] / problem.sequences().max(1);
    each_task(parallelism, pairs, products, |tasks| {
        let long = |&pair: &usize| !is_short(problem, &problem.sequence(pair / problem.kv_heads()));
        SCRATCH.with_borrow_mut(|scratch| tasks.filter(long).for_each(|pair| run(scratch, pair, None)));
    });
    Ok(())
}

/// Computes the gradients of the short sequences of a part, in about so many tasks.
fn backward_short<Q: Element, K: Element>(
    problem: &Problem<'_, Q, K>,
    saved: &Saved<'_>,
    part: Part,
    mut target: Output<'_, QkvMut<'_>>,
    tasks: usize,
) {
    thread_local!(static SCRATCH: RefCell<short::backward::Scratch> = RefCell::default());
    if tasks > 1 && part.pairs() > 1 {
        let [low, high] = part.halves();
        let [low_rows, high_rows] = [&low, &high].map(|part| {
            let keys = problem.key_rows(part);
            [problem.query_rows(part), keys.clone(), keys]
        });
        let mut lock = None;
        let [low_target, high_target] = target.halves(&low_rows, &high_rows, &mut lock);
        fork(
            || backward_short(problem, saved, low, low_target, tasks / 2),
            || backward_short(problem, saved, high, high_target, tasks - tasks / 2),
        );
        return;
    }
    SCRATCH.with_borrow_mut(|scratch| {
        for sequence in part.sequences {
            let sequence = problem.sequence(sequence);
            for kv_head in part.kv_heads.clone().filter(|_| is_short(problem, &sequence)) {
                let (sequence, target) = (&sequence, &mut target);
                dispatch_on(problem.tier, short::backward::Backward { problem, saved, sequence, kv_head, scratch, target });
            }
        }
    });
}
