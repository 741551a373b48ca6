//! The three matrix products of attention on one tile: some keys by [`ROWS`] queries.
//!
//! Queries lie side by side in the lanes: a tile `x` is `[keys][ROWS]`, a transposed block of queries is `[dim][ROWS]`. So no product
//! sums over lanes, and keys and values are read where they lie.

use crate::simd::Isa;

/// Queries in a tile.
pub const ROWS: usize = 16;

/// Rows of a matrix that may lie apart.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Begins with the first row.
    pub data: &'a [f32],
    /// From row to row.
    pub stride: usize,
    /// Elements in a row.
    pub width: usize,
}

impl<'a> Rows<'a> {
    #[inline(always)]
    fn get(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.stride..][..self.width]
    }
}

/// `out[j][r] = sum_c a[j][c] b[c][r]` for the first `out.len() / ROWS` rows of `a`.
#[inline(always)]
pub fn times<I: Isa>(isa: I, a: Rows<'_>, b: &[f32], out: &mut [f32]) {
    const BLOCK: usize = 4;
    let mut blocks = out.chunks_exact_mut(BLOCK * ROWS);
    let mut row = 0;
    for out in &mut blocks {
        times_block::<I, BLOCK>(isa, a, row, b, out);
        row += BLOCK;
    }
    for out in blocks.into_remainder().chunks_exact_mut(ROWS) {
        times_block::<I, 1>(isa, a, row, b, out);
        row += 1;
    }
}

#[inline(always)]
fn times_block<I: Isa, const N: usize>(isa: I, a: Rows<'_>, row: usize, b: &[f32], out: &mut [f32]) {
    let rows: [&[f32]; N] = std::array::from_fn(|n| a.get(row + n));
    for lane in (0..ROWS).step_by(I::LANES) {
        let mut sums = [isa.splat(0.0); N];
        for (c, b) in b.chunks_exact(ROWS).enumerate().take(a.width) {
            let b = isa.load(&b[lane..]);
            for n in 0..N {
                sums[n] = isa.fma(isa.splat(rows[n][c]), b, sums[n]);
            }
        }
        for n in 0..N {
            isa.store(sums[n], &mut out[n * ROWS + lane..]);
        }
    }
}

/// `out[c][r] += sum_j a[j][c] x[j][r]` over the `x.len() / ROWS` rows of a tile.
#[inline(always)]
pub fn add_transposed_times<I: Isa>(isa: I, a: Rows<'_>, x: &[f32], out: &mut [f32]) {
    const BLOCK: usize = 8;
    let out = &mut out[..a.width * ROWS];
    let mut blocks = out.chunks_exact_mut(BLOCK * ROWS);
    let mut column = 0;
    for out in &mut blocks {
        add_transposed_block::<I, BLOCK>(isa, a, column, x, out);
        column += BLOCK;
    }
    for out in blocks.into_remainder().chunks_exact_mut(ROWS) {
        add_transposed_block::<I, 1>(isa, a, column, x, out);
        column += 1;
    }
}

#[inline(always)]
fn add_transposed_block<I: Isa, const N: usize>(isa: I, a: Rows<'_>, column: usize, x: &[f32], out: &mut [f32]) {
    for lane in (0..ROWS).step_by(I::LANES) {
        let mut sums: [I::Vector; N] = std::array::from_fn(|n| isa.load(&out[n * ROWS + lane..]));
        for (j, x) in x.chunks_exact(ROWS).enumerate() {
            let x = isa.load(&x[lane..]);
            let a = &a.data[j * a.stride + column..][..N];
            for n in 0..N {
                sums[n] = isa.fma(isa.splat(a[n]), x, sums[n]);
            }
        }
        for n in 0..N {
            isa.store(sums[n], &mut out[n * ROWS + lane..]);
        }
    }
}

/// `out[j][c] += sum_r x[j][r] b[r][c]` over the first `b.len() / width` queries of a tile; rows of `b` and `out` have `width` elements.
#[inline(always)]
pub fn add_times<I: Isa>(isa: I, x: &[f32], b: &[f32], width: usize, out: &mut [f32]) {
    const BLOCK: usize = 4;
    let keys = x.len() / ROWS;
    let mut key = 0;
    while key + BLOCK <= keys {
        add_times_block::<I, BLOCK>(isa, &x[key * ROWS..], b, width, &mut out[key * width..]);
        key += BLOCK;
    }
    while key < keys {
        add_times_block::<I, 1>(isa, &x[key * ROWS..], b, width, &mut out[key * width..]);
        key += 1;
    }
}

#[inline(always)]
fn add_times_block<I: Isa, const N: usize>(isa: I, x: &[f32], b: &[f32], width: usize, out: &mut [f32]) {
    let x: [&[f32]; N] = std::array::from_fn(|n| &x[n * ROWS..][..ROWS]);
    for column in (0..width).step_by(I::LANES) {
        let end = (column + I::LANES).min(width);
        let mut sums: [I::Vector; N] = std::array::from_fn(|n| isa.load_partial(&out[n * width + column..n * width + end], 0.0));
        for (r, b) in b.chunks_exact(width).enumerate().take(ROWS) {
            let b = isa.load_partial(&b[column..end], 0.0);
            for n in 0..N {
                sums[n] = isa.fma(isa.splat(x[n][r]), b, sums[n]);
            }
        }
        for n in 0..N {
            isa.store_partial(sums[n], &mut out[n * width + column..n * width + end]);
        }
    }
}
