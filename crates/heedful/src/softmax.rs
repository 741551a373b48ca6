//! The softmax, whole and in pieces.
//!
//! Attention never holds a row of scores. It keeps, for each query, the largest score so far `m`, the sum `l = sum e^(s - m)` and the
//! context so far `o = sum e^(s - m) v`; a tile of further scores rescales the three when `m` grows (Milakov and Gimelshein 2018; Dao et
//! al. 2022, section 3.1). `Online` is `m` and `l` of the queries of a tile. [`merge`] joins the finished results of
//! two sets of keys: the step of split-key decoding and of ring attention.

use crate::kernel::elementary::{exp_of_nonpositive, ln};
use crate::kernel::score::largest;
use crate::kernel::tile::ROWS;
use crate::simd::{Isa, Op, dispatch};

/// Largest score and sum of exponentials of the queries of a tile, one in each lane.
///
/// On request, `t = sum e^(s - m) (s - m)` goes along: the entropy of the weights is then `ln l - t / l`.
#[derive(Clone, Debug)]
pub(crate) struct Online {
    max: [f32; ROWS],
    sum: [f32; ROWS],
    spread: [f32; ROWS],
    is_empty: bool,
}

/// Some lanes on the way from scores to weights: the scores of each key are to be [taken](Self::take) in.
#[derive(Clone, Copy)]
pub(crate) struct Weighing<I: Isa, const SPREAD: bool> {
    max: I::Vector,
    shift: I::Vector,
    sum: I::Vector,
    spread: I::Vector,
}

impl<I: Isa, const SPREAD: bool> Weighing<I, SPREAD> {
    /// Takes in the scores of a key, and leaves their weights in their place.
    #[inline(always)]
    pub fn take(&mut self, isa: I, scores: &mut [f32]) {
        let below = isa.sub(isa.load(scores), self.shift);
        let weight = exp_of_nonpositive(isa, below);
        self.sum = isa.add(self.sum, weight);
        if SPREAD {
            self.spread = isa.fma(weight, bounded(isa, below), self.spread);
        }
        isa.store(weight, scores);
    }
}

/// Where e^x is 0, x may be -inf, and the product of the two must be 0 too.
#[inline(always)]
fn bounded<I: Isa>(isa: I, x: I::Vector) -> I::Vector {
    isa.max(isa.splat(-110.0), x)
}

impl Default for Online {
    /// No key has been seen: `m = -inf`, `l = 0`.
    fn default() -> Self {
        Self { max: [f32::NEG_INFINITY; ROWS], sum: [0.0; ROWS], spread: [0.0; ROWS], is_empty: true }
    }
}

impl Online {
    /// Whether no scores have been pushed.
    pub fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Takes in the scores of further keys, `[keys][width]`, and leaves `e^(s - m)` in their place. Returns what the contexts so far
    /// must be multiplied by. With `SPREAD`, [`entropies`](Self::entropies) will be known in the end.
    #[inline(always)]
    pub fn push<I: Isa, const SPREAD: bool>(&mut self, isa: I, width: usize, scores: &mut [f32]) -> [f32; ROWS] {
        let mut factors = [1.0; ROWS];
        for lane in (0..width).step_by(I::LANES) {
            let mut weighing = self.weigh::<I, SPREAD>(isa, width, lane, scores);
            for scores in scores.chunks_exact_mut(width) {
                weighing.take(isa, &mut scores[lane..]);
            }
            isa.store(self.took(isa, lane, weighing), &mut factors[lane..]);
        }
        factors
    }

    /// Begins to take in the scores of further keys in the lanes from `lane` on; see [`push`](Self::push).
    #[inline(always)]
    pub fn weigh<I: Isa, const SPREAD: bool>(&self, isa: I, width: usize, lane: usize, scores: &[f32]) -> Weighing<I, SPREAD> {
        let max = isa.max(largest(isa, scores, width, lane), isa.load(&self.max[lane..]));
        // A row that has seen only -inf stays at weight 0, not at e^(-inf + inf).
        let shift = isa.select(isa.eq(max, isa.splat(f32::NEG_INFINITY)), isa.splat(0.0), max);
        Weighing { max, shift, sum: isa.splat(0.0), spread: isa.splat(0.0) }
    }

