//! Sums of products of bytes: what a matrix product in 8 bits is made of.
//!
//! `sums[n][c] = sum_k rows[n][k] * weights[k][c]`, exact in 32-bit integers, so that it is the same on every tier and in any order.
//!
//! | tier | instruction | products of bytes a vector |
//! |---|---|---|
//! | scalar | none beyond the target's baseline | |
//! | AVX2, and AVX-512 without VNNI | `vpmaddwd` on bytes widened to 16 bits | 16 |
//! | AVX-512 with VNNI | `vpdpbusd`: unsigned bytes times signed ones, four neighbours added up in each lane | 64 |
//!
//! The last takes one unsigned operand; so weights are kept 128 higher than they are, and the sums of a row start at `-128 sum_k rows[n][k]`.

#[cfg(target_arch = "x86_64")]
use super::best_tier;
use super::{Tier, active_tier};
#[cfg(target_arch = "x86_64")]
#[allow(clippy::wildcard_imports)] // Every name in it begins with `_`.
use std::arch::x86_64::*;
#[cfg(target_arch = "x86_64")]
use std::array::from_fn;

/// Columns that are computed together.
pub const COLUMNS: usize = 32;

/// Terms that lie beside each other.
pub const GROUP: usize = 4;

/// The longest sum that cannot overflow: `255 * 128` a term.
pub const MOST_TERMS: usize = 1 << 16;

/// [`GROUP`] terms of each of [`COLUMNS`] columns.
type Groups = [u8; COLUMNS * GROUP];

/// Makes the panel that [`sums`] reads of [`COLUMNS`] columns of weights, `[depth][COLUMNS]` as told by `weight(k, c)`.
///
/// `panel [depth / GROUP][COLUMNS][GROUP]`; what lies past the last weight is to be 0.
pub fn pack(panel: &mut [u8], weight: impl Fn(usize, usize) -> i8) {
    for (group, columns) in panel.chunks_exact_mut(COLUMNS * GROUP).enumerate() {
        for (c, bytes) in columns.chunks_exact_mut(GROUP).enumerate() {
            for (l, byte) in bytes.iter_mut().enumerate() {
                *byte = weight(group * GROUP + l, c).cast_unsigned() ^ 0x80;
            }
        }
    }
}

/// What the sums of a row start from, as weights are kept 128 higher than they are: `-128 sum_k row[k]`.
#[inline(always)]
pub fn start(row: &[i8]) -> i32 {
    -128 * row.iter().map(|&a| i32::from(a)).sum::<i32>()
}

/// `sums[n][c] = sum_k rows[n][k] * weights[k][c]`: `rows [sums.len()][depth]`, the [`start`] of each, and a `panel` from [`pack`]. `depth` is a
/// multiple of [`GROUP`].
///
/// # Panics
/// If the sizes do not belong together, or if `depth` is above [`MOST_TERMS`].
pub fn sums(panel: &[u8], rows: &[i8], starts: &[i32], sums: &mut [[i32; COLUMNS]]) {
    sums_on(active_tier(), panel, rows, starts, sums);
}

/// [`sums`] with the instructions of `tier`, or of the best below it that the CPU has.
pub fn sums_on(tier: Tier, panel: &[u8], rows: &[i8], starts: &[i32], sums: &mut [[i32; COLUMNS]]) {
    let depth = panel.len() / COLUMNS;
    assert!(panel.len().is_multiple_of(GROUP * COLUMNS) && depth <= MOST_TERMS, "bytes: a panel of {} bytes", panel.len());
    assert!(rows.len() == depth * sums.len() && starts.len() == sums.len(), "bytes: not as many rows as sums");
    let (panel, _): (&[Groups], _) = panel.as_chunks();
    #[cfg(target_arch = "x86_64")]
    if tier.min(best_tier()) >= Tier::Avx2 {
        let wide = tier.min(best_tier()) > Tier::Avx2 && is_x86_feature_detected!("avx512vnni");
        let mut first = 0;
        while first < sums.len() {
            let count = (sums.len() - first).min(if wide { 8 } else { 2 });
            let rows = &rows[first * depth..(first + count) * depth];
            let (starts, sums) = (&starts[first..first + count], &mut sums[first..first + count]);
            // SAFETY: the CPU has the instructions; the assertions above.
            unsafe {
                match (wide, count) {
                    (false, 1) => avx2::<1>(panel, rows, starts, sums),
                    (false, _) => avx2::<2>(panel, rows, starts, sums),
                    (true, 1) => vnni::<1>(panel, rows, starts, sums),
                    (true, 2) => vnni::<2>(panel, rows, starts, sums),
                    (true, 3) => vnni::<3>(panel, rows, starts, sums),
                    (true, 4) => vnni::<4>(panel, rows, starts, sums),
                    (true, 5) => vnni::<5>(panel, rows, starts, sums),
                    (true, 6) => vnni::<6>(panel, rows, starts, sums),
                    (true, 7) => vnni::<7>(panel, rows, starts, sums),
                    (true, _) => vnni::<8>(panel, rows, starts, sums),
                }
            }
            first += count;
        }
        return;
    }
    let _ = tier;
    for (n, (sums, start)) in sums.iter_mut().zip(starts).enumerate() {
        *sums = [*start; COLUMNS];
        for (row, columns) in rows[n * depth..][..depth].as_chunks::<GROUP>().0.iter().zip(panel) {
            for (sum, weights) in sums.iter_mut().zip(columns.as_chunks::<GROUP>().0) {
                *sum += row.iter().zip(weights).map(|(a, w)| i32::from(*a) * i32::from(*w)).sum::<i32>();
            }
        }
    }
}

