//! Dropout: `y_i = x_i * keep_i / (1 - rate)` with `P(keep_i = 1) = 1 - rate` (Srivastava et al. 2014, "inverted" form).
//!
//! Which positions are kept is a pure function of a key and the position. So the backward pass applies the very same operation to the
//! gradient, no mask is stored, and a resumed run drops what the uninterrupted run would have dropped.

use heedful::simd::{Isa, Op, dispatch};

/// A dropout rate together with the key of the place where it is applied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    rate: f32,
    key: u64,
}

impl Dropout {
    /// Keeps everything: for evaluation.
    pub const OFF: Self = Self { rate: 0.0, key: 0 };

    /// Drops with probability `rate` in `[0, 1)`; `randomness` names the run, the update and the worker.
    pub fn new(rate: f32, randomness: u64) -> Self {
        Self { rate, key: mix(randomness) }
    }

    /// The same rate at another place of the model: sites with different numbers drop independently.
    #[must_use]
    pub fn at(self, site: u64) -> Self {
        Self { rate: self.rate, key: mix(self.key ^ mix(site)) }
    }

    /// The same place with another rate.
    #[must_use]
    pub fn with_rate(self, rate: f32) -> Self {
        Self { rate, ..self }
    }

    /// Applies itself to activations in the forward pass and to their gradient in the backward pass.
    pub fn apply(self, x: &mut [f32]) {
        if self.rate > 0.0 {
            dispatch(Apply { dropout: self, x });
        }
    }

    /// The factor at position `i`: `0` or `1 / (1 - rate)`.
    #[inline(always)]
    fn factor(self, i: usize) -> f32 {
        let threshold = (f64::from(self.rate) * 4_294_967_296.0) as u32;
        // An odd key multiplier per site would cost distribution at small keys; adding one key half and xoring the other does not.
        let mut h = (i as u32).wrapping_mul(0x9E37_79B9).wrapping_add(self.key as u32);
        h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B) ^ (self.key >> 32) as u32;
        h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
        h ^= h >> 16;
        if h < threshold { 0.0 } else { 1.0 / (1.0 - self.rate) }
    }
}

struct Apply<'a> {
    dropout: Dropout,
    x: &'a mut [f32],
}

impl Op for Apply<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, _: I) {
        for (i, x) in self.x.iter_mut().enumerate() {
            *x *= self.dropout.factor(i);
        }
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every input bit changes every output bit with probability near 1/2.
pub fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(dropout: Dropout, n: usize) -> Vec<bool> {
        let mut x = vec![1.0; n];
        dropout.apply(&mut x);
        x.iter().map(|&x| x != 0.0).collect()
    }

    #[test]
    fn the_share_dropped_is_the_rate_and_the_mean_stays() {
        for rate in [0.1, 0.3, 0.5] {
            let mut x = vec![1.0; 200_000];
            Dropout::new(rate, 42).at(3).apply(&mut x);
            let dropped = x.iter().filter(|&&x| x == 0.0).count() as f32 / 200_000.0;
            let mean = x.iter().sum::<f32>() / 200_000.0;
            assert!((dropped - rate).abs() < 0.005, "rate {rate}: dropped {dropped}");
            assert!((mean - 1.0).abs() < 0.01, "rate {rate}: mean {mean}");
        }
    }

    #[test]
    fn the_same_key_repeats_and_other_sites_and_steps_differ_independently() {
        let dropout = Dropout::new(0.5, 7);
        let a = kept(dropout.at(1), 100_000);
        assert_eq!(a, kept(dropout.at(1), 100_000));
        for other in [dropout.at(2), Dropout::new(0.5, 8).at(1), dropout.at(1).at(1)] {
            let agree = a.iter().zip(kept(other, 100_000)).filter(|(a, b)| **a == *b).count();
            assert!((49_000..51_000).contains(&agree), "two sites agree at {agree} of 100000 places");
        }
    }

    #[test]
    fn off_changes_nothing() {
        assert!(kept(Dropout::OFF.at(5), 1000).iter().all(|&kept| kept));
    }
}
