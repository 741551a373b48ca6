//! Tensors as the caller holds them: a slice, a shape `[batch, heads, len, dim]` and strides.

use std::ops::Range;

use half::{bf16, f16};

use crate::simd::{Isa, MOST_LANES};
use crate::{Error, Result};

/// How the numbers of a tensor are stored: f32, f16 or bf16. Arithmetic is f32 for all of them.
pub trait Element: sealed::Sealed + Copy + Default + Send + Sync + 'static {
    /// The number, exactly.
    fn to_f32(self) -> f32;
    /// The nearest number of this type, ties to even.
    fn from_f32(value: f32) -> Self;
    /// The first `LANES` numbers of a slice, exactly.
    #[doc(hidden)]
    fn load<I: Isa>(isa: I, from: &[Self]) -> I::Vector;
    /// The numbers of a slice into one of the same length, exactly, with the instructions of `isa`.
    #[doc(hidden)]
    #[inline(always)]
    fn widen<I: Isa>(isa: I, from: &[Self], to: &mut [f32]) {
        let whole = from.len() - from.len() % I::LANES;
        let ((from, from_rest), (to, to_rest)) = (from.split_at(whole), to.split_at_mut(whole));
        for (from, to) in from.chunks_exact(I::LANES).zip(to.chunks_exact_mut(I::LANES)) {
            isa.store(Self::load(isa, from), to);
        }
        isa.store_partial(Self::load_partial(isa, from_rest), to_rest);
    }
    /// The first `min(len, LANES)` numbers of a slice, exactly, and 0 in the lanes that remain.
    #[doc(hidden)]
    #[inline(always)]
    fn load_partial<I: Isa>(isa: I, from: &[Self]) -> I::Vector {
        let mut numbers = [0.0; MOST_LANES];
        numbers.iter_mut().zip(from).for_each(|(to, from)| *to = from.to_f32());
        isa.load(&numbers)
    }
    /// The same slice, if this is f32.
    fn as_f32s(_slice: &[Self]) -> Option<&[f32]> {
        None
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::f16 {}
    impl Sealed for half::bf16 {}
}

impl Element for f32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }
    #[inline(always)]
    fn load<I: Isa>(isa: I, from: &[Self]) -> I::Vector {
        isa.load(from)
    }
    #[inline(always)]
    fn load_partial<I: Isa>(isa: I, from: &[Self]) -> I::Vector {
        isa.load_partial(from, 0.0)
    }
    #[inline(always)]
    fn as_f32s(slice: &[Self]) -> Option<&[f32]> {
        Some(slice)
    }
}

impl Element for f16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        f16::from_f32(value)
    }
    #[inline(always)]
    fn load<I: Isa>(isa: I, from: &[Self]) -> I::Vector {
        isa.load_f16(from)
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        bf16::to_f32(self)
    }
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        bf16::from_f32(value)
    }
    #[inline(always)]
    fn load<I: Isa>(isa: I, from: &[Self]) -> I::Vector {
        isa.load_bf16(from)
    }
}

/// Where each element of a tensor `[batch, heads, len, dim]` lies in a slice: `sum(index[i] * strides[i])`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    shape: [usize; 4],
    strides: [usize; 4],
}

impl Layout {
    /// Row-major, without gaps.
    ///
    /// # Errors
    /// If the number of elements exceeds `usize`.
    #[inline]
    pub fn contiguous(shape: [usize; 4]) -> Result<Self> {
        Ok(Self::count_contiguous(shape)?.0)
    }

    /// Row-major, without gaps, and how many elements that are.
    #[inline(always)]
    fn count_contiguous(shape: [usize; 4]) -> Result<(Self, usize)> {
        let [batch, heads, len, dim] = shape.map(|n| n.max(1));
        let (head, many_rows) = dim.overflowing_mul(len);
        let (sequence, many_heads) = head.overflowing_mul(heads);
        let (all, many_sequences) = sequence.overflowing_mul(batch);
        if many_rows | many_heads | many_sequences {
            return Err(too_large_contiguous(shape));
        }
        let layout = Self { shape, strides: [sequence, head, dim, 1] };
        Ok((layout, if layout.is_empty() { 0 } else { all }))
    }

