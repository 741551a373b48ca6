//! Matrix products over row-major slices, computed on the calling thread.
//!
//! `out[i][j] (+)= sum_k a[i][k] b[k][j]`. Each sum is taken in the order of `k`, in blocks of `DEPTH`, and depends on nothing but row `i` of
//! `a` and column `j` of `b`: a row of a result has the same bits whatever the number of other rows, and so has a column.
//!
//! Rows of `b` are read as vectors and copied for that, a block at a time, to where the cache holds them (transposed if `b` is the transpose of
//! a row-major matrix). Numbers of `a` are read where they lie, unless `a` is a large transpose. Work is spread over threads one level up (by sentences), where a whole
//! forward and backward runs without a barrier.

use std::array::from_fn;
use std::cell::RefCell;

use heedful::simd::panel::Panel;
use heedful::simd::tiles::{self, Left, Right};
use heedful::simd::{Isa, MOST_LANES, Op, Tiles, dispatch};

use crate::Workspace;

/// Terms of a sum that are added up in registers, before they are added to the result.
const DEPTH: usize = 1024;
/// Columns of `b` that are copied at once.
const COLUMNS: usize = 256;
/// Rows of `a` that meet one panel of `b` after another while the cache holds them.
const ROWS: usize = 64;
/// Columns of a panel in tile registers, and of the largest one in vectors.
const PANEL: usize = 2 * MOST_LANES;
/// Up to this many rows, rows of `b` are read where they lie if they can be.
const FEW: usize = 32;
/// In tile registers: terms, and columns, of which thirds are kept at a time.
const TILE_DEPTH: usize = 256;
const TILE_COLUMNS: usize = 512;

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

impl Matrix<'_> {
    /// Whether all numbers are of a size that tile registers take.
    #[inline(always)]
    fn is_ordinary<I: Isa>(&self, isa: I) -> bool {
        let matrix = if self.column_stride == 1 { *self } else { self.t() };
        let whole = matrix.columns - matrix.columns % I::LANES;
        // 0 times what is no longer finite is NaN. Several sums side by side, for the sake of latency.
        let (zero, headroom) = (isa.splat(0.0), isa.splat(tiles::HEADROOM));
        let mut sums = [zero; 4];
        for i in 0..matrix.rows {
            let row = &matrix.data[i * matrix.row_stride..][..matrix.columns];
            for (n, x) in row[..whole].chunks_exact(I::LANES).enumerate() {
                sums[n % 4] = isa.fma(isa.mul(isa.load(x), headroom), zero, sums[n % 4]);
            }
            let rest = isa.load_partial(&row[whole..], 0.0);
            sums[3] = isa.fma(isa.mul(rest, headroom), zero, sums[3]);
        }
        let sum = isa.add(isa.add(sums[0], sums[1]), isa.add(sums[2], sums[3]));
        !isa.any(isa.not(isa.eq(sum, zero)))
    }
}

/// The right operand of many products, laid out once as the kernel of the running tier reads it: `[blocks of DEPTH][panels][terms][panel_width]`.
#[derive(Debug)]
pub struct Packed {
    panels: Vec<f32>,
    rows: usize,
    columns: usize,
}

impl Packed {
    /// Lays out `b` in a buffer of `workspace`.
    pub fn new(b: Matrix<'_>, workspace: &mut Workspace) -> Self {
        let mut panels = workspace.take(b.rows * b.columns.next_multiple_of(PANEL));
        dispatch(Pack { b, panels: &mut panels });
        Self { panels, rows: b.rows, columns: b.columns }
    }

    /// Gives its buffer back.
    pub fn release(self, workspace: &mut Workspace) {
        workspace.give(self.panels);
    }
}

struct Pack<'a> {
    b: Matrix<'a>,
    panels: &'a mut [f32],
}

impl Op for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { b, panels } = self;
        let padded = b.columns.next_multiple_of(panel_width::<I>());
        for k in (0..b.rows).step_by(DEPTH) {
            b.pack(isa, &mut panels[k * padded..], [k, 0], [(b.rows - k).min(DEPTH), b.columns]);
        }
    }
}