/// # Safety
/// The CPU has AVX-512 F and VNNI. `sums` and `starts` have `ROWS` rows, `rows` as many of `GROUP * panel.len()` bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn vnni<const ROWS: usize>(panel: &[Groups], rows: &[i8], starts: &[i32], sums: &mut [[i32; COLUMNS]]) {
    let depth = panel.len() * GROUP;
    let mut totals: [_; ROWS] = from_fn(|n| [_mm512_set1_epi32(starts[n]); 2]);
    for (group, columns) in panel.iter().enumerate() {
        // SAFETY: 128 bytes are readable.
        let weights = unsafe { [0, 64].map(|at| _mm512_loadu_si512(columns.as_ptr().add(at).cast())) };
        for n in 0..ROWS {
            // SAFETY: `n < ROWS` and `GROUP * (group + 1) <= depth`.
            let row = unsafe { rows.as_ptr().add(n * depth + group * GROUP).cast::<i32>().read_unaligned() };
            for half in 0..2 {
                totals[n][half] = _mm512_dpbusd_epi32(totals[n][half], weights[half], _mm512_set1_epi32(row));
            }
        }
    }
    for (totals, sums) in totals.iter().zip(sums) {
        // SAFETY: 32 numbers are writable.
        unsafe {
            _mm512_storeu_si512(sums.as_mut_ptr().cast(), totals[0]);
            _mm512_storeu_si512(sums.as_mut_ptr().add(16).cast(), totals[1]);
        }
    }
}

/// # Safety
/// The CPU has AVX2. `sums` and `starts` have `ROWS` rows, `rows` as many of `GROUP * panel.len()` bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn avx2<const ROWS: usize>(panel: &[Groups], rows: &[i8], starts: &[i32], sums: &mut [[i32; COLUMNS]]) {
    let depth = panel.len() * GROUP;
    let low = _mm256_set1_epi16(0xff);
    let mut totals: [_; ROWS] = from_fn(|n| [_mm256_set1_epi32(starts[n]); 4]);
    for (group, columns) in panel.iter().enumerate() {
        // Of each four bytes, the first and the third in the low halves of 16 bits, the second and the fourth in the high ones.
        let rows: [[__m256i; 2]; ROWS] = from_fn(|n| {
            // SAFETY: `n < ROWS` and `GROUP * (group + 1) <= depth`.
            let row = _mm256_set1_epi32(unsafe { rows.as_ptr().add(n * depth + group * GROUP).cast::<i32>().read_unaligned() });
            [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(row)), _mm256_srai_epi16::<8>(row)]
        });
        for quarter in 0..4 {
            // SAFETY: 128 bytes are readable.
            let weights = unsafe { _mm256_loadu_si256(columns.as_ptr().add(32 * quarter).cast()) };
            let weights = [_mm256_and_si256(weights, low), _mm256_srli_epi16::<8>(weights)];
            for n in 0..ROWS {
                for (weights, row) in weights.into_iter().zip(rows[n]) {
                    totals[n][quarter] = _mm256_add_epi32(totals[n][quarter], _mm256_madd_epi16(weights, row));
                }
            }
        }
    }
    for (totals, sums) in totals.iter().zip(sums) {
        for (quarter, total) in totals.iter().enumerate() {
            // SAFETY: 32 numbers are writable.
            unsafe { _mm256_storeu_si256(sums.as_mut_ptr().add(8 * quarter).cast(), *total) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::available_tiers;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_the_triple_loop_on_every_tier(groups in 0usize..20, count in 0usize..20, extreme: bool) {
            let depth = groups * GROUP;
            let number = |i: usize| if extreme { [-128, 127][i * 7 % 3 % 2] } else { ((i * 2_654_435_761) >> 7) as u8 as i8 };
            let rows: Vec<i8> = (0..count * depth).map(number).collect();
            let weight = |k: usize, c: usize| number(k * COLUMNS + c + 3);
            let mut panel = vec![0; depth * COLUMNS];
            pack(&mut panel, weight);
            let expected: Vec<[i32; COLUMNS]> = (0..count)
                .map(|n| std::array::from_fn(|c| (0..depth).map(|k| i32::from(rows[n * depth + k]) * i32::from(weight(k, c))).sum()))
                .collect();
            let starts: Vec<i32> = (0..count).map(|n| start(&rows[n * depth..][..depth])).collect();
            for tier in available_tiers() {
                let mut found = vec![[-1; COLUMNS]; count];
                sums_on(tier, &panel, &rows, &starts, &mut found);
                prop_assert_eq!(&found, &expected, "{}", tier);
            }
        }
    }

    #[test]
    fn the_longest_sum_does_not_overflow() {
        let mut panel = vec![0; MOST_TERMS * COLUMNS];
        for (row, weight) in [(-128, -128), (127, 127), (-128, 127)] {
            pack(&mut panel, |_, _| weight);
            let rows = vec![row; MOST_TERMS];
            for tier in available_tiers() {
                let mut found = [[0; COLUMNS]];
                sums_on(tier, &panel, &rows, &[start(&rows)], &mut found);
                assert_eq!(found, [[MOST_TERMS as i32 * i32::from(row) * i32::from(weight); COLUMNS]], "{tier}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "not as many rows as sums")]
    fn slices_that_are_too_short_are_refused() {
        sums(&[0; 8 * COLUMNS], &[0; 8], &[0; 2], &mut [[0; COLUMNS]; 2]);
    }
}