    /// Row-major, without gaps, over a slice of exactly that many elements.
    #[inline(always)]
    fn contiguous_over(shape: [usize; 4], len: usize) -> Result<Self> {
        let (layout, needed) = Self::count_contiguous(shape)?;
        if needed == len { Ok(layout) } else { Err(layout.wrong_length(needed, len)) }
    }

    #[cold]
    fn wrong_length(&self, needed: usize, len: usize) -> Error {
        self.error(len, format!("this shape needs {needed} elements: pass a slice of that length or use `strided`"))
    }

    /// Any strides, in elements. A stride of 0 repeats the same elements along that dimension.
    ///
    /// # Errors
    /// If the last offset exceeds `usize`.
    #[inline]
    pub fn strided(shape: [usize; 4], strides: [usize; 4]) -> Result<Self> {
        let layout = Self { shape, strides };
        let extent = |sum: usize, i: usize| sum.checked_add(shape[i].saturating_sub(1).checked_mul(strides[i])?);
        let elements = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        match ((0..4).try_fold(1, extent), elements) {
            (Some(_), Some(_)) => Ok(layout),
            _ => Err(too_large(shape, strides)),
        }
    }

    /// `[batch, heads, len, dim]`
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// How far apart neighbours along each dimension are, in elements.
    pub fn strides(&self) -> [usize; 4] {
        self.strides
    }

    /// Where the row `[batch, head, position, ..]` starts.
    #[inline(always)]
    pub(crate) fn row(&self, batch: usize, head: usize, position: usize) -> usize {
        batch * self.strides[0] + head * self.strides[1] + position * self.strides[2]
    }

    /// One past the last element that is reached.
    fn end(&self) -> usize {
        if self.is_empty() { 0 } else { 1 + (0..4).map(|i| (self.shape[i] - 1) * self.strides[i]).sum::<usize>() }
    }

    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    fn fits(&self, len: usize) -> Result<()> {
        let end = self.end();
        if end <= len {
            Ok(())
        } else {
            Err(self.error(len, format!("its last element is number {end}: pass a longer slice or smaller strides")))
        }
    }

    /// Whether two indices may lie at the same place; exact for every layout that comes from permuting, slicing or padding.
    fn overlaps_itself(&self) -> bool {
        let mut dims: Vec<usize> = (0..4).filter(|&i| self.shape[i] > 1).collect();
        dims.sort_unstable_by_key(|&i| self.strides[i]);
        let mut reach = 0;
        !self.is_empty()
            && dims.into_iter().any(|i| {
                let collides = self.strides[i] <= reach;
                reach += (self.shape[i] - 1) * self.strides[i];
                collides
            })
    }

    /// Whether this tensor and another in the same slice, `distance` elements further on, have a place in common.
    ///
    /// A place in common is a solution of `sum_i e_i stride_i = distance`, with the indices of this tensor counted up and those of the other
    /// down. It is looked for from the largest stride on, with bounds on what the smaller ones can still make up for.
    fn meets(&self, other: &Self, distance: isize) -> bool {
        if self.is_empty() || other.is_empty() {
            return false;
        }
        // How far each index can be counted, down and up.
        let mut steps = [(0, [0, 0]); 8];
        for i in 0..4 {
            steps[i] = (self.strides[i] as isize, [0, self.shape[i] as isize - 1]);
            steps[4 + i] = (other.strides[i] as isize, [1 - other.shape[i] as isize, 0]);
        }
        steps.sort_unstable_by_key(|&(stride, _)| std::cmp::Reverse(stride));
        // Indices along equal strides count as one.
        for i in 1..8 {
            if steps[i].0 == steps[i - 1].0 {
                let [low, high] = std::mem::take(&mut steps[i - 1].1);
                steps[i].1 = [steps[i].1[0] + low, steps[i].1[1] + high];
            }
        }
        reaches(&steps, distance)
    }

