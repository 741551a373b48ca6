//! Rows to columns.

use super::{Isa, MOST_LANES, Op};

/// `to[c][r] = factor * from[r][c]` for `r < rows`, `c < columns`.
///
/// In lanes from `rows` on, `to` becomes 0. Columns are written up to a multiple of [`MOST_LANES`]; what those after the last one hold is left open.
#[derive(Debug)]
pub(crate) struct Transpose<'a> {
    pub rows: usize,
    pub columns: usize,
    /// Lanes of the result: a multiple of [`MOST_LANES`].
    pub lanes: usize,
    /// `[rows][columns]`
    pub from: &'a [f32],
    /// From row to row.
    pub from_stride: usize,
    pub factor: f32,
    /// `[columns][lanes]`
    pub to: &'a mut [f32],
    /// From column to column.
    pub to_stride: usize,
}

impl Op for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        /// Of so few columns, few shuffles remain.
        const FEW: usize = 4;
        let Self { rows, columns, lanes, from, from_stride, factor, to, to_stride } = self;
        if columns == 0 {
            return;
        }
        let most_columns = columns.next_multiple_of(MOST_LANES);
        assert!(lanes.is_multiple_of(MOST_LANES) && rows <= lanes, "transpose: {rows} rows for {lanes} lanes");
        assert!((most_columns - 1).saturating_mul(to_stride).saturating_add(lanes) <= to.len(), "transpose: the result is too short");
        let factor = isa.splat(factor);
        for r in (0..lanes).step_by(I::LANES) {
            for c in (0..columns).step_by(I::LANES) {
                let (used, width) = (rows.saturating_sub(r).min(I::LANES), (columns - c).min(I::LANES));
                let from = if used == 0 { &[] } else { &from[r * from_stride + c..] };
                // SAFETY: columns below `most_columns`, lanes below `lanes`.
                let to = unsafe { to.get_unchecked_mut(c * to_stride + r..) };
                if used == I::LANES && width == I::LANES {
                    // SAFETY: as above.
                    unsafe { store_columns::<I, MOST_LANES>(isa, isa.load_columns(from, from_stride), factor, to, to_stride) };
                    continue;
                }
                // Loops of constant length over constant places, so that the block stays in registers.
                let mut block = [isa.splat(0.0); MOST_LANES];
                for i in 0..I::LANES {
                    if i < used {
                        block[i] = isa.load_partial(&from[i * from_stride..][..width], 0.0);
                    }
                }
                transpose(isa, &mut block);
                if width <= FEW {
                    // SAFETY: as above.
                    unsafe { store_columns::<I, FEW>(isa, block, factor, to, to_stride) };
                } else {
                    // SAFETY: as above.
                    unsafe { store_columns::<I, MOST_LANES>(isa, block, factor, to, to_stride) };
                }
            }
        }
    }
}

/// Stores the first `COLUMNS` columns of a block, `LANES` at most, times `factor`, `stride` apart.
///
/// # Safety
/// `to` must hold `LANES` numbers from each multiple of `stride` on that this reaches.
#[inline(always)]
unsafe fn store_columns<I: Isa, const COLUMNS: usize>(
    isa: I,
    block: [I::Vector; MOST_LANES],
    factor: I::Vector,
    to: &mut [f32],
    stride: usize,
) {
    for i in 0..COLUMNS.min(I::LANES) {
        // SAFETY: the caller's promise.
        isa.store(isa.mul(block[i], factor), unsafe { to.get_unchecked_mut(i * stride..i * stride + I::LANES) });
    }
}

/// The first `LANES` vectors as rows of a matrix, to its columns.
#[inline(always)]
pub(crate) fn transpose<I: Isa>(isa: I, rows: &mut [I::Vector; MOST_LANES]) {
    // Each round moves one bit of an element's column into its row, like a perfect shuffle.
    for _ in 0..I::LANES.ilog2() {
        let before = *rows;
        for i in 0..I::LANES / 2 {
            (rows[2 * i], rows[2 * i + 1]) = isa.interleave(before[i], before[i + I::LANES / 2]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{available_tiers, dispatch_on};

    #[test]
    fn columns_become_rows_at_every_size() {
        for tier in available_tiers() {
            for (rows, columns) in (0..36usize).flat_map(|rows| (0..36usize).map(move |columns| (rows, columns))) {
                let lanes = rows.next_multiple_of(MOST_LANES) + rows % 3 / 2 * MOST_LANES;
                let (from_stride, to_stride) = (columns + 3, lanes + 1);
                let from: Vec<f32> = (0..(rows * from_stride).saturating_sub(3)).map(|i| i as f32 + 1.0).collect();
                let mut to = vec![9.0; columns.next_multiple_of(MOST_LANES) * to_stride];
                dispatch_on(tier, Transpose { rows, columns, lanes, from: &from, from_stride, factor: 0.5, to: &mut to, to_stride });
                for (c, to) in to.chunks_exact(to_stride).take(columns).enumerate() {
                    for (r, &number) in to[..lanes].iter().enumerate() {
                        let expected = if r < rows { from[r * from_stride + c] / 2.0 } else { 0.0 };
                        assert_eq!(number, expected, "{tier}, {rows} x {columns}: row {r}, column {c}");
                    }
                }
            }
        }
    }
}
