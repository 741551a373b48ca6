//! Which queries a tile holds, and its operands laid out for vectors.
//!
//! In a tile of scores the queries lie side by side in the lanes, `[keys][width]`: then softmax, masks and their sums run lane by lane,
//! and keys, values and gradients are read where they lie, as rows or as single numbers. Only queries (and gradients of contexts) have
//! to be transposed.

use std::ops::Range;

use super::lanes::{Axpy, ScaleInto, elementwise};
use crate::problem::{Problem, Sequence};
use crate::simd::Isa;
use crate::simd::buffer::Buffer;
use crate::simd::tiles::HEADROOM;
use crate::simd::transpose::{Transpose, transpose};
use crate::{Element, View, ViewMut};

/// Most queries in a tile.
pub(crate) const ROWS: usize = 32;
/// Most keys in a tile.
pub(crate) const KEYS: usize = 128;
/// Rows that are read as vectors are padded to a multiple of the lanes of the largest tier.
pub(crate) use crate::simd::MOST_LANES;

/// Which queries the lanes of a tile hold. The query heads that share a key/value head lie side by side: row `i` of the `q_len * group`
/// rows of a sequence is query `i / group` of the group's head `i % group`, so that the rows of a tile look at nearly the same keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lanes {
    /// Lanes in use.
    pub count: usize,
    /// Lanes of the tile, from one query's score to the same query's next: a multiple of the tier's lanes.
    pub width: usize,
    /// Head of each lane.
    pub heads: [usize; ROWS],
    /// Query of each lane, counted in its sequence; ascending.
    pub queries: [usize; ROWS],
    slopes: [f32; ROWS],
}

impl Lanes {
    /// Takes the first of the rows `rows` of the heads that share a key/value head: at least one.
    #[inline(always)]
    pub fn take_rows<Q: Element, K: Element>(
        &mut self,
        problem: &Problem<'_, Q, K>,
        sequence: &Sequence,
        kv_head: usize,
        rows: Range<usize>,
    ) {
        let group = problem.group();
        let heads = kv_head * group..(kv_head + 1) * group;
        self.take(problem, sequence, heads.clone(), (heads.start + rows.start % group, rows.start / group), rows.len());
    }

    /// Takes the first of the queries `queries` of one head: at least one.
    pub fn take_head<Q: Element, K: Element>(
        &mut self,
        problem: &Problem<'_, Q, K>,
        sequence: &Sequence,
        head: usize,
        queries: Range<usize>,
    ) {
        self.take(problem, sequence, head..head + 1, (head, queries.start), queries.len());
    }

    #[inline(always)]
    fn take<Q: Element, K: Element>(
        &mut self,
        problem: &Problem<'_, Q, K>,
        sequence: &Sequence,
        heads: Range<usize>,
        (mut head, mut query): (usize, usize),
        rows: usize,
    ) {
        self.count = rows.min(ROWS);
        self.width = self.count.next_multiple_of(MOST_LANES);
        for r in 0..self.count {
            (self.queries[r], self.heads[r]) = (query, head);
            head += 1;
            if head == heads.end {
                (query, head) = (query + 1, heads.start);
            }
        }
        if problem.alibi.is_some() {
            self.slopes = [0.0; ROWS];
            for r in 0..self.count {
                self.slopes[r] = problem.slope(sequence.index, self.heads[r]);
            }
        }
    }

    /// The slope of ALiBi of each lane.
    pub fn slopes(&self) -> &[f32; ROWS] {
        &self.slopes
    }

    /// The smallest range that holds the queries of all lanes.
    pub fn queries(&self) -> Range<usize> {
        self.queries[0]..self.queries[self.count - 1] + 1
    }

    /// Where row `r` of a tensor `[batch, heads, len, dim]` starts.
    pub fn row<T: Copy>(&self, tensor: &View<'_, T>, sequence: &Sequence, r: usize) -> usize {
        tensor.layout().row(sequence.batch, self.heads[r], sequence.queries.start + self.queries[r])
    }

    /// The lanes' rows of a tensor `[batch, heads, len, dim]`, times `factor`, transposed to `to[c][r]`. Idle lanes become 0.
    #[inline(always)]
    pub fn transpose<I: Isa, T: Element>(&self, isa: I, tensor: &View<'_, T>, sequence: &Sequence, factor: f32, to: &mut Buffer) {
        let dim = tensor.shape()[3];
        let [_, _, from_stride, stride] = tensor.layout().strides();
        // Whole blocks are written, whose last rows are then cut off.
        to.resize(padded(dim) * self.width);
        match T::as_f32s(tensor.data()) {
            // Rows of one head, as far apart from each other.
            Some(data) if stride == 1 && (self.count == 1 || self.heads[0] == self.heads[1]) => {
                let from = &data[self.row(tensor, sequence, 0).min(data.len())..];
                let (rows, lanes) = (self.count, self.width);
                isa.call(Transpose { rows, columns: dim, lanes, from, from_stride, factor, to, to_stride: lanes });
            }
            _ => self.transpose_any(isa, tensor, sequence, factor, to),
        }
        to.resize(dim * self.width);
    }

