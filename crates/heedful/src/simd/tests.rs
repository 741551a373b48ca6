//! Each operation of every tier against the same operation on single numbers.

use super::{Isa, Op, Tier, available_tiers, dispatch_on};
use half::{bf16, f16};

/// Two cycles of numbers of both signs and of many sizes.
fn numbers() -> Vec<f32> {
    let mut state = 1_u32;
    let mut number = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / 8_388_608.0 - 1.0) * 2_f32.powi((state >> 3) as i32 % 12 - 4)
    };
    (0..48)
        .map(|_| number())
        .chain([0.0, -0.0, 0.5, -0.5, 1.5, 2.5, f32::MIN_POSITIVE, 1e30, -1e30, f32::INFINITY, f32::NEG_INFINITY])
        .collect()
}

struct Binary<'a, F> {
    a: &'a [f32],
    b: &'a [f32],
    f: F,
}

trait BinaryOf {
    fn apply<I: Isa>(&self, isa: I, a: I::Vector, b: I::Vector) -> I::Vector;
}

impl<F: BinaryOf> Op for Binary<'_, F> {
    type Output = Vec<f32>;
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Vec<f32> {
        let mut out = vec![7.0; self.a.len()];
        for ((a, b), out) in self.a.chunks(I::LANES).zip(self.b.chunks(I::LANES)).zip(out.chunks_mut(I::LANES)) {
            let r = self.f.apply(isa, isa.load_partial(a, 3.0), isa.load_partial(b, 4.0));
            isa.store_partial(r, out);
        }
        out
    }
}

macro_rules! matches_scalar {
    ($test:ident, |$isa:ident, $a:ident, $b:ident| $vector:expr, |$x:ident, $y:ident| $scalar:expr) => {
        #[test]
        fn $test() {
            struct This;
            impl BinaryOf for This {
                #[inline(always)]
                fn apply<I: Isa>(&self, $isa: I, $a: I::Vector, $b: I::Vector) -> I::Vector {
                    $vector
                }
            }
            let a = numbers();
            let b: Vec<f32> = a.iter().rev().copied().collect();
            for tier in available_tiers() {
                let out = dispatch_on(tier, Binary { a: &a, b: &b, f: This });
                for (i, (&$x, &$y)) in a.iter().zip(&b).enumerate() {
                    let expected: f32 = $scalar;
                    let same = out[i].to_bits() == expected.to_bits() || (out[i].is_nan() && expected.is_nan());
                    assert!(same, "{tier}: of {} and {}: {} instead of {expected}", $x, $y, out[i]);
                }
            }
        }
    };
}

matches_scalar!(add, |isa, a, b| isa.add(a, b), |x, y| x + y);
matches_scalar!(sub, |isa, a, b| isa.sub(a, b), |x, y| x - y);
matches_scalar!(mul, |isa, a, b| isa.mul(a, b), |x, y| x * y);
matches_scalar!(div, |isa, a, b| isa.div(a, b), |x, y| x / y);
matches_scalar!(abs, |isa, a, _b| isa.abs(a), |x, _y| x.abs());
matches_scalar!(copy_sign, |isa, a, b| isa.copy_sign(a, b), |x, y| x.copysign(y));
matches_scalar!(sqrt, |isa, a, _b| isa.sqrt(isa.abs(a)), |x, _y| x.abs().sqrt());
// Tiers differ in the sign of a zero; adding +0.0 makes it positive.
matches_scalar!(round, |isa, a, _b| isa.add(isa.round(isa.min(isa.max(a, isa.splat(-99.0)), isa.splat(99.0))), isa.splat(0.0)), |x, _y| x
    .clamp(-99.0, 99.0)
    .round_ties_even()
    + 0.0);
matches_scalar!(max_prefers_b, |isa, a, b| isa.max(isa.sub(a, a), b), |x, y| if (x - x) > y { 0.0 } else { y });
matches_scalar!(min_prefers_b, |isa, a, b| isa.min(isa.sub(a, a), b), |x, y| if (x - x) < y { 0.0 } else { y });
matches_scalar!(lt_selects, |isa, a, b| isa.select(isa.lt(a, b), a, isa.splat(9.0)), |x, y| if x < y { x } else { 9.0 });
matches_scalar!(le_or_eq_selects, |isa, a, b| isa.select(isa.or(isa.le(a, b), isa.eq(a, b)), a, isa.splat(9.0)), |x, y| {
    if x <= y { x } else { 9.0 }
});
matches_scalar!(not_and_selects, |isa, a, b| isa.select(isa.and(isa.not(isa.lt(a, b)), isa.lt(b, a)), a, b), |x, y| {
    if x > y { x } else { y }
});
matches_scalar!(
    scale_by_power_of_two,
    |isa, a, b| isa.scale_by_power_of_two(a, isa.round(isa.min(isa.max(b, isa.splat(-150.0)), isa.splat(120.0)))),
    |x, y| (f64::from(x) * 2_f64.powi(y.clamp(-150.0, 120.0).round_ties_even() as i32)) as f32
);
matches_scalar!(
    split_exponent,
    |isa, a, _b| {
        let (m, e) = isa.split_exponent(isa.min(isa.add(isa.abs(a), isa.splat(f32::MIN_POSITIVE)), isa.splat(1e30)));
        isa.select(isa.and(isa.le(isa.splat(1.0), m), isa.lt(m, isa.splat(2.0))), isa.scale_by_power_of_two(m, e), isa.splat(f32::NAN))
    },
    |x, _y| (x.abs() + f32::MIN_POSITIVE).min(1e30)
);

