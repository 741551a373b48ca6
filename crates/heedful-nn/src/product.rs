//! Matrix products over row-major slices, computed by the `gemm` crate on the calling thread.
//!
//! A few rows times the transpose of a row-major matrix, which is what a decoder asks for at each step, is computed here: `gemm` would spend
//! most of its time on packing the matrix.
//!
//! Work is spread over threads one level up (by sentences), where a whole forward and backward runs without a barrier.

use gemm::Parallelism;
use heedful::simd::{Isa, Op, dispatch};

/// Up to this many rows are few.
const FEW: usize = 16;

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
    if a.rows <= FEW && a.column_stride == 1 && b.row_stride == 1 {
        return dispatch(FewRows { out, row_stride, a, b, accumulate });
    }
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

/// `out = a b` or `out += a b` by dot products: rows of `a` and columns of `b` are contiguous, and `b` is read once.
struct FewRows<'a> {
    out: &'a mut [f32],
    row_stride: usize,
    a: Matrix<'a>,
    b: Matrix<'a>,
    accumulate: bool,
}

impl Op for FewRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        for j in 0..self.b.columns {
            let column = contiguous(self.b.data, j * self.b.column_stride, self.b.rows);
            let mut i = 0;
            while i < self.a.rows {
                let rows = (self.a.rows - i).min(4);
                // A row beyond the last repeats it; its product is not used.
                let row = |r: usize| contiguous(self.a.data, (i + r.min(rows - 1)) * self.a.row_stride, self.a.columns);
                let products = four_dots(isa, column, [row(0), row(1), row(2), row(3)]);
                for (r, product) in products.into_iter().take(rows).enumerate() {
                    let cell = &mut self.out[(i + r) * self.row_stride + j];
                    *cell = product + if self.accumulate { *cell } else { 0.0 };
                }
                i += rows;
            }
        }
    }
}

/// `len` numbers from `start` on; none at all may start anywhere.
#[inline(always)]
fn contiguous(data: &[f32], start: usize, len: usize) -> &[f32] {
    if len == 0 { &[] } else { &data[start..start + len] }
}

/// The products of one vector with four others of the same length.
#[inline(always)]
fn four_dots<I: Isa>(isa: I, x: &[f32], ys: [&[f32]; 4]) -> [f32; 4] {
    let [y0, y1, y2, y3] = ys.map(|y| &y[..x.len()]);
    let (mut s0, mut s1, mut s2, mut s3) = (isa.splat(0.0), isa.splat(0.0), isa.splat(0.0), isa.splat(0.0));
    let whole = x.len() - x.len() % I::LANES;
    for at in (0..whole).step_by(I::LANES) {
        let x = isa.load(&x[at..]);
        s0 = isa.fma(x, isa.load(&y0[at..]), s0);
        s1 = isa.fma(x, isa.load(&y1[at..]), s1);
        s2 = isa.fma(x, isa.load(&y2[at..]), s2);
        s3 = isa.fma(x, isa.load(&y3[at..]), s3);
    }
    if whole < x.len() {
        let x = isa.load_partial(&x[whole..], 0.0);
        s0 = isa.fma(x, isa.load_partial(&y0[whole..], 0.0), s0);
        s1 = isa.fma(x, isa.load_partial(&y1[whole..], 0.0), s1);
        s2 = isa.fma(x, isa.load_partial(&y2[whole..], 0.0), s2);
        s3 = isa.fma(x, isa.load_partial(&y3[whole..], 0.0), s3);
    }
    [isa.sum(s0), isa.sum(s1), isa.sum(s2), isa.sum(s3)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_the_triple_loop(m in 0usize..24, k in 0usize..40, n in 0usize..40, ta: bool, tb: bool, accumulate: bool, pad in 0usize..3) {
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