fn assert_fits(len: usize, rows: usize, columns: usize, row_stride: usize) {
    let needed = if rows == 0 || columns == 0 { 0 } else { (rows - 1).saturating_mul(row_stride).saturating_add(columns) };
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

/// `out += a b` where each row of `out` starts `row_stride` after the one before: the same bits as those of [`add_product_strided`].
pub fn add_packed_product_strided(out: &mut [f32], row_stride: usize, a: Matrix<'_>, b: &Packed) {
    dispatch(PackedProduct { sums: Sums::new(out, row_stride, a, [b.rows, b.columns], true), b });
}

/// `out = a b` for a gradient: in tile registers, where there are any, which is as exact as [`product`] and faster for many rows.
pub fn gradient_product(out: &mut [f32], a: Matrix<'_>, b: Matrix<'_>) {
    run_gradient(out, b.columns, a, b, false);
}

/// `out += a b` for a gradient; see [`gradient_product`].
pub fn add_gradient_product(out: &mut [f32], a: Matrix<'_>, b: Matrix<'_>) {
    run_gradient(out, b.columns, a, b, true);
}

/// `out += a b` for a gradient where each row of `out` starts `row_stride` after the one before; see [`gradient_product`].
pub fn add_gradient_product_strided(out: &mut [f32], row_stride: usize, a: Matrix<'_>, b: Matrix<'_>) {
    run_gradient(out, row_stride, a, b, true);
}

fn run(out: &mut [f32], row_stride: usize, a: Matrix<'_>, b: Matrix<'_>, accumulate: bool) {
    dispatch(Product::new(out, row_stride, a, b, accumulate));
}

fn run_gradient(out: &mut [f32], row_stride: usize, a: Matrix<'_>, b: Matrix<'_>, accumulate: bool) {
    dispatch(Gradient(Product::new(out, row_stride, a, b, accumulate)));
}

/// Columns of a panel: two vectors, so that what a sum reads lies side by side.
const fn panel_width<I: Isa>() -> usize {
    2 * I::LANES
}

thread_local! {
    /// The blocks of `a` and `b` that a product of this thread reads.
    static BLOCKS: RefCell<Blocks> = RefCell::default();
}

#[derive(Default)]
struct Blocks {
    /// `[ROWS][DEPTH]`
    a: Vec<f32>,
    /// `[columns / panel_width][terms][panel_width]`
    b: Vec<f32>,
    left: Left,
    /// One for each panel.
    right: Vec<Right>,
}

/// A result, and what is the same for it whatever the right operand looks like.
struct Sums<'a> {
    out: &'a mut [f32],
    row_stride: usize,
    a: Matrix<'a>,
    accumulate: bool,
}

/// Where panels of the right operand lie.
#[derive(Clone, Copy)]
struct Panels<'a> {
    data: &'a [f32],
    /// From panel to panel.
    stride: usize,
    /// From row to row of a panel.
    row_stride: usize,
}

struct Product<'a> {
    sums: Sums<'a>,
    b: Matrix<'a>,
}

impl<'a> Product<'a> {
    fn new(out: &'a mut [f32], row_stride: usize, a: Matrix<'a>, b: Matrix<'a>, accumulate: bool) -> Self {
        Self { sums: Sums::new(out, row_stride, a, [b.rows, b.columns], accumulate), b }
    }
}

impl Op for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self, isa: I) {
        let (a, b) = (self.sums.a, self.b);
        if a.rows == 0 || b.columns == 0 {
            return;
        }
        if a.columns == 0 && !self.sums.accumulate {
            for i in 0..a.rows {
                self.sums.out[i * self.sums.row_stride..][..b.columns].fill(0.0);
            }
        }
        let mut blocks = BLOCKS.take();
        let in_place = b.column_stride == 1 && a.rows <= FEW && b.columns.is_multiple_of(I::LANES);
        for k in (0..a.columns).step_by(DEPTH) {
            let terms = (a.columns - k).min(DEPTH);
            for j in (0..b.columns).step_by(COLUMNS) {
                let width = (b.columns - j).min(COLUMNS);
                let panels = if in_place {
                    Panels { data: &b.data[k * b.row_stride + j..], stride: panel_width::<I>(), row_stride: b.row_stride }
                } else {
                    let len = width.next_multiple_of(panel_width::<I>()) * terms;
                    if blocks.b.len() < len {
                        blocks.b.resize(len, 0.0);
                    }
                    b.pack(isa, &mut blocks.b, [k, j], [terms, width]);
                    Panels::packed(isa, &blocks.b, terms)
                };
                self.sums.add(isa, &mut blocks.a, panels, [j, k], [width, terms]);
            }
        }
        BLOCKS.set(blocks);
    }
}