    fn writable(&self, len: usize) -> Result<()> {
        self.fits(len)?;
        if self.overlaps_itself() {
            return Err(self.error(len, "some elements share a place, so it cannot be written: enlarge the strides".into()));
        }
        Ok(())
    }

    #[cold]
    fn error(&self, len: usize, fix: String) -> Error {
        Error::View { shape: self.shape, strides: self.strides, len, fix }
    }
}

/// Whether `distance` is a sum of strides, each taken a number of times within its bounds. Strides descend.
fn reaches(steps: &[(isize, [isize; 2])], distance: isize) -> bool {
    let Some((&(stride, [low, high]), rest)) = steps.split_first() else { return distance == 0 };
    if stride == 0 || low == high {
        return reaches(rest, distance);
    }
    let bound = |end: usize| rest.iter().map(|(stride, ends)| stride * ends[end]).sum::<isize>();
    let (least, most) = (bound(0), bound(1));
    // Where strides lie within each other, as those of tensors do, one or two counts are left.
    let first = (distance - most).div_euclid(stride) + isize::from((distance - most).rem_euclid(stride) > 0);
    let last = (distance - least).div_euclid(stride);
    (first.max(low)..=last.min(high)).any(|count| reaches(rest, distance - count * stride))
}

#[cold]
fn too_large_contiguous(shape: [usize; 4]) -> Error {
    let mut strides = [1usize; 4];
    for i in (0..3).rev() {
        let Some(stride) = strides[i + 1].checked_mul(shape[i + 1].max(1)) else { break };
        strides[i] = stride;
    }
    too_large(shape, strides)
}

fn too_large(shape: [usize; 4], strides: [usize; 4]) -> Error {
    Error::View { shape, strides, len: 0, fix: "the number of elements overflows: check the shape".into() }
}

/// A tensor to read: `[batch, heads, len, dim]` over a slice.
///
/// ```
/// use heedful::View;
/// // One batch of 2 tokens whose rows hold queries, keys and values of 2 heads of 4 numbers each, side by side.
/// let fused = [0.0f32; 2 * 3 * 8];
/// let keys = View::strided(&fused[8..], [1, 2, 2, 4], [48, 4, 24, 1])?;
/// assert_eq!(keys.shape(), [1, 2, 2, 4]);
/// # Ok::<(), heedful::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct View<'a, T = f32> {
    data: &'a [T],
    layout: Layout,
}

impl<'a, T: Copy> View<'a, T> {
    /// `data` as a row-major tensor without gaps.
    ///
    /// # Errors
    /// If `data` does not hold exactly that many elements.
    #[inline]
    pub fn contiguous(data: &'a [T], shape: [usize; 4]) -> Result<Self> {
        Ok(Self { data, layout: Layout::contiguous_over(shape, data.len())? })
    }

    /// `data` with strides of its own, in elements; element `[0, 0, 0, 0]` is `data[0]`.
    ///
    /// # Errors
    /// If an element would lie beyond `data`.
    pub fn strided(data: &'a [T], shape: [usize; 4], strides: [usize; 4]) -> Result<Self> {
        let layout = Layout::strided(shape, strides)?;
        layout.fits(data.len())?;
        Ok(Self { data, layout })
    }

    /// `[batch, heads, len, dim]`
    pub fn shape(&self) -> [usize; 4] {
        self.layout.shape
    }

    /// Shape and strides.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The element at an index.
    ///
    /// # Panics
    /// If the index lies outside the shape.
    pub fn at(&self, index: [usize; 4]) -> T {
        let inside = (0..4).all(|i| index[i] < self.layout.shape[i]);
        assert!(inside, "index {index:?} lies outside shape {:?}", self.layout.shape);
        self.data[self.layout.row(index[0], index[1], index[2]) + index[3] * self.layout.strides[3]]
    }

    /// The slice from which offsets of the layout count.
    #[inline(always)]
    pub(crate) fn data(&self) -> &'a [T] {
        self.data
    }

    /// The same tensor with its dimensions of size 1 repeated up to `shape`, if it can be.
    pub(crate) fn broadcast(mut self, shape: [usize; 4]) -> Option<Self> {
        for (i, &n) in shape.iter().enumerate() {
            match self.layout.shape[i] {
                size if size == n => {}
                1 => self.layout.strides[i] = 0,
                _ => return None,
            }
            self.layout.shape[i] = n;
        }
        Some(self)
    }
}

