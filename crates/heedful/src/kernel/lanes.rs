//! Element-wise loops and reductions over slices, generic over the instructions: what an [`Op`](crate::simd::Op) is made of.
//!
//! Reductions add in a fixed order that depends on the length and on the tier alone.

use super::elementary;
use crate::simd::Isa;

/// A function of `IN` numbers that updates `OUT` numbers, the same for each element of some slices.
///
/// ```
/// use heedful::kernel::{elementary, lanes::Elementwise, slice};
/// use heedful::simd::Isa;
///
/// /// `h = z * h + (1 - z) * n` with the gate `z = sigmoid(a)`.
/// struct Gate;
///
/// impl Elementwise<2, 1> for Gate {
///     #[inline(always)]
///     fn apply<I: Isa>(&self, isa: I, [a, n]: [I::Vector; 2], [h]: [I::Vector; 1]) -> [I::Vector; 1] {
///         let z = elementary::sigmoid(isa, a);
///         [isa.fma(z, isa.sub(h, n), n)]
///     }
/// }
///
/// let mut h = [1.0; 21];
/// slice::elementwise([&[0.0; 21], &[3.0; 21]], [&mut h], Gate);
/// assert_eq!(h, [2.0; 21]);
/// ```
pub trait Elementwise<const IN: usize, const OUT: usize> {
    /// The new values of the outputs from the inputs and the outputs' present values. An operand that is not used costs nothing.
    fn apply<I: Isa>(&self, isa: I, inputs: [I::Vector; IN], outputs: [I::Vector; OUT]) -> [I::Vector; OUT];
}

/// Applies `f` to each index of the slices. In lanes past the end, inputs and outputs are 0.
///
/// # Panics
/// If the slices differ in length.
#[inline(always)]
pub fn elementwise<I: Isa, const IN: usize, const OUT: usize>(
    isa: I,
    inputs: [&[f32]; IN],
    mut outputs: [&mut [f32]; OUT],
    f: &impl Elementwise<IN, OUT>,
) {
    let len = outputs.first().map_or(0, |out| out.len());
    assert!(
        inputs.iter().all(|x| x.len() == len) && outputs.iter().all(|x| x.len() == len),
        "element-wise operands of different lengths: inputs {:?}, outputs {:?}",
        inputs.map(<[f32]>::len),
        outputs.each_ref().map(|x| x.len()),
    );
    let whole = len - len % I::LANES;
    let mut at = 0;
    while at < whole {
        let x = inputs.map(|x| isa.load(&x[at..at + I::LANES]));
        let y = outputs.each_ref().map(|y| isa.load(&y[at..at + I::LANES]));
        for (out, y) in outputs.iter_mut().zip(f.apply(isa, x, y)) {
            isa.store(y, &mut out[at..at + I::LANES]);
        }
        at += I::LANES;
    }
    if at < len {
        let x = inputs.map(|x| isa.load_partial(&x[at..], 0.0));
        let y = outputs.each_ref().map(|y| isa.load_partial(&y[at..], 0.0));
        for (out, y) in outputs.iter_mut().zip(f.apply(isa, x, y)) {
            isa.store_partial(y, &mut out[at..]);
        }
    }
}

/// Folds the slice into vectors by `f`, four of them side by side for the sake of latency, and these into one.
#[inline(always)]
fn fold<I: Isa>(
    isa: I,
    len: usize,
    start: f32,
    step: impl Fn(I::Vector, usize) -> I::Vector,
    last: impl Fn(I::Vector, usize) -> I::Vector,
    join: impl Fn(I::Vector, I::Vector) -> I::Vector,
) -> I::Vector {
    const SIDE_BY_SIDE: usize = 4;
    let mut sums = [isa.splat(start); SIDE_BY_SIDE];
    let mut at = 0;
    while at + SIDE_BY_SIDE * I::LANES <= len {
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = step(*sum, at + i * I::LANES);
        }
        at += SIDE_BY_SIDE * I::LANES;
    }
    while at + I::LANES <= len {
        sums[0] = step(sums[0], at);
        at += I::LANES;
    }
    if at < len {
        sums[1] = last(sums[1], at);
    }
    join(join(sums[0], sums[1]), join(sums[2], sums[3]))
}

