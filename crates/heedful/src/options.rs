//! What an attention call may ask for, and in which order it is applied.

use crate::View;
use crate::simd::Tier;

/// Which key stands opposite to query 0. It fixes what *causal*, a window and ALiBi's distance mean when there are not as many queries
/// as keys: query `i` stands at key `i + offset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Diagonal {
    /// The first query stands at the first key: offset 0.
    #[default]
    TopLeft,
    /// The last query stands at the last key: offset `k_len - q_len`, with the key length of each sequence. What decoding over a cache
    /// needs.
    BottomRight,
    /// Query 0 stands at this key.
    Offset(isize),
}

/// Who does the work. The numbers that come out are the same, bit for bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parallelism {
    /// The calling thread.
    Serial,
    /// The current rayon thread pool.
    #[default]
    Rayon,
}

/// Everything about an attention call except its tensors.
///
/// For query `i` and key `j` of one head, in this order:
///
/// 1. `s = scale * q_i . k_j`
/// 2. `s = softcap * tanh(s / softcap)`, with a softcap
/// 3. `s += bias[i, j] - slope * |i + offset - j|`, with a bias or ALiBi
/// 4. `s = -inf` where the key lies outside the sequence's keys, right of the diagonal in causal attention, outside the window, or where
///    the mask is false
/// 5. softmax over the keys
///
/// A query that may look at no key has context 0, log-sum-exp `-inf` and gradient 0.
///
/// ```
/// use heedful::{Diagonal, Options};
/// let options = Options::new().causal(Diagonal::TopLeft).window(Some(128), None).softcap(50.0);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    pub(crate) scale: Option<f32>,
    pub(crate) softcap: Option<f32>,
    pub(crate) causal: bool,
    pub(crate) left: Option<usize>,
    pub(crate) right: Option<usize>,
    pub(crate) diagonal: Diagonal,
    pub(crate) mask: Option<View<'a, bool>>,
    pub(crate) bias: Option<View<'a, f32>>,
    pub(crate) alibi: Option<&'a [f32]>,
    pub(crate) key_lengths: Option<&'a [usize]>,
    pub(crate) key_starts: Option<&'a [usize]>,
    pub(crate) parallelism: Parallelism,
    pub(crate) tier: Option<Tier>,
}

impl<'a> Options<'a> {
    /// Every query looks at every key; scale `1 / sqrt(dim)` (Vaswani et al. 2017, eq. 1).
    pub fn new() -> Self {
        Self::default()
    }

    /// Multiplies the scores; `1 / sqrt(dim)` when not set.
    #[must_use]
    pub fn scale(self, scale: f32) -> Self {
        Self { scale: Some(scale), ..self }
    }

    /// Bounds the scaled scores smoothly to `(-softcap, softcap)` (Gemma 2, 2024, section 2). Between 1e-15 and
    /// 1e15.
    #[must_use]
    pub fn softcap(self, softcap: f32) -> Self {
        Self { softcap: Some(softcap), ..self }
    }

    /// A query looks at no key after its own place.
    #[must_use]
    pub fn causal(self, diagonal: Diagonal) -> Self {
        Self { causal: true, diagonal, ..self }
    }

    /// A query at place `p` looks at the keys `p - left ..= p + right`; `None` is no bound on that side. In causal attention the right
    /// side ends at `p` all the same (Longformer, Beltagy et al. 2020, section 3.1).
    #[must_use]
    pub fn window(self, left: Option<usize>, right: Option<usize>) -> Self {
        Self { left, right, ..self }
    }

    /// Where queries stand among the keys, for a window or ALiBi without causal attention.
    #[must_use]
    pub fn diagonal(self, diagonal: Diagonal) -> Self {
        Self { diagonal, ..self }
    }

    /// True where a query may look at a key: `[batch or 1, heads or 1, q_len or 1, k_len or 1]`.
    #[must_use]
    pub fn mask(self, mask: View<'a, bool>) -> Self {
        Self { mask: Some(mask), ..self }
    }

    /// Added to the scores; `-inf` forbids: `[batch or 1, heads or 1, q_len or 1, k_len or 1]`. It is added after the product, so a score of NaN stays
    /// NaN: hide a key that may hold NaN or infinity by a mask.
    #[must_use]
    pub fn bias(self, bias: View<'a, f32>) -> Self {
        Self { bias: Some(bias), ..self }
    }

    /// Slopes of a linear penalty on distance, `[heads]` or `[sequences * heads]` (ALiBi, Press et al. 2022, section 3).
    #[must_use]
    pub fn alibi(self, slopes: &'a [f32]) -> Self {
        Self { alibi: Some(slopes), ..self }
    }

    /// How many keys each sequence of the batch has, `[batch]`; the keys and values after them are not read.
    #[must_use]
    pub fn key_lengths(self, lengths: &'a [usize]) -> Self {
        Self { key_lengths: Some(lengths), ..self }
    }

    /// The first key of each sequence of the batch, `[batch]`; the keys and values before it are not read. For left padding.
    #[must_use]
    pub fn key_starts(self, starts: &'a [usize]) -> Self {
        Self { key_starts: Some(starts), ..self }
    }

    /// Who does the work.
    #[must_use]
    pub fn parallelism(self, parallelism: Parallelism) -> Self {
        Self { parallelism, ..self }
    }

    /// With which instructions; [`active_tier`](crate::simd::active_tier) when not set. A tier that the CPU lacks is an error.
    #[must_use]
    pub fn tier(self, tier: Tier) -> Self {
        Self { tier: Some(tier), ..self }
    }
}
