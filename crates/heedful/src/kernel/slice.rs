//! Functions of whole slices that dispatch once per call, for callers outside of an [`Op`].
//!
//! Many short slices in a row are better served by one `Op` around the loop over [`lanes`] functions.

use super::elementary;
use super::lanes::{self, Elementwise};
use crate::simd::{Isa, Op, Tier, active_tier, dispatch, dispatch_on};

struct ElementwiseOp<'a, const IN: usize, const OUT: usize, F> {
    inputs: [&'a [f32]; IN],
    outputs: [&'a mut [f32]; OUT],
    f: F,
}

impl<const IN: usize, const OUT: usize, F: Elementwise<IN, OUT>> Op for ElementwiseOp<'_, IN, OUT, F> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        lanes::elementwise(isa, self.inputs, self.outputs, &self.f);
    }
}

/// Applies `f` to each index of the slices; see [`Elementwise`].
///
/// # Panics
/// If the slices differ in length.
pub fn elementwise<const IN: usize, const OUT: usize>(inputs: [&[f32]; IN], outputs: [&mut [f32]; OUT], f: impl Elementwise<IN, OUT>) {
    elementwise_on(active_tier(), inputs, outputs, f);
}

/// [`elementwise`] with the instructions of a given tier.
///
/// # Panics
/// If the slices differ in length.
pub fn elementwise_on<const IN: usize, const OUT: usize>(
    tier: Tier,
    inputs: [&[f32]; IN],
    outputs: [&mut [f32]; OUT],
    f: impl Elementwise<IN, OUT>,
) {
    dispatch_on(tier, ElementwiseOp { inputs, outputs, f });
}