    /// Notes that all scores of these lanes have been taken. Returns what their contexts so far must be multiplied by.
    #[inline(always)]
    pub fn took<I: Isa, const SPREAD: bool>(&mut self, isa: I, lane: usize, weighing: Weighing<I, SPREAD>) -> I::Vector {
        let Weighing { max, shift, sum, spread } = weighing;
        self.is_empty = false;
        let moved = isa.sub(isa.load(&self.max[lane..]), shift);
        let factor = exp_of_nonpositive(isa, moved);
        if SPREAD {
            let so_far = isa.fma(isa.load(&self.sum[lane..]), bounded(isa, moved), isa.load(&self.spread[lane..]));
            isa.store(isa.fma(so_far, factor, spread), &mut self.spread[lane..]);
        }
        isa.store(isa.fma(isa.load(&self.sum[lane..]), factor, sum), &mut self.sum[lane..]);
        isa.store(max, &mut self.max[lane..]);
        factor
    }

    /// What the contexts must be multiplied by to become the means `o / l`, and the log-sum-exps `m + ln l`. Where no key was
    /// seen: 0 and `-inf`.
    #[inline(always)]
    pub fn finish<I: Isa>(&self, isa: I, width: usize) -> ([f32; ROWS], [f32; ROWS]) {
        let (zero, one, lowest) = (isa.splat(0.0), isa.splat(1.0), isa.splat(f32::NEG_INFINITY));
        let (mut factors, mut lse) = ([0.0; ROWS], [f32::NEG_INFINITY; ROWS]);
        for lane in (0..width).step_by(I::LANES) {
            let sum = isa.load(&self.sum[lane..]);
            let empty = isa.eq(sum, zero);
            let sum = isa.select(empty, one, sum);
            isa.store(isa.select(empty, zero, isa.div(one, sum)), &mut factors[lane..]);
            let lse_or_nothing = isa.add(isa.load(&self.max[lane..]), ln(isa, sum));
            isa.store(isa.select(empty, lowest, lse_or_nothing), &mut lse[lane..]);
        }
        (factors, lse)
    }

    /// The entropies of the weights, `-sum p ln p`, in nats; 0 where no key was seen. All scores must have come through
    /// [`push`](Self::push) with `SPREAD`.
    #[inline(always)]
    pub fn entropies<I: Isa>(&self, isa: I, width: usize) -> [f32; ROWS] {
        let (zero, one) = (isa.splat(0.0), isa.splat(1.0));
        let mut entropies = [0.0; ROWS];
        for lane in (0..width).step_by(I::LANES) {
            let sum = isa.load(&self.sum[lane..]);
            let sum = isa.select(isa.eq(sum, zero), one, sum);
            let entropy = isa.sub(ln(isa, sum), isa.div(isa.load(&self.spread[lane..]), sum));
            isa.store(isa.max(zero, entropy), &mut entropies[lane..]);
        }
        entropies
    }
}

/// Joins the attention of one query over two disjoint sets of keys: `(out, lse)` becomes that over both.
///
/// `lse = ln(e^lse + e^other_lse)`, `out = e^(lse_before - lse) out + e^(other_lse - lse) other`. A log-sum-exp of `-inf` is that of no keys: its
/// context does nothing. NaN stays NaN.
///
/// # Panics
/// If `out` and `other` differ in length.
pub fn merge(out: &mut [f32], lse: &mut f32, other: &[f32], other_lse: f32) {
    assert_eq!(out.len(), other.len(), "merge: contexts of different lengths");
    if other_lse == f32::NEG_INFINITY {
        return;
    }
    if *lse == f32::NEG_INFINITY {
        out.copy_from_slice(other);
        *lse = other_lse;
        return;
    }
    let max = lse.max(other_lse);
    let (mine, theirs) = ((*lse - max).exp(), (other_lse - max).exp());
    let sum = mine + theirs;
    for (out, other) in out.iter_mut().zip(other) {
        *out = (*out * mine + other * theirs) / sum;
    }
    *lse = max + sum.ln();
}

/// `ln sum_i e^x_i` of a row: `-inf` if it is empty, NaN if it holds one.
pub fn log_sum_exp(row: &[f32]) -> f32 {
    crate::kernel::slice::log_sum_exp(row)
}

/// `x_i <- e^x_i / sum_j e^x_j` in one row; returns the log-sum-exp. A row of nothing but `-inf` becomes 0, one that holds NaN becomes NaN.
pub fn softmax(row: &mut [f32]) -> f32 {
    dispatch(Softmax(row))
}

struct Softmax<'a>(&'a mut [f32]);