struct PackedProduct<'a> {
    sums: Sums<'a>,
    b: &'a Packed,
}

impl Op for PackedProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self, isa: I) {
        let (depth, columns) = (self.b.rows, self.b.columns);
        let padded = columns.next_multiple_of(panel_width::<I>());
        let mut blocks = BLOCKS.take();
        for k in (0..depth).step_by(DEPTH) {
            let terms = (depth - k).min(DEPTH);
            let panels = Panels::packed(isa, &self.b.panels[k * padded..], terms);
            self.sums.add(isa, &mut blocks.a, panels, [0, k], [columns, terms]);
        }
        BLOCKS.set(blocks);
    }
}

/// A product of many rows.
struct Gradient<'a>(Product<'a>);

impl Op for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self, isa: I) {
        // Below this, laying out the operands takes longer than multiplying them. Whatever the number of rows, a row has the same bits.
        let (a, b) = (self.0.sums.a, self.0.b);
        let pays = b.columns >= PANEL && a.columns >= tiles::TERMS;
        match isa.tiles().filter(|_| pays && a.is_ordinary(isa) && b.is_ordinary(isa)) {
            Some(tiles) => self.0.in_tiles(isa, tiles),
            None => self.0.run(isa),
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn in_tiles<I: Isa>(&mut self, isa: I, tiles: Tiles) {
        let Self { sums: Sums { ref mut out, row_stride, a, accumulate }, b } = *self;
        let mut blocks = BLOCKS.take();
        blocks.b.resize(blocks.b.len().max(TILE_DEPTH * PANEL), 0.0);
        let registers = tiles.open();
        for k in (0..a.columns).step_by(TILE_DEPTH) {
            let terms = (a.columns - k).min(TILE_DEPTH);
            let accumulate = accumulate || k > 0;
            for j in (0..b.columns).step_by(TILE_COLUMNS) {
                let width = (b.columns - j).min(TILE_COLUMNS);
                let panels = width.div_ceil(PANEL);
                blocks.right.resize_with(panels.max(blocks.right.len()), Right::default);
                for (p, right) in blocks.right[..panels].iter_mut().enumerate() {
                    b.pack(isa, &mut blocks.b, [k, j + p * PANEL], [terms, (width - p * PANEL).min(PANEL)]);
                    right.fill(tiles, &blocks.b, PANEL, PANEL, terms);
                }
                for i in (0..a.rows).step_by(ROWS) {
                    let count = (a.rows - i).min(ROWS);
                    if a.column_stride == 1 {
                        blocks.left.fill(tiles, &a.data[i * a.row_stride + k..], a.row_stride, count, terms);
                    } else {
                        a.turn(isa, [i, k], [count, terms], &mut blocks.a, TILE_DEPTH);
                        blocks.left.fill(tiles, &blocks.a, TILE_DEPTH, count, terms);
                    }
                    for (p, right) in blocks.right[..panels].iter().enumerate() {
                        let (first, used) = (j + p * PANEL, (width - p * PANEL).min(PANEL));
                        let out = &mut out[i * row_stride + first..];
                        let product = |out, out_stride, accumulate| tiles::Product {
                            left: &blocks.left,
                            first: [0, 0],
                            right,
                            count,
                            out,
                            out_stride,
                            accumulate,
                        };
                        if used == PANEL {
                            registers.multiply(product(out, row_stride, accumulate));
                            continue;
                        }
                        let mut last = [0.0; ROWS * PANEL];
                        registers.multiply(product(&mut last, PANEL, false));
                        for (n, sums) in last.chunks_exact(PANEL).take(count).enumerate() {
                            for (cell, sum) in out[n * row_stride..][..used].iter_mut().zip(sums) {
                                *cell = sum + if accumulate { *cell } else { 0.0 };
                            }
                        }
                    }
                }
            }
        }
        drop(registers);
        BLOCKS.set(blocks);
    }
}

impl Matrix<'_> {
    /// Copies `[terms, width]` from `[k, j]` on, as panels `[width / panel_width][terms][panel_width]`, with zeros behind the last column.
    #[inline(always)]
    fn pack<I: Isa>(&self, isa: I, to: &mut [f32], [k, j]: [usize; 2], [terms, width]: [usize; 2]) {
        let panel_width = panel_width::<I>();
        let len = width.next_multiple_of(panel_width) * terms;
        for (p, panel) in to[..len].chunks_exact_mut(panel_width * terms).enumerate() {
            let first = j + p * panel_width;
            let used = (j + width - first).min(panel_width);
            if self.column_stride == 1 {
                for (l, row) in panel.chunks_exact_mut(panel_width).enumerate() {
                    let from = &self.data[(k + l) * self.row_stride + first..][..used];
                    if used == panel_width {
                        for at in (0..panel_width).step_by(I::LANES) {
                            isa.store(isa.load(&from[at..]), &mut row[at..]);
                        }
                    } else {
                        row[..used].copy_from_slice(from);
                        row[used..].fill(0.0);
                    }
                }
            } else {
                for lane in (0..panel_width).step_by(I::LANES) {
                    let used = used.saturating_sub(lane).min(I::LANES);
                    transpose(isa, self, [k, first + lane], [terms, used], &mut panel[lane..], panel_width);
                }
            }
        }
    }

