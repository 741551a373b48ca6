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
    let mut at = 0;
    while at < len {
        let end = (at + I::LANES).min(len);
        let (mut x, mut y) = ([isa.splat(0.0); IN], [isa.splat(0.0); OUT]);
        if end - at == I::LANES {
            for (x, input) in x.iter_mut().zip(&inputs) {
                *x = isa.load(&input[at..end]);
            }
            for (y, output) in y.iter_mut().zip(&outputs) {
                *y = isa.load(&output[at..end]);
            }
            for (output, y) in outputs.iter_mut().zip(f.apply(isa, x, y)) {
                isa.store(y, &mut output[at..end]);
            }
        } else {
            for (x, input) in x.iter_mut().zip(&inputs) {
                *x = isa.load_partial(&input[at..end], 0.0);
            }
            for (y, output) in y.iter_mut().zip(&outputs) {
                *y = isa.load_partial(&output[at..end], 0.0);
            }
            for (output, y) in outputs.iter_mut().zip(f.apply(isa, x, y)) {
                isa.store_partial(y, &mut output[at..end]);
            }
        }
        at = end;
    }
}

/// A fold of slices into one vector of partial results. A trait rather than closures, since only what is `#[inline(always)]` is sure to be
/// compiled with the tier's instructions.
trait Fold<const IN: usize> {
    /// The partial result of no elements.
    const START: f32;
    /// What stands for elements past the end.
    const FILL: f32;
    /// Takes in some elements.
    fn step<I: Isa>(&self, isa: I, partial: I::Vector, x: [I::Vector; IN]) -> I::Vector;
    /// Joins two partial results.
    fn join<I: Isa>(isa: I, a: I::Vector, b: I::Vector) -> I::Vector;
}

#[inline(always)]
fn fold<I: Isa, const IN: usize, F: Fold<IN>>(isa: I, x: [&[f32]; IN], f: &F) -> I::Vector {
    /// Partial results side by side, for the sake of latency.
    const SIDE_BY_SIDE: usize = 4;
    let len = x.first().map_or(0, |x| x.len());
    assert!(x.iter().all(|x| x.len() == len), "a reduction of slices of different lengths: {:?}", x.map(<[f32]>::len));
    let mut partial = [isa.splat(F::START); SIDE_BY_SIDE];
    let mut at = 0;
    while at + SIDE_BY_SIDE * I::LANES <= len {
        for i in 0..SIDE_BY_SIDE {
            let mut elements = [isa.splat(0.0); IN];
            for (element, x) in elements.iter_mut().zip(&x) {
                *element = isa.load(&x[at + i * I::LANES..]);
            }
            partial[i] = f.step(isa, partial[i], elements);
        }
        at += SIDE_BY_SIDE * I::LANES;
    }
    while at < len {
        let end = (at + I::LANES).min(len);
        let mut elements = [isa.splat(0.0); IN];
        for (element, x) in elements.iter_mut().zip(&x) {
            *element = isa.load_partial(&x[at..end], F::FILL);
        }
        partial[0] = f.step(isa, partial[0], elements);
        at = end;
    }
    F::join(isa, F::join(isa, partial[0], partial[1]), F::join(isa, partial[2], partial[3]))
}

struct Sum;

impl Fold<1> for Sum {
    const START: f32 = 0.0;
    const FILL: f32 = 0.0;
    #[inline(always)]
    fn step<I: Isa>(&self, isa: I, sum: I::Vector, [x]: [I::Vector; 1]) -> I::Vector {
        isa.add(sum, x)
    }
    #[inline(always)]
    fn join<I: Isa>(isa: I, a: I::Vector, b: I::Vector) -> I::Vector {
        isa.add(a, b)
    }
}

/// `sum_i x[i]`
#[inline(always)]
pub fn sum<I: Isa>(isa: I, x: &[f32]) -> f32 {
    isa.sum(fold(isa, [x], &Sum))
}

struct Dot;