    /// [`Self::transpose`] of rows that lie anywhere, of any type, into `[padded dim][width]`.
    #[inline(always)]
    fn transpose_any<I: Isa, T: Element>(&self, isa: I, tensor: &View<'_, T>, sequence: &Sequence, factor: f32, to: &mut [f32]) {
        let dim = tensor.shape()[3];
        let stride = tensor.layout().strides()[3];
        let factors = isa.splat(factor);
        for lane in (0..self.width).step_by(I::LANES) {
            let used = self.count.saturating_sub(lane).min(I::LANES);
            for c in (0..dim).step_by(I::LANES) {
                let columns = (dim - c).min(I::LANES);
                let mut block = [isa.splat(0.0); MOST_LANES];
                for i in 0..used {
                    let start = self.row(tensor, sequence, lane + i) + c * stride;
                    block[i] = if stride != 1 {
                        let mut row = [0.0; MOST_LANES];
                        copy_row(isa, tensor.data(), start, stride, &mut row[..columns]);
                        isa.load(&row)
                    } else if columns == I::LANES {
                        T::load(isa, &tensor.data()[start..])
                    } else {
                        T::load_partial(isa, &tensor.data()[start..start + columns])
                    };
                }
                transpose(isa, &mut block);
                for i in 0..I::LANES {
                    isa.store(isa.mul(block[i], factors), &mut to[(c + i) * self.width + lane..]);
                }
            }
        }
    }

    /// The lanes' rows of a tensor `[batch, heads, len, dim]` as rows that can be read as vectors, `[count][padded dim]`.
    #[inline(always)]
    pub fn gather<I: Isa, T: Element>(&self, isa: I, tensor: &View<'_, T>, sequence: &Sequence, to: &mut [f32]) {
        let dim = tensor.shape()[3];
        let stride = tensor.layout().strides()[3];
        for (r, to) in to.chunks_exact_mut(padded(dim).max(1)).take(self.count).enumerate() {
            copy_row(isa, tensor.data(), self.row(tensor, sequence, r), stride, &mut to[..dim]);
        }
    }
}

/// The width to which a row of `width` elements is padded in order to be read as vectors on every tier.
#[inline(always)]
pub(crate) fn padded(width: usize) -> usize {
    width.next_multiple_of(MOST_LANES)
}

/// Transposes `count` rows of `columns` numbers, `stride` apart: `to[c * to_stride + j]`. Further rows, up to a multiple of the lanes, count as
/// 0; `columns` is such a multiple.
#[inline(always)]
pub(crate) fn transpose_rows<I: Isa>(isa: I, from: &[f32], stride: usize, [count, columns]: [usize; 2], to: &mut [f32], to_stride: usize) {
    for j in (0..count).step_by(I::LANES) {
        for c in (0..columns).step_by(I::LANES) {
            let mut block = [isa.splat(0.0); MOST_LANES];
            if count - j >= I::LANES {
                for i in 0..I::LANES {
                    block[i] = isa.load(&from[(j + i) * stride + c..]);
                }
            } else {
                for i in 0..count - j {
                    block[i] = isa.load(&from[(j + i) * stride + c..]);
                }
            }
            transpose(isa, &mut block);
            for i in 0..I::LANES {
                isa.store(block[i], &mut to[(c + i) * to_stride + j..]);
            }
        }
    }
}

#[inline(always)]
fn copy_row<I: Isa, T: Element>(isa: I, data: &[T], start: usize, stride: usize, to: &mut [f32]) {
    if stride == 1 {
        T::widen(isa, &data[start..start + to.len()], to);
    } else {
        to.iter_mut().enumerate().for_each(|(c, to)| *to = data[start + c * stride].to_f32());
    }
}

/// Writes a row, times `factor`, into a tensor `[batch, heads, len, dim]`.
#[inline(always)]
pub(crate) fn write_row<I: Isa>(isa: I, to: &mut ViewMut<'_>, place: [usize; 3], factor: f32, row: &[f32]) {
    let row = &row[..to.shape()[3]];
    match to.row_mut(place) {
        Ok(to) => elementwise(isa, [row], [to], &ScaleInto(factor)),
        Err(to) => to.zip(row).for_each(|(to, x)| *to = x * factor),
    }
}

/// Adds a row, times `factor`, to one of a tensor `[batch, heads, len, dim]`.
#[inline(always)]
pub(crate) fn add_row<I: Isa>(isa: I, to: &mut ViewMut<'_>, place: [usize; 3], factor: f32, row: &[f32]) {
    let row = &row[..to.shape()[3]];
    match to.row_mut(place) {
        Ok(to) => elementwise(isa, [row], [to], &Axpy(factor)),
        Err(to) => to.zip(row).for_each(|(to, x)| *to += x * factor),
    }
}