    /// Copies `[count, terms]` of a transpose from `[i, k]` on as rows that are `stride` apart, with zeros behind the last term up to a whole vector.
    #[inline(always)]
    fn turn<I: Isa>(&self, isa: I, [i, k]: [usize; 2], [count, terms]: [usize; 2], to: &mut Vec<f32>, stride: usize) {
        if to.len() < ROWS * stride {
            to.resize(ROWS * stride, 0.0);
        }
        for first in (0..terms).step_by(I::LANES) {
            transpose(isa, self, [i, k + first], [count, (terms - first).min(I::LANES)], &mut to[first..], stride);
        }
    }
}

impl<'a> Panels<'a> {
    /// Panels of `terms` rows as [`Matrix::pack`] leaves them.
    #[inline(always)]
    fn packed<I: Isa>(_: I, data: &'a [f32], terms: usize) -> Self {
        Self { data, stride: panel_width::<I>() * terms, row_stride: panel_width::<I>() }
    }
}

impl<'a> Sums<'a> {
    /// `b` is the shape of the right operand.
    fn new(out: &'a mut [f32], row_stride: usize, a: Matrix<'a>, b: [usize; 2], accumulate: bool) -> Self {
        assert_eq!(a.columns, b[0], "inner dimensions of a product [{}, {}] x [{}, {}]", a.rows, a.columns, b[0], b[1]);
        assert_fits(out.len(), a.rows, b[1], row_stride);
        Self { out, row_stride, a, accumulate }
    }

    /// All rows, columns `j..j + width`, with terms `k..k + terms` of their sums.
    #[inline(always)]
    fn add<I: Isa>(&mut self, isa: I, copy: &mut Vec<f32>, panels: Panels<'_>, [j, k]: [usize; 2], [width, terms]: [usize; 2]) {
        for i in (0..self.a.rows).step_by(ROWS) {
            self.block(isa, copy, panels, [i, j, k], [(self.a.rows - i).min(ROWS), width, terms]);
        }
    }