/// `sum_i x[i]`
#[inline(always)]
pub fn sum<I: Isa>(isa: I, x: &[f32]) -> f32 {
    let step = |sum, at| isa.add(sum, isa.load(&x[at..]));
    let last = |sum, at| isa.add(sum, isa.load_partial(&x[at..], 0.0));
    isa.sum(fold(isa, x.len(), 0.0, step, last, |a, b| isa.add(a, b)))
}

/// `sum_i x[i] y[i]`
///
/// # Panics
/// If the slices differ in length.
#[inline(always)]
pub fn dot<I: Isa>(isa: I, x: &[f32], y: &[f32]) -> f32 {
    assert_eq!(x.len(), y.len(), "dot product of slices of different lengths");
    let step = |sum, at| isa.fma(isa.load(&x[at..]), isa.load(&y[at..]), sum);
    let last = |sum, at| isa.fma(isa.load_partial(&x[at..], 0.0), isa.load_partial(&y[at..], 0.0), sum);
    isa.sum(fold(isa, x.len(), 0.0, step, last, |a, b| isa.add(a, b)))
}

/// `max_i x[i]`, and -inf for an empty slice. NaN is unspecified.
#[inline(always)]
pub fn max<I: Isa>(isa: I, x: &[f32]) -> f32 {
    let step = |best, at| isa.max(best, isa.load(&x[at..]));
    let last = |best, at| isa.max(best, isa.load_partial(&x[at..], f32::NEG_INFINITY));
    isa.maximum(fold(isa, x.len(), f32::NEG_INFINITY, step, last, |a, b| isa.max(a, b)))
}

/// `y += a x`
#[inline(always)]
pub fn axpy<I: Isa>(isa: I, a: f32, x: &[f32], y: &mut [f32]) {
    elementwise(isa, [x], [y], &Axpy(a));
}

/// `y += a x`
pub(super) struct Axpy(pub f32);

impl Elementwise<1, 1> for Axpy {
    #[inline(always)]
    fn apply<I: Isa>(&self, isa: I, [x]: [I::Vector; 1], [y]: [I::Vector; 1]) -> [I::Vector; 1] {
        [isa.fma(isa.splat(self.0), x, y)]
    }
}

/// `y *= a`
pub(super) struct Scale(pub f32);

impl Elementwise<0, 1> for Scale {
    #[inline(always)]
    fn apply<I: Isa>(&self, isa: I, _: [I::Vector; 0], [y]: [I::Vector; 1]) -> [I::Vector; 1] {
        [isa.mul(isa.splat(self.0), y)]
    }
}

/// `ln sum_i e^x[i]`, and -inf for a slice that is empty or holds nothing but -inf.
#[inline(always)]
pub fn log_sum_exp<I: Isa>(isa: I, x: &[f32]) -> f32 {
    let top = max(isa, x);
    if top == f32::NEG_INFINITY {
        return f32::NEG_INFINITY;
    }
    let shift = isa.splat(top);
    let step = |sum, at| isa.add(sum, elementary::exp(isa, isa.sub(isa.load(&x[at..]), shift)));
    let last = |sum, at| isa.add(sum, elementary::exp(isa, isa.sub(isa.load_partial(&x[at..], f32::NEG_INFINITY), shift)));
    top + isa.sum(fold(isa, x.len(), 0.0, step, last, |a, b| isa.add(a, b))).ln()
}

/// `x[i] <- e^x[i] / sum_j e^x[j]`, the softmax; returns the log-sum-exp. A row that holds nothing but -inf becomes 0.
#[inline(always)]
pub fn softmax<I: Isa>(isa: I, x: &mut [f32]) -> f32 {
    let top = max(isa, x);
    if top == f32::NEG_INFINITY {
        x.fill(0.0);
        return f32::NEG_INFINITY;
    }
    let shift = isa.splat(top);
    let mut sums = isa.splat(0.0);
    for x in x.chunks_mut(I::LANES) {
        let e = elementary::exp(isa, isa.sub(isa.load_partial(x, f32::NEG_INFINITY), shift));
        sums = isa.add(sums, e);
        isa.store_partial(e, x);
    }
    let sum = isa.sum(sums);
    elementwise(isa, [], [x], &Scale(1.0 / sum));
    top + sum.ln()
}
