//! The one matrix product that attention is made of, in registers.
//!
//! `out[n][lane] (+)= sum_k rows[k][lane] * scalars[k, n]`: a panel of rows that are read as vectors, times a small matrix of numbers
//! that are read one by one. As no sum runs over lanes, and the scalars may lie anywhere, this is every product of attention with
//! its operands read where they lie: scores from transposed queries and keys, contexts from values and weights, and the gradients.

use super::{Isa, Op};
use std::array::from_fn;

/// `out[n][lane] = sum_k rows[k][lane] * scalars[k, n]` for `n < count`, `k < depth`, `lane < width`.
///
/// Each sum is taken in the order of `k` and does not depend on `count` or `width`.
#[derive(Debug)]
pub struct Panel<'a> {
    /// Elements of a row; a multiple of the tier's lanes.
    pub width: usize,
    /// Rows of the panel.
    pub depth: usize,
    /// Rows of the result.
    pub count: usize,
    /// `[depth][width]`
    pub rows: &'a [f32],
    /// From row to row of the panel.
    pub row_stride: usize,
    /// `[depth, count]`
    pub scalars: &'a [f32],
    /// From `[k, n]` to `[k + 1, n]` and to `[k, n + 1]`.
    pub scalar_strides: [usize; 2],
    /// `[count][width]`
    pub out: &'a mut [f32],
    /// From row to row of the result.
    pub out_stride: usize,
    /// Whether to add to what `out` holds, rather than to overwrite it.
    pub accumulate: bool,
}

/// The same product where a scalar of 0 adds nothing, not even if it meets a NaN or an infinity: for weights of what a query may not look at.
#[derive(Debug)]
pub(crate) struct SkipZeros<'a>(pub Panel<'a>);

impl Op for SkipZeros<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Panel { width, depth, count, rows, row_stride, scalars, scalar_strides, out, out_stride, accumulate } = self.0;
        for n in 0..count {
            let out = &mut out[n * out_stride..][..width];
            if !accumulate {
                out.fill(0.0);
            }
            for k in 0..depth {
                let scalar = scalars[k * scalar_strides[0] + n * scalar_strides[1]];
                if scalar != 0.0 {
                    let row = &rows[k * row_stride..][..width];
                    for (out, row) in out.chunks_exact_mut(I::LANES).zip(row.chunks_exact(I::LANES)) {
                        isa.store(isa.fma(isa.load(row), isa.splat(scalar), isa.load(out)), out);
                    }
                }
            }
        }
    }
}

/// Rows of the result that are computed together: with two vectors of each, as many as fit into the registers of the largest tier.
const MOST_ROWS: usize = 8;
/// The same with one vector of each.
const DOUBLE_ROWS: usize = 2 * MOST_ROWS;
/// Terms of a sum for which addresses are computed once, where scalars of neighbouring terms lie side by side.
const STEPS: usize = 4;

impl Op for Panel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self, isa: I) {
        // One past the last index that `n` steps of `stride` and `m` of `other` reach.
        let end = |n: usize, stride: usize, m: usize, other: usize| {
            (n - 1).saturating_mul(stride).saturating_add((m - 1).saturating_mul(other)).saturating_add(1)
        };
        if self.count == 0 || self.width == 0 {
            return;
        }
        assert!(self.width.is_multiple_of(I::LANES), "panel: width {} is no multiple of {} lanes", self.width, I::LANES);
        assert!(end(self.count, self.out_stride, self.width, 1) <= self.out.len(), "panel: the result is too short");
        if self.depth > 0 {
            assert!(end(self.depth, self.row_stride, self.width, 1) <= self.rows.len(), "panel: the panel is too short");
            let [k, n] = self.scalar_strides;
            assert!(end(self.depth, k, self.count, n) <= self.scalars.len(), "panel: the scalars are too short");
        }
        // SAFETY: the assertions above.
        unsafe {
            match self.scalar_strides {
                [_, 1] => all_lanes::<I, false, true>(isa, &mut self),
                [1, _] => all_lanes::<I, true, false>(isa, &mut self),
                _ => all_lanes::<I, false, false>(isa, &mut self),
            }
        }
    }
}