/// A tensor to write: `[batch, heads, len, dim]` over a slice, no two elements at the same place.
#[derive(Debug)]
pub struct ViewMut<'a, T = f32> {
    data: &'a mut [T],
    layout: Layout,
    /// The offset of the layout that `data[0]` has: not 0 in the latter part of a tensor that was cut.
    origin: isize,
}

impl<'a, T: Copy> ViewMut<'a, T> {
    /// `data` as a row-major tensor without gaps.
    ///
    /// # Errors
    /// If `data` does not hold exactly that many elements.
    #[inline]
    pub fn contiguous(data: &'a mut [T], shape: [usize; 4]) -> Result<Self> {
        let layout = Layout::contiguous_over(shape, data.len())?;
        Ok(Self { data, layout, origin: 0 })
    }

    /// `data` with strides of its own, in elements; element `[0, 0, 0, 0]` is `data[0]`.
    ///
    /// # Errors
    /// If an element would lie beyond `data`, or two of them at the same place.
    pub fn strided(data: &'a mut [T], shape: [usize; 4], strides: [usize; 4]) -> Result<Self> {
        Self::with_layout(data, Layout::strided(shape, strides)?)
    }

    /// `data` with this shape and these strides.
    ///
    /// # Errors
    /// If an element would lie beyond `data`, or two of them at the same place.
    pub fn with_layout(data: &'a mut [T], layout: Layout) -> Result<Self> {
        layout.writable(data.len())?;
        Ok(Self { data, layout, origin: 0 })
    }

    /// `[batch, heads, len, dim]`
    pub fn shape(&self) -> [usize; 4] {
        self.layout.shape
    }

    /// Shape and strides.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The same tensor, to read.
    pub fn view(&self) -> View<'_, T> {
        View { data: self.data, layout: self.layout }
    }

    /// The same tensor for a shorter time, so that a view can be passed on more than once.
    pub fn reborrow(&mut self) -> ViewMut<'_, T> {
        ViewMut { data: self.data, layout: self.layout, origin: self.origin }
    }

    /// The slice from which offsets of the layout count, in a tensor that has not been cut.
    pub(crate) fn data(&mut self) -> &mut [T] {
        self.data
    }

    /// Sets every element.
    pub(crate) fn fill(&mut self, value: T) {
        let [batch, heads, len, _] = self.layout.shape;
        for b in 0..batch {
            for h in 0..heads {
                for position in 0..len {
                    match self.row_mut([b, h, position]) {
                        Ok(row) => row.fill(value),
                        Err(row) => row.for_each(|to| *to = value),
                    }
                }
            }
        }
    }

    /// The elements of row `[batch, head, position]`: as a slice if they lie side by side, and else one by one.
    #[inline(always)]
    pub(crate) fn row_mut(&mut self, [batch, head, position]: [usize; 3]) -> std::result::Result<&mut [T], impl Iterator<Item = &mut T>> {
        let (dim, stride) = (self.layout.shape[3], self.layout.strides[3]);
        // Rows of no elements may begin anywhere.
        let start = if dim == 0 { 0 } else { self.start(batch, head, position) };
        if stride == 1 {
            Ok(&mut self.data[start..start + dim])
        } else {
            Err(self.data[start..].iter_mut().step_by(stride.max(1)).take(dim))
        }
    }

    /// Sets the first element of row `[batch, head, position]`.
    #[inline(always)]
    pub(crate) fn set(&mut self, [batch, head, position]: [usize; 3], value: T) {
        let at = self.start(batch, head, position);
        self.data[at] = value;
    }

    /// Where a row starts in `data`.
    #[inline(always)]
    fn start(&self, batch: usize, head: usize, position: usize) -> usize {
        (self.layout.row(batch, head, position) as isize - self.origin) as usize
    }

    /// The slice that begins with row `[batch, head, position]` and how far apart rows are, if the elements of a row lie side by side.
    #[inline(always)]
    pub(crate) fn rows_mut(&mut self, [batch, head, position]: [usize; 3]) -> Option<(&mut [T], usize)> {
        let [_, _, stride, column_stride] = self.layout.strides;
        let start = self.start(batch, head, position);
        (column_stride == 1 && self.layout.shape[3] > 0).then(|| (&mut self.data[start..], stride))
    }
}