impl Fold<2> for Dot {
    const START: f32 = 0.0;
    const FILL: f32 = 0.0;
    #[inline(always)]
    fn step<I: Isa>(&self, isa: I, sum: I::Vector, [x, y]: [I::Vector; 2]) -> I::Vector {
        isa.fma(x, y, sum)
    }
    #[inline(always)]
    fn join<I: Isa>(isa: I, a: I::Vector, b: I::Vector) -> I::Vector {
        isa.add(a, b)
    }
}

/// `sum_i x[i] y[i]`
///
/// # Panics
/// If the slices differ in length.
#[inline(always)]
pub fn dot<I: Isa>(isa: I, x: &[f32], y: &[f32]) -> f32 {
    isa.sum(fold(isa, [x, y], &Dot))
}

struct Max;

impl Fold<1> for Max {
    const START: f32 = f32::NEG_INFINITY;
    const FILL: f32 = f32::NEG_INFINITY;
    #[inline(always)]
    fn step<I: Isa>(&self, isa: I, max: I::Vector, [x]: [I::Vector; 1]) -> I::Vector {
        isa.max(max, x)
    }
    #[inline(always)]
    fn join<I: Isa>(isa: I, a: I::Vector, b: I::Vector) -> I::Vector {
        isa.max(a, b)
    }
}

/// `max_i x[i]`, and -inf for an empty slice. NaN is unspecified.
#[inline(always)]
pub fn max<I: Isa>(isa: I, x: &[f32]) -> f32 {
    isa.maximum(fold(isa, [x], &Max))
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

/// `y = a x`
pub(super) struct ScaleInto(pub f32);

impl Elementwise<1, 1> for ScaleInto {
    #[inline(always)]
    fn apply<I: Isa>(&self, isa: I, [x]: [I::Vector; 1], _: [I::Vector; 1]) -> [I::Vector; 1] {
        [isa.mul(isa.splat(self.0), x)]
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

/// Of `e^(x - shift)`.
struct SumExp {
    shift: f32,
}

impl Fold<1> for SumExp {
    const START: f32 = 0.0;
    const FILL: f32 = f32::NEG_INFINITY;
    #[inline(always)]
    fn step<I: Isa>(&self, isa: I, sum: I::Vector, [x]: [I::Vector; 1]) -> I::Vector {
        isa.add(sum, elementary::exp(isa, isa.sub(x, isa.splat(self.shift))))
    }
    #[inline(always)]
    fn join<I: Isa>(isa: I, a: I::Vector, b: I::Vector) -> I::Vector {
        isa.add(a, b)
    }
}

/// The log-sum-exp of numbers whose largest one seems to be -inf: of NaN, the largest says nothing.
#[cold]
fn log_sum_exp_of_none(x: &[f32]) -> f32 {
    if x.iter().any(|x| x.is_nan()) { f32::NAN } else { f32::NEG_INFINITY }
}

/// `ln sum_i e^x[i]`, -inf for a slice that is empty or holds nothing but -inf, and NaN for one that holds NaN.
#[inline(always)]
pub fn log_sum_exp<I: Isa>(isa: I, x: &[f32]) -> f32 {
    let shift = max(isa, x);
    if shift == f32::NEG_INFINITY {
        return log_sum_exp_of_none(x);
    }
    shift + isa.sum(fold(isa, [x], &SumExp { shift })).ln()
}

/// `x[i] <- e^x[i] / sum_j e^x[j]`, the softmax; returns the log-sum-exp. A row that holds nothing but -inf becomes 0, one that holds NaN
/// becomes NaN.
#[inline(always)]
pub fn softmax<I: Isa>(isa: I, x: &mut [f32]) -> f32 {
    let top = max(isa, x);
    if top == f32::NEG_INFINITY {
        let lse = log_sum_exp_of_none(x);
        x.fill(if lse.is_nan() { f32::NAN } else { 0.0 });
        return lse;
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
