//! Elementary functions of a vector of f32.
//!
//! The errors stated are the largest seen on any tier in the sweeps of this file's tests, against f64, rounded up; a unit in
//! the last place (ULP) is that of the exact result, and not smaller than the smallest denormal number.

use crate::simd::Isa;

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts: the first has few enough bits that its product with any exponent is exact.
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// `(2^f - 1) / f` on `[-1/2, 1/2]`, from the constant term upwards; near-minimax.
const EXP2_MINUS_1: [f32; 6] = [std::f32::consts::LN_2, 0.240_226_5, 0.055_503_57, 0.009_618_083, 0.001_339_086_3, 0.000_154_531_63];
/// `(e^r - 1 - r) / r^2` on `[-ln 2 / 2, ln 2 / 2]`.
const EXP_REMAINDER: [f32; 5] = [0.5, 0.166_665_78, 0.041_666_556, 0.008_363_173, 0.001_392_617_6];
/// `(ln(1 + f) - f + f^2 / 2) / f^3` on `[sqrt(1/2) - 1, sqrt(2) - 1]`.
const LN_REMAINDER: [f32; 9] =
    [0.333_333_3, -0.249_999_97, 0.200_007_16, -0.166_678_03, 0.142_490_58, -0.124_256_87, 0.116_854_2, -0.114_797_34, 0.069_716_12];

/// `c[0] + c[1] x + c[2] x^2 + ...` by Horner's rule.
#[inline(always)]
fn polynomial<I: Isa, const N: usize>(isa: I, coefficients: [f32; N], x: I::Vector) -> I::Vector {
    let mut sum = isa.splat(coefficients[N - 1]);
    for &c in coefficients[..N - 1].iter().rev() {
        sum = isa.fma(sum, x, isa.splat(c));
    }
    sum
}

/// `2^x`, within 1.2 ULP, denormal results included; 0 at -inf, inf from 128 on.
///
/// `x = n + f` with an integer `n` and `|f| <= 1/2`; `2^f` is a polynomial of degree 6.
#[inline(always)]
pub fn exp2<I: Isa>(isa: I, x: I::Vector) -> I::Vector {
    // Beyond these bounds the result is 0 or infinite. NaN passes through `min` and `max` as their second operand.
    let x = isa.max(isa.splat(-160.0), isa.min(isa.splat(130.0), x));
    let n = isa.round(x);
    let f = isa.sub(x, n);
    let power = isa.fma(polynomial(isa, EXP2_MINUS_1, f), f, isa.splat(1.0));
    isa.scale_by_power_of_two(zero_below(isa, x, -150.0, power), n)
}

/// `power`, but 0 where `x` is so low that scaling it would give 0: what a mask hides. Intel's processors take some hundred cycles for a
/// vector of which a lane underflows, and none for one of which a lane is 0 already.
#[inline(always)]
fn zero_below<I: Isa>(isa: I, x: I::Vector, lowest: f32, power: I::Vector) -> I::Vector {
    isa.select(isa.lt(x, isa.splat(lowest)), isa.splat(0.0), power)
}

/// `x = n ln 2 + r` with an integer `n` and `|r| <= ln 2 / 2`: `(n, e^r - 1)`.
#[inline(always)]
fn reduced_exp_minus_1<I: Isa>(isa: I, x: I::Vector) -> (I::Vector, I::Vector) {
    let n = isa.round(isa.mul(x, isa.splat(LOG2_E)));
    let r = isa.neg_fma(n, isa.splat(LN_2_HIGH), x);
    let r = isa.neg_fma(n, isa.splat(LN_2_LOW), r);
    (n, isa.fma(polynomial(isa, EXP_REMAINDER, r), isa.mul(r, r), r))
}