struct Whole;

impl Op for Whole {
    type Output = ();
    fn run<I: Isa>(self, isa: I) {
        let n = I::LANES;
        let x: Vec<f32> = (0..n).map(|i| ((i * 7) % n) as f32 - 3.0).collect();
        let v = isa.load(&x);
        assert_eq!(isa.sum(v), x.iter().sum::<f32>());
        assert_eq!(isa.maximum(v), n as f32 - 4.0);
        let mut out = vec![9.0; n + 1];
        isa.store(isa.lane_indices(), &mut out);
        assert!(out[..n].iter().enumerate().all(|(i, &x)| x == i as f32) && out[n] == 9.0);

        for len in 0..=n + 1 {
            let mut out = vec![9.0; n + 1];
            isa.store_partial(isa.select(isa.first(len), isa.splat(1.0), isa.splat(2.0)), &mut out[..n]);
            assert_eq!(out[..n].iter().filter(|&&x| x == 1.0).count(), len.min(n));
            isa.store_partial(isa.splat(5.0), &mut out[..len]);
            assert_eq!(out.iter().filter(|&&x| x == 5.0).count(), len.min(n));
            assert_eq!(isa.any(isa.first(len)), len > 0);
            let partial = isa.load_partial(&x[..len.min(n)], -5.0);
            assert_eq!(isa.sum(partial), x[..len.min(n)].iter().sum::<f32>() - 5.0 * (n - len.min(n)) as f32);
        }
    }
}

#[test]
fn whole_vectors() {
    for tier in available_tiers() {
        dispatch_on(tier, Whole);
    }
}

struct Halves;

impl Op for Halves {
    type Output = ();
    fn run<I: Isa>(self, isa: I) {
        let bits: Vec<u16> = (0..=u16::MAX).collect();
        let mut wide = [0.0; 16];
        for bits in bits.chunks_exact(I::LANES) {
            let from: Vec<f16> = bits.iter().map(|&b| f16::from_bits(b)).collect();
            isa.store(isa.load_f16(&from), &mut wide);
            assert!(from.iter().zip(&wide).all(|(h, &w)| h.to_f32() == w || (h.is_nan() && w.is_nan())));
            let from: Vec<bf16> = bits.iter().map(|&b| bf16::from_bits(b)).collect();
            isa.store(isa.load_bf16(&from), &mut wide);
            assert!(from.iter().zip(&wide).all(|(h, &w)| h.to_f32() == w || (h.is_nan() && w.is_nan())));
        }
        // Every pattern of the upper bits with the ties and their neighbours below them.
        for upper in (0..=u16::MAX).step_by(7) {
            let from: Vec<f32> = (0..I::LANES as u32)
                .map(|i| f32::from_bits(u32::from(upper) << 16 | [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x1000, 0xf000][i as usize % 8]))
                .collect();
            let v = isa.load(&from);
            let mut narrow = [bf16::ZERO; 16];
            isa.store_bf16(v, &mut narrow);
            assert!(from.iter().zip(&narrow).all(|(&w, n)| bf16::from_f32(w) == *n || (w.is_nan() && n.is_nan())));
            let mut narrow = [f16::ZERO; 16];
            isa.store_f16(v, &mut narrow);
            assert!(from.iter().zip(&narrow).all(|(&w, n)| f16::from_f32(w) == *n || (w.is_nan() && n.is_nan())));
        }
    }
}

#[test]
fn halves_widen_exactly_and_round_to_nearest_even() {
    for tier in available_tiers() {
        dispatch_on(tier, Halves);
    }
}

#[test]
fn tiers_have_names() {
    for tier in Tier::ALL {
        assert_eq!(tier.name().parse(), Ok(tier));
    }
    assert_eq!(" AVX2 ".parse(), Ok(Tier::Avx2));
    assert!("sse9".parse::<Tier>().unwrap_err().to_string().contains("scalar, avx2, avx512 or amx"));
}

#[test]
fn the_scalar_tier_is_always_there() {
    assert_eq!(available_tiers().next(), Some(Tier::Scalar));
}