impl Op for Softmax<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> f32 {
        crate::kernel::lanes::softmax(isa, self.0)
    }
}

/// `x_i <- x_i - ln sum_j e^x_j` in one row; returns the log-sum-exp.
pub fn log_softmax(row: &mut [f32]) -> f32 {
    // The largest goes first: large numbers would otherwise lose to the log-sum-exp what they have behind the point.
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shift = if max.is_finite() { max } else { 0.0 };
    for x in row.iter_mut() {
        *x -= shift;
    }
    let lse = log_sum_exp(row);
    for x in row.iter_mut() {
        *x -= lse;
    }
    shift + lse
}

#[cfg(test)]
mod tests {
    use super::*;

    fn textbook(scores: &[f32], values: &[f32]) -> (f32, f32) {
        let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f32> = scores.iter().map(|s| (s - max).exp()).collect();
        let sum: f32 = weights.iter().sum();
        (weights.iter().zip(values).map(|(w, v)| w * v).sum::<f32>() / sum, max + sum.ln())
    }

    #[test]
    fn merging_halves_gives_the_whole() {
        let (scores, values) = ([0.5, -3.0, 88.0, 2.0, 90.0], [1.0, 2.0, 3.0, 4.0, 5.0]);
        let (whole, whole_lse) = textbook(&scores, &values);
        for split in 1..5 {
            let (a, mut lse) = textbook(&scores[..split], &values[..split]);
            let (b, other) = textbook(&scores[split..], &values[split..]);
            let mut out = [a];
            merge(&mut out, &mut lse, &[b], other);
            assert!((out[0] - whole).abs() < 1e-5 && (lse - whole_lse).abs() < 1e-5, "split at {split}");
        }
    }

    #[test]
    fn merging_nothing_changes_nothing() {
        let (mut out, mut lse) = ([1.5, 2.5], 0.25);
        merge(&mut out, &mut lse, &[0.0, 0.0], f32::NEG_INFINITY);
        assert_eq!((out, lse), ([1.5, 2.5], 0.25));
        let (mut out, mut lse) = ([0.0, 0.0], f32::NEG_INFINITY);
        merge(&mut out, &mut lse, &[1.5, 2.5], 0.25);
        assert_eq!((out, lse), ([1.5, 2.5], 0.25));
        let (mut out, mut lse) = ([0.0], f32::NEG_INFINITY);
        merge(&mut out, &mut lse, &[0.0], f32::NEG_INFINITY);
        assert_eq!((out, lse), ([0.0], f32::NEG_INFINITY));
    }

    struct Pieces<'a>(&'a [f32], &'a [f32], usize);

    impl Op for Pieces<'_> {
        type Output = (f32, f32);

        fn run<I: Isa>(self, isa: I) -> (f32, f32) {
            let Pieces(scores, values, piece) = self;
            let mut online = Online::default();
            let mut out = 0.0;
            for (scores, values) in scores.chunks(piece).zip(values.chunks(piece)) {
                let mut tile: Vec<f32> = scores.iter().flat_map(|&s| vec![s; ROWS]).collect();
                out *= online.push::<I, false>(isa, ROWS, &mut tile)[3];
                out += tile.chunks_exact(ROWS).zip(values).map(|(weights, value)| weights[3] * value).sum::<f32>();
            }
            let (factors, lse) = online.finish(isa, ROWS);
            (out * factors[3], lse[3])
        }
    }

    #[test]
    fn pieces_of_any_size_give_the_whole_on_every_tier() {
        let scores: Vec<f32> = (0..37).map(|i| ((i * 29 % 37) as f32 - 18.0) * 3.0).collect();
        let values: Vec<f32> = (0..37).map(|i| (i * 7 % 11) as f32).collect();
        let (whole, whole_lse) = textbook(&scores, &values);
        for tier in crate::simd::available_tiers() {
            for piece in [1, 2, 5, 37] {
                let (out, lse) = crate::simd::dispatch_on(tier, Pieces(&scores, &values, piece));
                assert!((out - whole).abs() < 1e-5 && (lse - whole_lse).abs() < 1e-5, "{tier}, pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_row_without_keys_is_zero_on_every_tier() {
        for tier in crate::simd::available_tiers() {
            let nothing = [f32::NEG_INFINITY; 3];
            assert_eq!(crate::simd::dispatch_on(tier, Pieces(&nothing, &[1.0; 3], 2)), (0.0, f32::NEG_INFINITY), "{tier}");
        }
    }
}
