//! What a call takes from the allocator: next to nothing, whatever the lengths, and nothing at all for small calls after the first.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use heedful::{Diagonal, Options, Parallelism, QkvMut, View, ViewMut, attend, attend_backward};

/// The system's allocator, with an account.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes at the highest point of `run` beyond those before it, and calls of the allocator.
fn taken(run: impl FnOnce()) -> (usize, usize) {
    let (before, calls) = (HELD.load(Ordering::Relaxed), CALLS.load(Ordering::Relaxed));
    PEAK.store(before, Ordering::Relaxed);
    run();
    (PEAK.load(Ordering::Relaxed) - before, CALLS.load(Ordering::Relaxed) - calls)
}

/// One test, since all share the account.
#[test]
fn memory_beyond_the_operands_is_bounded_and_small_calls_take_none() {
    const MIB: usize = 1 << 20;
    // 131,072 tokens, of which each sees 64: as many keys as any task can have to hold gradients for.
    let (tokens, dim) = (1 << 17, 64);
    let shape = [1, 1, tokens, dim];
    let x: Vec<f32> = (0..tokens * dim).map(|i| (i % 97) as f32 / 97.0).collect();
    let [mut out, mut d_q, mut d_k, mut d_v] = [0; 4].map(|_| vec![0.0; tokens * dim]);
    let mut lse = vec![0.0; tokens];
    let view = View::contiguous(&x, shape).unwrap();
    let options = Options::new().causal(Diagonal::TopLeft).window(Some(63), None).parallelism(Parallelism::Serial);
    let (bytes, _) = taken(|| attend(view, view, view, &options, ViewMut::contiguous(&mut out, shape).unwrap(), Some(&mut lse)).unwrap());
    assert!(bytes < 2 * MIB, "the forward pass took {bytes} bytes");
    let out = View::contiguous(&out, shape).unwrap();
    let (bytes, _) = taken(|| {
        let [q, k, v] = [&mut d_q, &mut d_k, &mut d_v].map(|data| ViewMut::contiguous(data, shape).unwrap());
        attend_backward(view, view, view, &options, out, &lse, out, QkvMut::separate(q, k, v), None).unwrap();
    });
    assert!(bytes < 16 * MIB, "the backward pass took {bytes} bytes");
    assert!(d_q.iter().chain(&d_k).chain(&d_v).all(|x| x.is_finite()));

    // Small calls: a sentence, and a step of decoding over a cache.
    for (queries, keys) in [(20, 20), (1, 3000)] {
        let [q_shape, k_shape] = [queries, keys].map(|len| [1, 8, len, 32]);
        let [q, k] = [q_shape, k_shape].map(|shape| View::contiguous(&x[..shape.iter().product()], shape).unwrap());
        let mut out = vec![0.0; 8 * queries * 32];
        let mut lse = vec![0.0; 8 * queries];
        let mut gradients = [q_shape, k_shape, k_shape].map(|shape| vec![0.0; shape.iter().product()]);
        let mut call = || {
            let options = options.window(None, None).causal(Diagonal::BottomRight);
            attend(q, k, k, &options, ViewMut::contiguous(&mut out, q_shape).unwrap(), Some(&mut lse)).unwrap();
            let out = View::contiguous(&out, q_shape).unwrap();
            let [d_q, d_k, d_v] = gradients.each_mut();
            let [d_q, d_k, d_v] =
                [(d_q, q_shape), (d_k, k_shape), (d_v, k_shape)].map(|(data, shape)| ViewMut::contiguous(data, shape).unwrap());
            attend_backward(q, k, k, &options, out, &lse, out, QkvMut::separate(d_q, d_k, d_v), None).unwrap();
        };
        call();
        let (bytes, calls) = taken(call);
        assert_eq!((bytes, calls), (0, 0), "{queries} queries, {keys} keys");
    }
}