/// The whole product. `K_UNIT` says that scalars of neighbouring `k` lie side by side, `N_UNIT` that those of neighbouring `n` do: then addresses
/// are constants away from each other, and no unit that could multiply adds them up.
///
/// # Safety
/// Each index that the sizes and strides of `p` reach must lie in its slice, and `p.width` must be a multiple of the lanes.
#[inline(always)]
unsafe fn all_lanes<I: Isa, const K_UNIT: bool, const N_UNIT: bool>(isa: I, p: &mut Panel<'_>) {
    let mut lane = 0;
    while lane < p.width {
        // SAFETY: the caller's promise; `lane + VECTORS * LANES <= width`.
        unsafe {
            if p.width - lane >= 2 * I::LANES {
                all_rows::<I, 2, K_UNIT, N_UNIT>(isa, p, lane);
                lane += 2 * I::LANES;
            } else {
                all_rows::<I, 1, K_UNIT, N_UNIT>(isa, p, lane);
                lane += I::LANES;
            }
        }
    }
}

/// All rows of the result in the `VECTORS` vectors from `lane` on.
///
/// # Safety
/// Each index that the sizes and strides of `p` reach must lie in its slice, and `lane + VECTORS * LANES <= p.width`.
#[inline(always)]
unsafe fn all_rows<I: Isa, const VECTORS: usize, const K_UNIT: bool, const N_UNIT: bool>(isa: I, p: &mut Panel<'_>, lane: usize) {
    // Beside the sums, registers hold the panel's vectors and a scalar; one is left over.
    let most = ((I::REGISTERS - VECTORS - 2) / VECTORS).min(MOST_ROWS);
    let mut first = 0;
    // A single vector needs more rows to make up for the loads.
    while VECTORS == 1 && I::REGISTERS >= 2 * DOUBLE_ROWS && p.count - first >= DOUBLE_ROWS {
        // SAFETY: `first + DOUBLE_ROWS <= count`, and the caller's promise.
        unsafe { tile::<I, VECTORS, DOUBLE_ROWS, K_UNIT, N_UNIT>(isa, p, lane, first) };
        first += DOUBLE_ROWS;
    }
    while first < p.count {
        let left = p.count - first;
        // A remainder of one or two rows would leave the multipliers waiting: halve what is left instead.
        let rows = if left <= most {
            left
        } else if left < 2 * most {
            left.div_ceil(2)
        } else {
            most
        };
        // SAFETY: `first + rows <= count`, and the caller's promise.
        unsafe {
            match rows {
                1 => tile::<I, VECTORS, 1, K_UNIT, N_UNIT>(isa, p, lane, first),
                2 => tile::<I, VECTORS, 2, K_UNIT, N_UNIT>(isa, p, lane, first),
                3 => tile::<I, VECTORS, 3, K_UNIT, N_UNIT>(isa, p, lane, first),
                4 => tile::<I, VECTORS, 4, K_UNIT, N_UNIT>(isa, p, lane, first),
                5 => tile::<I, VECTORS, 5, K_UNIT, N_UNIT>(isa, p, lane, first),
                6 => tile::<I, VECTORS, 6, K_UNIT, N_UNIT>(isa, p, lane, first),
                7 => tile::<I, VECTORS, 7, K_UNIT, N_UNIT>(isa, p, lane, first),
                _ => tile::<I, VECTORS, 8, K_UNIT, N_UNIT>(isa, p, lane, first),
            }
        }
        first += rows;
    }
}

/// `ROWS` rows of the result from `first` on, in `VECTORS` vectors from `lane` on, held in registers over the whole sum.
///
/// # Safety
/// Each index that the sizes and strides of `p` reach must lie in its slice; `first + ROWS <= p.count`,
/// `lane + VECTORS * LANES <= p.width`.
#[inline(always)]
unsafe fn tile<I: Isa, const VECTORS: usize, const ROWS: usize, const K_UNIT: bool, const N_UNIT: bool>(
    isa: I,
    p: &mut Panel<'_>,
    lane: usize,
    first: usize,
) {
    let mut sums = [[isa.splat(0.0); VECTORS]; ROWS];
    let mut k = 0;
    // SAFETY: `k < depth` throughout, and the caller's promise.
    unsafe {
        while (K_UNIT || N_UNIT) && k + STEPS <= p.depth {
            for step in 0..STEPS {
                add_term::<I, VECTORS, ROWS, K_UNIT, N_UNIT>(isa, p, lane, first, k + step, &mut sums);
            }
            k += STEPS;
        }
        while k < p.depth {
            add_term::<I, VECTORS, ROWS, K_UNIT, N_UNIT>(isa, p, lane, first, k, &mut sums);
            k += 1;
        }
    }
    for n in 0..ROWS {
        for i in 0..VECTORS {
            let at = (first + n) * p.out_stride + lane + i * I::LANES;
            // SAFETY: `first + n < count`, and these lanes lie below `width`.
            let out = unsafe { p.out.get_unchecked_mut(at..at + I::LANES) };
            isa.store(if p.accumulate { isa.add(isa.load(out), sums[n][i]) } else { sums[n][i] }, out);
        }
    }
}