    /// The same for rows `i..i + count`.
    #[inline(always)]
    fn block<I: Isa>(&mut self, isa: I, copy: &mut Vec<f32>, panels: Panels<'_>, [i, j, k]: [usize; 3], [count, width, terms]: [usize; 3]) {
        let (a, panel_width) = (self.a, panel_width::<I>());
        let accumulate = self.accumulate || k > 0;
        let mut scalars = &a.data[i * a.row_stride + k * a.column_stride..];
        let mut scalar_strides = [a.column_stride, a.row_stride];
        if a.row_stride == 1 && a.column_stride > 1 && width > PANEL {
            // Turned once, so that what one panel after another reads lies side by side.
            a.turn(isa, [i, k], [count, terms], copy, DEPTH);
            (scalars, scalar_strides) = (copy, [1, DEPTH]);
        }
        for (p, first) in (0..width).step_by(panel_width).enumerate() {
            let used = (width - first).min(panel_width);
            let whole = used - used % I::LANES;
            let (rows, row_stride) = (&panels.data[p * panels.stride..], panels.row_stride);
            let start = i * self.row_stride + j + first;
            if whole > 0 {
                let (out, out_stride) = (&mut self.out[start..], self.row_stride);
                isa.call(Panel {
                    width: whole,
                    depth: terms,
                    count,
                    rows,
                    row_stride,
                    scalars,
                    scalar_strides,
                    out,
                    out_stride,
                    accumulate,
                });
            }
            if whole < used {
                let mut last = [0.0; ROWS * MOST_LANES];
                let (rows, out) = (&rows[whole..], &mut last[..]);
                isa.call(Panel {
                    width: I::LANES,
                    depth: terms,
                    count,
                    rows,
                    row_stride,
                    scalars,
                    scalar_strides,
                    out,
                    out_stride: MOST_LANES,
                    accumulate: false,
                });
                for (n, sums) in last.chunks_exact(MOST_LANES).take(count).enumerate() {
                    let out = &mut self.out[start + n * self.row_stride + whole..][..used - whole];
                    for (cell, sum) in out.iter_mut().zip(sums) {
                        *cell = sum + if accumulate { *cell } else { 0.0 };
                    }
                }
            }
        }
    }
}

