//! Causal attention: a token looks at itself and at the tokens before it, never ahead. What a model that writes word after word needs.
//!
//! `context_i = sum_{j <= i} softmax_j(q_i . k_j / sqrt(d)) v_j`. The scores ahead are `-inf` before the softmax, so that each row of
//! weights still sums to 1. In training, dropout sets weights to 0 at random and scales up the others, so that no token comes to depend
//! on one other alone (Srivastava et al. 2014).

use super::self_attention::SelfAttention;
use super::{Projection, Steps, expect_len, plain};
use crate::{Diagonal, Error, Options, Result};

/// One head that looks back only.
///
/// ```
/// use heedful::mechanism::Projection;
/// use heedful::mechanism::causal::{CausalAttention, Dropout};
/// let identity = || Projection::linear(vec![1.0, 0.0, 0.0, 1.0], None, 2, 2);
/// let attention = CausalAttention::new(identity()?, identity()?, identity()?)?;
/// let x = [0.5, 0.1, 0.2, 0.9, 0.3, 0.3];
/// let steps = attention.steps(&x)?;
/// assert_eq!(steps.weights[..3], [1.0, 0.0, 0.0]); // the first token sees itself alone
/// let thinned = attention.forward(&x, Some(&Dropout::Random { rate: 0.5, seed: 1 }))?;
/// assert_eq!(thinned.len(), 6);
/// # Ok::<(), heedful::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct CausalAttention(SelfAttention);

impl CausalAttention {
    /// From the three projections.
    ///
    /// # Errors
    /// As [`SelfAttention::new`].
    pub fn new(query: Projection, key: Projection, value: Projection) -> Result<Self> {
        Ok(Self(SelfAttention::new(query, key, value)?))
    }

    /// Width of a context.
    pub fn outputs(&self) -> usize {
        self.0.outputs()
    }

    /// The contexts `[tokens, outputs]` of `x`, `[tokens, inputs]`; with dropout in training.
    ///
    /// # Errors
    /// If `x` does not consist of whole rows, or the dropout does not fit.
    pub fn forward(&self, x: &[f32], dropout: Option<&Dropout<'_>>) -> Result<Vec<f32>> {
        match dropout {
            None => self.0.forward_with(x, &options()),
            Some(dropout) => self.0.forward_thinned(x, &options(), dropout),
        }
    }

    /// The numbers on the way, without dropout.
    ///
    /// # Errors
    /// If `x` does not consist of whole rows.
    pub fn steps(&self, x: &[f32]) -> Result<Steps> {
        self.0.steps_with(x, &options())
    }
}

fn options<'a>() -> Options<'a> {
    plain().causal(Diagonal::TopLeft)
}

/// Which weights are set to 0; the others are divided by `1 - rate`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Dropout<'a> {
    /// Those where `keep`, `[q_len, k_len]`, is false.
    Mask {
        /// True where the weight stays.
        keep: &'a [bool],
        /// How many are dropped on average: in `[0, 1)`.
        rate: f32,
    },
    /// Each with probability `rate`, by a number that depends on seed and place alone.
    Random {
        /// In `[0, 1)`.
        rate: f32,
        /// Another seed drops others.
        seed: u64,
    },
}

impl Dropout<'_> {
    pub(super) fn check(&self, q_len: usize, k_len: usize) -> Result<()> {
        let rate = match *self {
            Self::Mask { keep, rate } => {
                expect_len("Dropout", "keep", keep.len(), q_len * k_len)?;
                rate
            }
            Self::Random { rate, .. } => rate,
        };
        if (0.0..1.0).contains(&rate) {
            return Ok(());
        }
        Err(Error::Option {
            operation: "Dropout",
            option: "rate",
            value: rate.to_string(),
            fix: "it must be at least 0 and less than 1".into(),
        })
    }

    /// By what the weight of key `j` for query `i` is multiplied.
    pub(super) fn factor(&self, i: usize, j: usize, k_len: usize) -> f32 {
        let place = i * k_len + j;
        let (keep, rate) = match *self {
            Self::Mask { keep, rate } => (keep[place], rate),
            Self::Random { rate, seed } => (uniform(seed, place as u64) >= rate, rate),
        };
        if keep { 1.0 / (1.0 - rate) } else { 0.0 }
    }
}

/// A number in `[0, 1)` for each place (SplitMix64, Steele et al. 2014).
fn uniform(seed: u64, place: u64) -> f32 {
    let mut z = seed.wrapping_add(place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_dropout_keeps_the_mean() {
        let dropout = Dropout::Random { rate: 0.3, seed: 7 };
        let factors: Vec<f32> = (0..100).flat_map(|i| (0..100).map(move |j| dropout.factor(i, j, 100))).collect();
        let dropped = factors.iter().filter(|&&factor| factor == 0.0).count();
        assert!((2800..3200).contains(&dropped), "{dropped} of 10000 at rate 0.3");
        assert!((factors.iter().sum::<f32>() / 10_000.0 - 1.0).abs() < 0.03);
        let other = Dropout::Random { rate: 0.3, seed: 8 };
        assert!((0..100).any(|j| other.factor(0, j, 100) != factors[j]));
    }

    #[test]
    fn a_rate_that_drops_everything_is_refused() {
        assert!(Dropout::Random { rate: 1.0, seed: 0 }.check(1, 1).unwrap_err().to_string().contains("rate is 1"));
        assert!(Dropout::Mask { keep: &[true], rate: 0.5 }.check(1, 2).unwrap_err().to_string().contains("must hold 2"));
    }
}