/// One tensor to write, or several.
pub(crate) trait Tensors {
    /// Number `which` of them.
    fn part(&mut self, which: usize) -> ViewMut<'_>;
}

impl Tensors for ViewMut<'_> {
    fn part(&mut self, _: usize) -> ViewMut<'_> {
        self.reborrow()
    }
}

impl Tensors for QkvMut<'_> {
    /// The gradient of the queries (0), keys (1) or values (2).
    fn part(&mut self, which: usize) -> ViewMut<'_> {
        match &mut self.0 {
            Storage::Separate(views) => views[which].reborrow(),
            Storage::Fused { data, starts, layouts, origin } => {
                ViewMut { data, layout: layouts[which], origin: *origin - starts[which] as isize }
            }
        }
    }
}

/// Some rows of a tensor: ranges of batches, heads and positions.
pub(crate) type Rows = [Range<usize>; 3];

/// Tensors to write that can be cut into two parts, so that two threads can write them.
pub(crate) trait Cut: Sized {
    /// Which rows a part holds.
    type Rows;
    /// Where to cut.
    type Place;

    /// Where to cut the rows `low` from the rows `high`, if all of the former lie before the latter in memory.
    fn boundary(&self, low: &Self::Rows, high: &Self::Rows) -> Option<Self::Place>;

    /// What lies before the place, and the others. Rows keep their numbers.
    fn cut(self, place: Self::Place) -> (Self, Self);
}

impl Layout {
    /// The offsets from the first to past the last element of some rows.
    fn extent(&self, rows: &Rows) -> Range<isize> {
        if self.shape[3] == 0 || rows.iter().any(Range::is_empty) {
            return 0..0;
        }
        let last = self.row(rows[0].end - 1, rows[1].end - 1, rows[2].end - 1) + (self.shape[3] - 1) * self.strides[3];
        self.row(rows[0].start, rows[1].start, rows[2].start) as isize..last as isize + 1
    }
}

/// An offset with `low` before it and `high` after it, if there is one; `end` is one past the last offset of all.
fn boundary(low: &Range<isize>, high: &Range<isize>, end: isize) -> Option<isize> {
    if high.is_empty() { Some(end) } else { (low.is_empty() || low.end <= high.start).then_some(high.start) }
}

impl<T> Cut for ViewMut<'_, T> {
    type Rows = Rows;
    type Place = isize;

    fn boundary(&self, low: &Rows, high: &Rows) -> Option<isize> {
        boundary(&self.layout.extent(low), &self.layout.extent(high), self.origin + self.data.len() as isize)
    }

    fn cut(self, place: isize) -> (Self, Self) {
        let Self { data, layout, origin } = self;
        let (low, high) = data.split_at_mut((place - origin) as usize);
        (Self { data: low, layout, origin }, Self { data: high, layout, origin: place })
    }
}

/// Three tensors to write, the gradients of queries, keys and values: in slices of their own, or in one slice such as the gradient of
/// a fused projection `[tokens, 3 * dim]`.
#[derive(Debug)]
pub struct QkvMut<'a>(Storage<'a>);