/// `e^x`, within 1.2 ULP, denormal results included; 0 at -inf, inf above ln(f32::MAX).
///
/// `x = n ln 2 + r` with `ln 2` in two parts (Cody & Waite 1980); `e^r` is a polynomial of degree 6.
#[inline(always)]
pub fn exp<I: Isa>(isa: I, x: I::Vector) -> I::Vector {
    let x = isa.max(isa.splat(-110.0), isa.min(isa.splat(90.0), x));
    let (n, power_minus_1) = reduced_exp_minus_1(isa, x);
    isa.scale_by_power_of_two(zero_below(isa, x, -104.0, isa.add(power_minus_1, isa.splat(1.0))), n)
}

/// `e^x` for `x <= 0`, or NaN, within 1.2 ULP, denormal results included; 0 at -inf, unspecified for larger `x`. What a softmax needs, in fewer steps
/// than [`exp`].
#[inline(always)]
pub fn exp_of_nonpositive<I: Isa>(isa: I, x: I::Vector) -> I::Vector {
    // To a number of this size, whatever is added is rounded to an integer.
    let rounding = isa.splat(1.5 * 2_f32.powi(23));
    let n = isa.sub(isa.fma(x, isa.splat(LOG2_E), rounding), rounding);
    let r = isa.neg_fma(n, isa.splat(LN_2_HIGH), x);
    let r = isa.neg_fma(n, isa.splat(LN_2_LOW), r);
    let [c2, c3, c4, c5, c6] = EXP_REMAINDER;
    let power = polynomial(isa, [1.0, 1.0, c2, c3, c4, c5, c6], r);
    // This makes 0 of -inf too, whose r is NaN.
    isa.scale_by_power_of_two(zero_below(isa, x, -104.0, power), n)
}

/// `tanh x`, within 3 ULP.
///
/// `tanh |x| = t / (t + 2)` with `t = e^{2|x|} - 1`, where the subtraction is done before the scaling by `2^n`, so that small `x`
/// lose nothing.
#[inline(always)]
pub fn tanh<I: Isa>(isa: I, x: I::Vector) -> I::Vector {
    // From 9.02 on, tanh rounds to 1.
    let twice = isa.min(isa.splat(19.0), isa.abs(isa.add(x, x)));
    let (n, power_minus_1) = reduced_exp_minus_1(isa, twice);
    let scale = isa.scale_by_power_of_two(isa.splat(1.0), n);
    let t = isa.fma(power_minus_1, scale, isa.sub(scale, isa.splat(1.0)));
    isa.copy_sign(isa.div(t, isa.add(t, isa.splat(2.0))), x)
}

/// `1 / (1 + e^-x)`, the logistic sigmoid, within 3 ULP, denormal results included.
#[inline(always)]
pub fn sigmoid<I: Isa>(isa: I, x: I::Vector) -> I::Vector {
    // e^-|x| cannot overflow: sigmoid(x) = e^x / (1 + e^x) for negative x.
    let one = isa.splat(1.0);
    let e = exp(isa, isa.sub(isa.splat(0.0), isa.abs(x)));
    let numerator = isa.select(isa.lt(x, isa.splat(0.0)), e, one);
    isa.div(numerator, isa.add(one, e))
}