/// Adds term `k` to each sum of a tile.
///
/// # Safety
/// As for [`tile`], and `k < p.depth`.
#[inline(always)]
unsafe fn add_term<I: Isa, const VECTORS: usize, const ROWS: usize, const K_UNIT: bool, const N_UNIT: bool>(
    isa: I,
    p: &Panel<'_>,
    lane: usize,
    first: usize,
    k: usize,
    sums: &mut [[I::Vector; VECTORS]; ROWS],
) {
    let k_stride = if K_UNIT { 1 } else { p.scalar_strides[0] };
    let n_stride = if N_UNIT { 1 } else { p.scalar_strides[1] };
    let panel: [I::Vector; VECTORS] = from_fn(|i| {
        let at = k * p.row_stride + lane + i * I::LANES;
        // SAFETY: `k < depth`, and these lanes lie below `width`.
        isa.load(unsafe { p.rows.get_unchecked(at..at + I::LANES) })
    });
    for n in 0..ROWS {
        // SAFETY: `k < depth` and `first + n < count`.
        let scalar = isa.splat(unsafe { *p.scalars.get_unchecked(k * k_stride + (first + n) * n_stride) });
        for i in 0..VECTORS {
            sums[n][i] = isa.fma(panel[i], scalar, sums[n][i]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{available_tiers, dispatch_on};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_the_triple_loop(
            vectors in 0usize..5,
            depth in 0usize..9,
            count in 0usize..30,
            (panel_pad, out_pad, pad, gap) in (0usize..3, 0usize..3, 0usize..3, 1usize..3),
            transposed: bool,
            accumulate: bool,
        ) {
            let number = |i: usize| ((i * 37 % 19) as f32 - 9.0) / 4.0;
            for tier in available_tiers() {
                let width = vectors * if tier >= crate::simd::Tier::Avx512 { 16 } else { 8 };
                let (row_stride, out_stride) = (width + panel_pad, width + out_pad);
                let scalar_strides = if transposed { [1, depth + pad] } else { [count + pad, 1] }.map(|stride| stride * gap);
                let panel: Vec<f32> = (0..depth * row_stride).map(number).collect();
                let scalars: Vec<f32> = (0..(depth + pad) * (count + pad) * gap).map(|i| number(i + 5)).collect();
                let mut out: Vec<f32> = (0..count * out_stride).map(|i| number(i + 11)).collect();
                let mut expected = out.clone();
                for n in 0..count {
                    for lane in 0..width {
                        let sum = (0..depth)
                            .map(|k| panel[k * row_stride + lane] * scalars[k * scalar_strides[0] + n * scalar_strides[1]])
                            .sum::<f32>();
                        let cell = &mut expected[n * out_stride + lane];
                        *cell = sum + if accumulate { *cell } else { 0.0 };
                    }
                }
                let rows = &panel;
                let scalars = &scalars;
                let mut skipped = out.clone();
                dispatch_on(tier, Panel { width, depth, count, rows, row_stride, scalars, scalar_strides, out: &mut out, out_stride, accumulate });
                prop_assert_eq!(&out, &expected, "{}", tier);
                let out = &mut skipped;
                dispatch_on(tier, SkipZeros(Panel { width, depth, count, rows, row_stride, scalars, scalar_strides, out, out_stride, accumulate }));
                prop_assert_eq!(skipped, expected, "{} without zeros", tier);
            }
        }
    }

    #[test]
    #[should_panic(expected = "the scalars are too short")]
    fn slices_that_are_too_short_are_refused() {
        let (panel, scalars) = ([0.0; 32], [0.0; 3]);
        let mut out = [0.0; 32];
        let panel = Panel {
            width: 16,
            depth: 2,
            count: 2,
            rows: &panel,
            row_stride: 16,
            scalars: &scalars,
            scalar_strides: [2, 1],
            out: &mut out,
            out_stride: 16,
            accumulate: false,
        };
        crate::simd::dispatch(panel);
    }
}