/// Writes `to[l][c] = b[k + l, j + c]` for `l < terms` and `c < LANES`, rows `stride` apart, with zeros from column `used` on.
#[inline(always)]
fn transpose<I: Isa>(isa: I, b: &Matrix<'_>, [k, j]: [usize; 2], [terms, used]: [usize; 2], to: &mut [f32], stride: usize) {
    let mut l = 0;
    if used == I::LANES {
        // Loops of constant length, so that the block stays in registers.
        while l + I::LANES <= terms {
            let from = &b.data[j * b.column_stride + k + l..];
            let mut rows: [I::Vector; MOST_LANES] =
                from_fn(|c| if c < I::LANES { isa.load(&from[c * b.column_stride..]) } else { isa.splat(0.0) });
            // Each round moves one bit of an element's column into its row, like a perfect shuffle.
            for _ in 0..I::LANES.ilog2() {
                let before = rows;
                for i in 0..I::LANES / 2 {
                    (rows[2 * i], rows[2 * i + 1]) = isa.interleave(before[i], before[i + I::LANES / 2]);
                }
            }
            let to = &mut to[l * stride..];
            for i in 0..I::LANES {
                isa.store(rows[i], &mut to[i * stride..]);
            }
            l += I::LANES;
        }
    }
    for l in l..terms {
        for c in 0..I::LANES {
            to[l * stride + c] = if c < used { b.data[(j + c) * b.column_stride + k + l] } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A column whose rows lie one after the other looks like a transposed matrix, but has no rows behind it to be gathered.
    #[test]
    fn a_column_times_a_row() {
        let (column, row) = ([2.0; ROWS], [3.0; 2 * PANEL + 1]);
        let mut out = vec![0.0; ROWS * row.len()];
        product(&mut out, Matrix::new(&column, ROWS, 1), Matrix::new(&row, 1, row.len()));
        assert_eq!(out, vec![6.0; ROWS * row.len()]);
        // And the transpose of a column, whose terms do.
        let (column, matrix) = ([2.0; 40], [3.0; 40 * 33]);
        let mut out = vec![0.0; 33];
        gradient_product(&mut out, Matrix::new(&column, 40, 1).t(), Matrix::new(&matrix, 40, 33));
        assert_eq!(out, vec![240.0; 33]);
    }

    #[test]
    #[should_panic(expected = "does not fit into 64 numbers")]
    fn a_stride_that_overflows_is_refused() {
        let (a, mut out) = ([1.0; 32 * 32], [0.0; 64]);
        // 31 times it is 15 beyond all numbers that there are.
        let stride = (usize::MAX / 31).wrapping_add(1);
        add_gradient_product_strided(&mut out, stride, Matrix::new(&a, 32, 32), Matrix::new(&a, 32, 32));
    }

    #[test]
    fn a_packed_product_without_rows_terms_or_columns_adds_nothing() {
        for [rows, terms, columns] in [[0, 3, 2], [3, 0, 2], [3, 2, 0]] {
            let (a, b, mut out) = (vec![1.0; rows * terms], vec![1.0; terms * columns], vec![5.0; rows * columns]);
            let packed = Packed::new(Matrix::new(&b, terms, columns), &mut Workspace::new());
            add_packed_product_strided(&mut out, columns, Matrix::new(&a, rows, terms), &packed);
            assert_eq!(out, vec![5.0; rows * columns]);
        }
    }

    proptest! {
        #[test]
        fn equals_the_triple_loop(m in 0usize..80, k in 0usize..40, n in 0usize..80, ta: bool, tb: bool, accumulate: bool, pad in 0usize..3) {
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

        #[test]
        fn gradients_are_as_exact_as_other_products(
            (m, k, n) in (1usize..100, 1usize..600, 1usize..600),
            (ta, tb, accumulate) in any::<(bool, bool, bool)>(),
            pad in 0usize..3,
            spoilt in prop::option::of(prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(3e38)]),
        ) {
            let number = |i: usize| ((i * 7919 + 5) % 2003) as f32 / 1001.0 - 1.0;
            let mut a: Vec<f32> = (0..m * k).map(number).collect();
            let b: Vec<f32> = (0..k * n).map(|i| number(i + 70)).collect();
            if let Some(spoilt) = spoilt {
                a[m * k / 2] = spoilt;
            }
            let left = if ta { Matrix::new(&a, k, m).t() } else { Matrix::new(&a, m, k) };
            let right = if tb { Matrix::new(&b, n, k).t() } else { Matrix::new(&b, k, n) };
            let stride = n + pad;
            let mut out: Vec<f32> = (0..m * stride).map(|i| number(i + 11)).collect();
            let mut expected = out.clone();
            if accumulate {
                add_gradient_product_strided(&mut out, stride, left, right);
                add_product_strided(&mut expected, stride, left, right);
            } else {
                let (mut dense, mut expected_dense) = (vec![f32::NAN; m * n], vec![0.0; m * n]);
                gradient_product(&mut dense, left, right);
                product(&mut expected_dense, left, right);
                (out, expected) = (dense, expected_dense);
            }
            for (out, expected) in out.iter().zip(&expected) {
                // A sum of k products of numbers up to 1.
                let same = out == expected || (out - expected).abs() <= 1e-6 * (k as f32 + expected.abs());
                prop_assert!(same || (out.is_nan() && expected.is_nan()), "{} for {}", out, expected);
            }
        }

        #[test]
        fn a_row_has_the_same_bits_whatever_the_other_rows(m in 1usize..80, k in 1usize..40, n in 1usize..70, tb: bool, deep: bool) {
            let k = if deep { k + 2 * DEPTH } else { k };
            let number = |i: usize| ((i * 37 % 97) as f32 - 48.0) / 7.0;
            let (a, b): (Vec<f32>, Vec<f32>) = ((0..m * k).map(number).collect(), (0..k * n).map(|i| number(i + 5)).collect());
            let right = if tb { Matrix::new(&b, n, k).t() } else { Matrix::new(&b, k, n) };
            let (mut together, mut alone) = (vec![0.0; m * n], vec![0.0; n]);
            product(&mut together, Matrix::new(&a, m, k), right);
            for (a, row) in a.chunks(k).zip(together.chunks(n)) {
                product(&mut alone, Matrix::new(a, 1, k), right);
                prop_assert_eq!(&alone, row);
            }
            let mut from_packed = vec![0.0; m * n];
            let packed = Packed::new(right, &mut Workspace::new());
            add_packed_product_strided(&mut from_packed, n, Matrix::new(&a, m, k), &packed);
            prop_assert_eq!(from_packed, together);
        }
    }
}