/// `ln x`, within 1.2 ULP, denormal `x` included; -inf at 0, NaN below.
///
/// `x = 2^e (1 + f)` with `sqrt(1/2) <= 1 + f < sqrt(2)`; `ln(1 + f)` is a polynomial of degree 11.
#[inline(always)]
pub fn ln<I: Isa>(isa: I, x: I::Vector) -> I::Vector {
    let zero = isa.splat(0.0);
    let one = isa.splat(1.0);
    let is_denormal = isa.lt(x, isa.splat(f32::MIN_POSITIVE));
    let normal = isa.select(is_denormal, isa.mul(x, isa.splat(2_f32.powi(24))), x);
    let (m, e) = isa.split_exponent(normal);
    let e = isa.sub(e, isa.select(is_denormal, isa.splat(24.0), zero));
    let is_upper = isa.lt(isa.splat(std::f32::consts::SQRT_2), m);
    let e = isa.select(is_upper, isa.add(e, one), e);
    let f = isa.sub(isa.select(is_upper, isa.mul(m, isa.splat(0.5)), m), one);

    let square = isa.mul(f, f);
    let tail = isa.mul(isa.mul(f, square), polynomial(isa, LN_REMAINDER, f));
    let tail = isa.fma(e, isa.splat(LN_2_LOW), tail);
    let tail = isa.neg_fma(isa.splat(0.5), square, tail);
    let ln = isa.fma(e, isa.splat(LN_2_HIGH), isa.add(f, tail));

    let ln = isa.select(isa.lt(x, isa.splat(f32::INFINITY)), ln, isa.add(x, x));
    let ln = isa.select(isa.lt(x, zero), isa.splat(f32::NAN), ln);
    isa.select(isa.eq(x, zero), isa.splat(f32::NEG_INFINITY), ln)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::lanes::Elementwise;
    use crate::kernel::slice::elementwise_on;
    use crate::simd::available_tiers;

    macro_rules! vector_function {
        ($name:ident) => {
            #[derive(Clone, Copy)]
            struct This;
            impl Elementwise<1, 1> for This {
                #[inline(always)]
                fn apply<I: Isa>(&self, isa: I, [x]: [I::Vector; 1], _: [I::Vector; 1]) -> [I::Vector; 1] {
                    [$name(isa, x)]
                }
            }
        };
    }

    fn nonpositive<I: Isa>(isa: I, x: I::Vector) -> I::Vector {
        exp_of_nonpositive(isa, isa.min(isa.splat(0.0), x))
    }

    /// The distance in units in the last place of the exact result.
    fn ulps(got: f32, exact: f64) -> f64 {
        if got.is_nan() && exact.is_nan() || f64::from(got) == exact || got == exact as f32 {
            return 0.0;
        }
        let exponent = exact.abs().log2().floor().max(-126.0);
        (f64::from(got) - exact).abs() / (exponent - 23.0).exp2()
    }

    /// Every 9973rd f32 (a prime, so that all mantissas take their turn), the special ones, and a dense sweep from -30 to 30.
    fn inputs() -> Vec<f32> {
        let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, -1e-45];
        let dense = (0..300_001).map(|i| (i - 150_000) as f32 * 2e-4);
        (0..=u32::MAX).step_by(9973).map(f32::from_bits).chain(special).chain(dense).collect()
    }

    macro_rules! within {
        ($test:ident, $name:ident, $bound:expr, $exact:expr) => {
            #[test]
            fn $test() {
                vector_function!($name);
                let inputs = inputs();
                for tier in available_tiers() {
                    let mut out = vec![0.0; inputs.len()];
                    elementwise_on(tier, [&inputs], [&mut out], This);
                    let exact: fn(f64) -> f64 = $exact;
                    let worst = inputs.iter().zip(&out).map(|(&x, &y)| (ulps(y, exact(f64::from(x))), x, y));
                    let (error, x, y) = worst.fold((0.0, 0.0, 0.0), |a, b| if b.0 <= a.0 { a } else { b });
                    println!("{tier}: {error:.3} ULP at {x:e}");
                    assert!(error <= $bound, "{tier}: {} of {x:e} is {y:e}: {error} ULP off", stringify!($name));
                }
            }
        };
    }

    within!(exp2_within_1_2_ulp, exp2, 1.2, f64::exp2);
    within!(exp_within_1_2_ulp, exp, 1.2, f64::exp);
    within!(exp_of_nonpositive_within_1_2_ulp, nonpositive, 1.2, |x| if x.is_nan() { x } else { x.min(0.0).exp() });
    within!(tanh_within_3_ulp, tanh, 3.0, f64::tanh);
    within!(sigmoid_within_3_ulp, sigmoid, 3.0, |x| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) });
    within!(ln_within_1_2_ulp, ln, 1.2, f64::ln);
}