/// A function in place and from one slice into another.
macro_rules! unary {
    ($(#[$doc:meta])* $in_place:ident, $into:ident, $struct:ident) => {
        struct $struct;

        impl Elementwise<0, 1> for $struct {
            #[inline(always)]
            fn apply<I: Isa>(&self, isa: I, _: [I::Vector; 0], [x]: [I::Vector; 1]) -> [I::Vector; 1] {
                [elementary::$in_place(isa, x)]
            }
        }

        impl Elementwise<1, 1> for $struct {
            #[inline(always)]
            fn apply<I: Isa>(&self, isa: I, [x]: [I::Vector; 1], _: [I::Vector; 1]) -> [I::Vector; 1] {
                [elementary::$in_place(isa, x)]
            }
        }

        $(#[$doc])*
        pub fn $in_place(x: &mut [f32]) {
            elementwise([], [x], $struct);
        }

        $(#[$doc])*
        ///
        /// # Panics
        /// If the slices differ in length.
        pub fn $into(x: &[f32], out: &mut [f32]) {
            elementwise([x], [out], $struct);
        }
    };
}

unary!(
    /// `2^x` of each element.
    exp2, exp2_into, Exp2
);
unary!(
    /// `e^x` of each element.
    exp, exp_into, Exp
);
unary!(
    /// The hyperbolic tangent of each element.
    tanh, tanh_into, Tanh
);
unary!(
    /// The logistic sigmoid, `1 / (1 + e^-x)`, of each element.
    sigmoid, sigmoid_into, Sigmoid
);
unary!(
    /// The natural logarithm of each element.
    ln, ln_into, Ln
);

/// `y += a x`
///
/// # Panics
/// If the slices differ in length.
pub fn axpy(a: f32, x: &[f32], y: &mut [f32]) {
    elementwise([x], [y], lanes::Axpy(a));
}

/// `x *= a`
pub fn scale(a: f32, x: &mut [f32]) {
    elementwise([], [x], lanes::Scale(a));
}

/// A function of [`lanes`] that returns a number, dispatched.
macro_rules! reduction {
    ($(#[$doc:meta])* $name:ident, $op:ident, $($operand:ident: $type:ty),+) => {
        struct $op<'a>($($type),+);

        impl Op for $op<'_> {
            type Output = f32;
            #[inline(always)]
            fn run<I: Isa>(self, isa: I) -> f32 {
                let Self($($operand),+) = self;
                lanes::$name(isa, $($operand),+)
            }
        }

        $(#[$doc])*
        pub fn $name<'a>($($operand: $type),+) -> f32 {
            dispatch($op($($operand),+))
        }
    };
}

reduction!(
    /// `sum_i x[i]`
    sum, Sum, x: &'a [f32]
);
reduction!(
    /// `max_i x[i]`, and -inf for an empty slice. NaN is unspecified.
    max, Max, x: &'a [f32]
);
reduction!(
    /// `sum_i x[i] y[i]`
    ///
    /// # Panics
    /// If the slices differ in length.
    dot, Dot, x: &'a [f32], y: &'a [f32]
);
reduction!(
    /// `ln sum_i e^x[i]`, and -inf for a slice that is empty or holds nothing but -inf.
    log_sum_exp, LogSumExp, x: &'a [f32]
);
reduction!(
    /// `x[i] <- e^x[i] / sum_j e^x[j]`, the softmax; returns the log-sum-exp. A row that holds nothing but -inf becomes 0.
    softmax, Softmax, x: &'a mut [f32]
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::available_tiers;

    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 37 + seed * 11) % 101) as f32 / 10.0 - 5.0).collect()
    }

    fn close(a: f32, b: f64) -> bool {
        (f64::from(a) - b).abs() <= 1e-5 * (1.0 + b.abs())
    }

    #[test]
    fn reductions_at_every_length() {
        for tier in available_tiers() {
            for n in 0..150 {
                let (x, y) = (numbers(n, 1), numbers(n, 2));
                let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
                let (wx, wy) = (wide(&x), wide(&y));
                assert!(close(dispatch_on(tier, Sum(&x)), wx.iter().sum()), "{tier} sum of {n}");
                assert!(close(dispatch_on(tier, Dot(&x, &y)), wx.iter().zip(&wy).map(|(x, y)| x * y).sum()), "{tier} dot of {n}");
                assert_eq!(dispatch_on(tier, Max(&x)), x.iter().copied().fold(f32::NEG_INFINITY, f32::max), "{tier} max of {n}");

                let total: f64 = wx.iter().map(|x| x.exp()).sum();
                let lse = dispatch_on(tier, LogSumExp(&x));
                assert!(if n == 0 { lse == f32::NEG_INFINITY } else { close(lse, total.ln()) }, "{tier} log-sum-exp of {n}: {lse}");
                let mut weights = x.clone();
                let lse = dispatch_on(tier, Softmax(&mut weights));
                assert!(if n == 0 { lse == f32::NEG_INFINITY } else { close(lse, total.ln()) }, "{tier} softmax of {n}: {lse}");
                assert!(weights.iter().zip(&wx).all(|(&p, x)| close(p, x.exp() / total)), "{tier} softmax of {n}");
            }
        }
    }

    #[test]
    fn softmax_of_nothing_but_minus_infinity_is_zero() {
        for tier in available_tiers() {
            let mut x = [f32::NEG_INFINITY; 19];
            assert_eq!(dispatch_on(tier, Softmax(&mut x)), f32::NEG_INFINITY);
            assert_eq!(x, [0.0; 19]);
        }
    }

    #[test]
    fn in_place_equals_out_of_place_at_every_length() {
        for n in 0..40 {
            let x = numbers(n, 3);
            let (mut a, mut b) = (x.clone(), vec![9.0; n]);
            tanh(&mut a);
            tanh_into(&x, &mut b);
            assert_eq!(a, b);
            let mut y = numbers(n, 4);
            let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| 2.0 * x + y).collect();
            axpy(2.0, &x, &mut y);
            assert!(y.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5));
            scale(0.5, &mut y);
            assert!(y.iter().zip(&expected).all(|(a, b)| (a - b / 2.0).abs() < 1e-5));
        }
    }

    #[test]
    #[should_panic(expected = "different lengths: inputs [3], outputs [4]")]
    fn different_lengths_are_refused() {
        axpy(1.0, &[0.0; 3], &mut [0.0; 4]);
    }
}