#[derive(Debug)]
enum Storage<'a> {
    Separate([ViewMut<'a>; 3]),
    Fused {
        data: &'a mut [f32],
        starts: [usize; 3],
        layouts: [Layout; 3],
        /// How far `data[0]` lies from where `starts` count: not 0 in the latter part of gradients that were cut.
        origin: isize,
    },
}

impl<'a> QkvMut<'a> {
    /// Three tensors in slices of their own.
    pub fn separate(q: ViewMut<'a>, k: ViewMut<'a>, v: ViewMut<'a>) -> Self {
        Self(Storage::Separate([q, k, v]))
    }

    /// Three tensors in one slice. Element `[0, 0, 0, 0]` of each lies at its entry of `starts`.
    ///
    /// # Errors
    /// If an element would lie beyond `data`, or two elements at the same place.
    ///
    /// ```
    /// use heedful::{Layout, QkvMut};
    /// let (tokens, heads, dim) = (5, 2, 4);
    /// let row = 3 * heads * dim;
    /// let mut fused = vec![0.0; tokens * row];
    /// let part = Layout::strided([1, heads, tokens, dim], [tokens * row, dim, row, 1])?;
    /// let gradients = QkvMut::fused(&mut fused, [0, heads * dim, 2 * heads * dim], [part; 3])?;
    /// # Ok::<(), heedful::Error>(())
    /// ```
    pub fn fused(data: &'a mut [f32], starts: [usize; 3], layouts: [Layout; 3]) -> Result<Self> {
        for (&start, layout) in starts.iter().zip(&layouts) {
            layout.writable(data.len().saturating_sub(start))?;
        }
        for (i, j) in [(0, 1), (0, 2), (1, 2)] {
            if layouts[i].meets(&layouts[j], starts[j] as isize - starts[i] as isize) {
                let [a, b] = [["q", "k", "v"][i], ["q", "k", "v"][j]];
                let fix = format!("{a} and {b} have places in common, and one would overwrite the other: move their starts apart");
                return Err(layouts[j].error(data.len(), fix));
            }
        }
        Ok(Self(Storage::Fused { data, starts, layouts, origin: 0 }))
    }

    /// The same tensors for a shorter time.
    pub(crate) fn reborrow(&mut self) -> QkvMut<'_> {
        QkvMut(match &mut self.0 {
            Storage::Separate(views) => Storage::Separate(views.each_mut().map(ViewMut::reborrow)),
            Storage::Fused { data, starts, layouts, origin } => {
                Storage::Fused { data, starts: *starts, layouts: *layouts, origin: *origin }
            }
        })
    }

    pub(crate) fn shape(&self, which: usize) -> [usize; 4] {
        match &self.0 {
            Storage::Separate(views) => views[which].shape(),
            Storage::Fused { layouts, .. } => layouts[which].shape,
        }
    }
}

