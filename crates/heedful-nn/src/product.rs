//! Matrix products over row-major slices, computed by the `gemm` crate on the calling thread.
//!
//! Work is spread over threads one level up (by sentences), where a whole forward and backward runs without a barrier.

use gemm::Parallelism;

/// A row-major matrix, or the transpose of one, in a slice.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `data` as `[rows, columns]`.
    ///
    /// # Panics
    /// If `data` is shorter than `rows * columns`.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// `rows` rows of `columns` elements each, of which each starts `row_stride` after the one before.
    ///
    /// # Panics
    /// If `data` ends before the last row does.
    pub fn strided(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert_fits(data.len(), rows, columns, row_stride);
        Self { data, rows, columns, row_stride, column_stride: 1 }
    }

    /// The transpose; nothing moves.
    #[must_use]
    pub fn t(self) -> Self {
        Self { rows: self.columns, columns: self.rows, row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }
}

fn assert_fits(len: usize, rows: usize, columns: usize, row_stride: usize) {
    let needed = if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row_stride + columns };
    assert!(
        len >= needed && (row_stride >= columns || rows <= 1),
        "a matrix [{rows}, {columns}] with row stride {row_stride} does not fit into {len} numbers"
    );
}

/// `out = a b`, with `out` row-major `[a.rows, b.columns]`.
pub fn product(out: &mut [f32], a: Matrix<'_>, b: Matrix<'_>) {
    run(out, b.columns, a, b, false);
}

/// `out += a b`.
pub fn add_product(out: &mut [f32], a: Matrix<'_>, b: Matrix<'_>) {
    run(out, b.columns, a, b, true);
}

/// `out = a b` where each row of `out` starts `row_stride` after the one before.
pub fn product_strided(out: &mut [f32], row_stride: usize, a: Matrix<'_>, b: Matrix<'_>) {
    run(out, row_stride, a, b, false);
}

/// `out += a b` where each row of `out` starts `row_stride` after the one before.
pub fn add_product_strided(out: &mut [f32], row_stride: usize, a: Matrix<'_>, b: Matrix<'_>) {
    run(out, row_stride, a, b, true);
}

fn run(out: &mut [f32], row_stride: usize, a: Matrix<'_>, b: Matrix<'_>, accumulate: bool) {
    assert_eq!(a.columns, b.rows, "inner dimensions of a product [{}, {}] x [{}, {}]", a.rows, a.columns, b.rows, b.columns);
    assert_fits(out.len(), a.rows, b.columns, row_stride);
    // SAFETY: `assert_fits`, here and where the matrices were made, keeps every element that these shapes and strides reach
    // inside its slice; `out` is borrowed mutably, so it overlaps neither `a` nor `b`.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            row_stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_the_triple_loop(m in 0usize..9, k in 0usize..9, n in 0usize..40, ta: bool, tb: bool, accumulate: bool, pad in 0usize..3) {
            let number = |i: usize| ((i * 37 % 19) as f32 - 9.0) / 4.0;
            let a: Vec<f32> = (0..m * k).map(number).collect();
            let b: Vec<f32> = (0..k * n).map(|i| number(i + 5)).collect();
            let stride = n + pad;
            let mut out: Vec<f32> = (0..m * stride).map(|i| number(i + 11)).collect();
            let mut expected = out.clone();
            for i in 0..m {
                for j in 0..n {
                    let sum: f32 = (0..k)
                        .map(|l| a[if ta { l * m + i } else { i * k + l }] * b[if tb { j * k + l } else { l * n + j }])
                        .sum();
                    let cell = &mut expected[i * stride + j];
                    *cell = sum + if accumulate { *cell } else { 0.0 };
                }
            }
            let left = if ta { Matrix::new(&a, k, m).t() } else { Matrix::new(&a, m, k) };
            let right = if tb { Matrix::new(&b, n, k).t() } else { Matrix::new(&b, k, n) };
            if accumulate {
                add_product_strided(&mut out, stride, left, right);
            } else {
                product_strided(&mut out, stride, left, right);
            }
            prop_assert_eq!(out, expected);
        }
    }
}