/// Asks for a row of keys or values that is soon to be read. Processors do not see by themselves where a tile goes on.
#[inline(always)]
pub(crate) fn prefetch_row<I: Isa, T: Element>(isa: I, tensor: &View<'_, T>, [batch, head, position]: [usize; 3]) {
    const LINE: usize = 64;
    let (width, [_, _, _, column_stride]) = (tensor.shape()[3], tensor.layout().strides());
    if column_stride == 1 && width > 0 {
        let start = tensor.layout().row(batch, head, position);
        for line in tensor.data()[start..start + width].chunks(LINE / size_of::<T>()) {
            isa.prefetch(line);
        }
    }
}

/// Rows of a matrix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    /// Begins with the first row.
    pub data: &'a [f32],
    /// From row to row.
    pub stride: usize,
    /// From column to column.
    pub column_stride: usize,
}

impl<'a> Rows<'a> {
    /// Rows of keys or values of one head of a sequence, where they lie if they can be read there, and else copied to `buffer`, padded with
    /// zeros. Those to be read `as_vectors` must be side by side and a multiple of the lanes.
    #[inline(always)]
    pub fn new<I: Isa, T: Element>(
        isa: I,
        tensor: &View<'a, T>,
        sequence: &Sequence,
        head: usize,
        keys: Range<usize>,
        as_vectors: bool,
        buffer: &'a mut Buffer,
    ) -> Self {
        Self::from(isa, tensor, [sequence.batch, head, sequence.first_key + keys.start], keys.len(), as_vectors, buffer)
    }

    /// `count` rows of a tensor `[batch, heads, len, dim]` from `[batch, head, position]` on; see [`Rows::new`].
    #[inline(always)]
    pub fn from<I: Isa, T: Element>(
        isa: I,
        tensor: &View<'a, T>,
        [batch, head, position]: [usize; 3],
        count: usize,
        as_vectors: bool,
        buffer: &'a mut Buffer,
    ) -> Self {
        let [_, _, stride, column_stride] = tensor.layout().strides();
        let width = tensor.shape()[3];
        let start = tensor.layout().row(batch, head, position);
        if let Some(data) = T::as_f32s(tensor.data())
            && (!as_vectors || (column_stride == 1 && padded(width) == width))
        {
            return Self { data: &data[start.min(data.len())..], stride, column_stride };
        }
        let padded = padded(width);
        buffer.resize(count * padded);
        for (j, to) in buffer.chunks_exact_mut(padded.max(1)).enumerate() {
            if column_stride == 1 {
                let row = &tensor.data()[start + j * stride..][..width];
                for (c, to) in (0..padded).step_by(I::LANES).zip(to.chunks_exact_mut(I::LANES)) {
                    isa.store(if c + I::LANES <= width { T::load(isa, &row[c..]) } else { T::load_partial(isa, &row[c.min(width)..]) }, to);
                }
            } else {
                let (to, padding) = to.split_at_mut(width);
                copy_row(isa, tensor.data(), start + j * stride, column_stride, to);
                padding.fill(0.0);
            }
        }
        Self { data: buffer, stride: padded, column_stride: 1 }
    }

    /// Without the first `count` rows.
    #[inline(always)]
    pub fn skip(self, count: usize) -> Self {
        Self { data: &self.data[(count * self.stride).min(self.data.len())..], ..self }
    }

    /// Whether the first `count` rows hold no NaN, no infinity and nothing of `2^121` or more; they must have been made to be read as vectors, `width`
    /// of them.
    #[inline(always)]
    pub fn are_ordinary<I: Isa>(self, isa: I, count: usize, width: usize) -> bool {
        self.are_finite_times(isa, HEADROOM, count, width)
    }

    /// Whether the first `count` rows hold no NaN and nothing that `factor` makes infinite; see [`are_ordinary`](Self::are_ordinary).
    #[inline(always)]
    pub fn are_finite_times<I: Isa>(self, isa: I, factor: f32, count: usize, width: usize) -> bool {
        if width == 0 {
            return true;
        }
        // 0 times what is no longer finite is NaN. Several sums side by side, for the sake of latency.
        let mut sums = [isa.splat(0.0); 4];
        for first in (0..count).step_by(sums.len()) {
            for c in (0..width).step_by(I::LANES) {
                for i in 0..sums.len() {
                    // Of less than four rows, the last one takes the place of those that are missing.
                    let x = isa.load(&self.data[(first + i).min(count - 1) * self.stride + c..]);
                    sums[i] = isa.fma(isa.mul(x, isa.splat(factor)), isa.splat(0.0), sums[i]);
                }
            }
        }
        let sum = isa.add(isa.add(sums[0], sums[1]), isa.add(sums[2], sums[3]));
        !isa.any(isa.not(isa.eq(sum, isa.splat(0.0))))
    }
}