impl Cut for QkvMut<'_> {
    type Rows = [Rows; 3];
    type Place = [isize; 3];

    fn boundary(&self, low: &[Rows; 3], high: &[Rows; 3]) -> Option<[isize; 3]> {
        match &self.0 {
            Storage::Separate(views) => {
                let mut places = [0; 3];
                for i in 0..3 {
                    places[i] = views[i].boundary(&low[i], &high[i])?;
                }
                Some(places)
            }
            Storage::Fused { data, starts, layouts, origin } => {
                let extent = |rows: &[Rows; 3]| {
                    let of_each = (0..3).map(|i| (layouts[i].extent(&rows[i]), starts[i] as isize));
                    let filled =
                        of_each.filter(|(extent, _)| !extent.is_empty()).map(|(extent, start)| extent.start + start..extent.end + start);
                    filled.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or(0..0)
                };
                boundary(&extent(low), &extent(high), origin + data.len() as isize).map(|place| [place; 3])
            }
        }
    }

    fn cut(self, places: [isize; 3]) -> (Self, Self) {
        match self.0 {
            Storage::Separate([q, k, v]) => {
                let ((q, q_high), (k, k_high), (v, v_high)) = (q.cut(places[0]), k.cut(places[1]), v.cut(places[2]));
                (Self(Storage::Separate([q, k, v])), Self(Storage::Separate([q_high, k_high, v_high])))
            }
            Storage::Fused { data, starts, layouts, origin } => {
                let (low, high) = data.split_at_mut((places[0] - origin) as usize);
                let part = |data, origin| Self(Storage::Fused { data, starts, layouts, origin });
                (part(low, origin), part(high, places[0]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_says_what_does_not_fit() {
        let data = [0.0f32; 23];
        let error = View::contiguous(&data, [1, 2, 3, 4]).unwrap_err().to_string();
        assert!(error.contains("[1, 2, 3, 4]") && error.contains("over 23 elements") && error.contains("needs 24"), "{error}");
        let error = View::strided(&data, [1, 2, 3, 4], [0, 12, 4, 1]).unwrap_err().to_string();
        assert!(error.contains("its last element is number 24"), "{error}");
        assert!(View::strided(&data[..0], [1, 0, 3, 4], [0, 12, 4, 1]).is_ok());
    }

    #[test]
    fn shapes_whose_product_overflows_are_refused() {
        let huge = 1 << 33;
        assert!(View::contiguous(&[0.0f32], [huge, huge, 1, 1]).unwrap_err().to_string().contains("overflows"));
        assert!(View::strided(&[0.0f32], [huge, huge, 1, 1], [0, 0, 0, 0]).unwrap_err().to_string().contains("overflows"));
        assert!(View::strided(&[0.0f32], [2, 1, 1, 1], [usize::MAX, 0, 0, 0]).unwrap_err().to_string().contains("overflows"));
    }

    #[test]
    fn elements_that_share_a_place_can_be_read_and_not_written() {
        let mut data = [0.0f32; 24];
        assert!(View::strided(&data, [1, 2, 3, 4], [0, 0, 4, 1]).is_ok());
        assert!(ViewMut::strided(&mut data, [1, 2, 3, 4], [0, 0, 4, 1]).unwrap_err().to_string().contains("share a place"));
        assert!(ViewMut::strided(&mut data, [1, 2, 3, 4], [0, 2, 4, 1]).is_err());
        assert!(ViewMut::strided(&mut data, [1, 2, 3, 4], [0, 4, 8, 1]).is_ok());
        assert!(ViewMut::strided(&mut data, [1, 2, 3, 4], [7, 1, 8, 2]).is_ok());
    }

    #[test]
    fn gradients_in_one_slice_may_lie_between_each_other_but_not_on_each_other() {
        // Five tokens whose rows hold q of four heads, k of two and v of two, each four wide.
        let layout = |heads| Layout::strided([1, heads, 5, 4], [160, 4, 32, 1]).unwrap();
        let layouts = [layout(4), layout(2), layout(2)];
        let mut data = [0.0; 160];
        assert!(QkvMut::fused(&mut data, [0, 16, 24], layouts).is_ok());
        for (starts, names) in [([0, 15, 24], "q and k"), ([0, 16, 23], "k and v"), ([8, 0, 16], "q and v"), ([0, 0, 0], "q and k")] {
            let error = QkvMut::fused(&mut data, starts, layouts).err().unwrap().to_string();
            assert!(error.contains(names) && error.contains("move their starts apart"), "{error}");
        }
    }

    #[test]
    fn tensors_meet_where_two_of_their_elements_do() {
        let shapes = [[1, 1, 1, 1], [1, 2, 3, 2], [2, 1, 2, 3], [1, 3, 2, 1], [2, 2, 2, 2]];
        let strides = [[12, 6, 2, 1], [7, 3, 5, 2], [1, 2, 4, 8], [0, 6, 6, 3]];
        let layouts: Vec<Layout> =
            shapes.iter().flat_map(|&shape| strides.map(|strides| Layout::strided(shape, strides).unwrap())).collect();
        let places = |layout: &Layout| {
            let [a, b, c, d] = layout.shape;
            let all = (0..a).flat_map(|i| (0..b).flat_map(move |j| (0..c).flat_map(move |k| (0..d).map(move |l| [i, j, k, l]))));
            all.map(|index| (0..4).map(|i| index[i] * layout.strides[i]).sum::<usize>() as isize).collect::<Vec<_>>()
        };
        for (a, b) in layouts.iter().flat_map(|a| layouts.iter().map(move |b| (a, b))) {
            let (of_a, of_b) = (places(a), places(b));
            for distance in -30..30 {
                let expected = of_b.iter().any(|place| of_a.contains(&(place + distance)));
                assert_eq!(a.meets(b, distance), expected, "{a:?} {b:?} {distance}");
            }
        }
    }
}
