//! A map of a rectangle of weights at any resolution.

use std::ops::Range;

use super::{Heads, Lens, Place};
use crate::kernel::lens::{BLOCK, Take, WeightTile};
use crate::kernel::tile::{KEYS, ROWS};
use crate::simd::Isa;
use crate::{Element, Error, Result};

/// What a cell of a map tells of the weights under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Their sum: all cells of a map of everything add up to the number of queries that look at anything.
    Sum,
    /// Their mean, over hidden pairs too, which weigh 0.
    Mean,
    /// The largest.
    Max,
}

impl Pool {
    /// What a cell holds after one more number: a sum so far, or the largest.
    #[inline(always)]
    pub(super) fn join(self, so_far: f64, x: f64) -> f64 {
        if self == Self::Max { so_far.max(x) } else { so_far + x }
    }

    /// A map from what its cells hold in the end.
    pub(super) fn finish(self, mut map: Vec<f64>, rows: Axis, columns: Axis) -> Vec<f32> {
        if self == Self::Mean {
            let widths: Vec<usize> = (0..columns.cells).map(|column| columns.places(column..column + 1).len()).collect();
            for (row, cells) in map.chunks_exact_mut(columns.cells.max(1)).enumerate() {
                let height = rows.places(row..row + 1).len();
                cells.iter_mut().zip(&widths).for_each(|(cell, width)| *cell /= (height * width) as f64);
            }
        }
        map.into_iter().map(|cell| cell as f32).collect()
    }
}

/// `len` places from `start` on, cut into `cells` cells that are as equal as can be: cell `c` begins at place `c len / cells`, rounded down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    start: usize,
    len: usize,
    cells: usize,
}

impl Axis {
    pub(super) fn new(operation: &'static str, option: &'static str, range: &Range<usize>, cells: usize) -> Result<Self> {
        let len = range.len();
        if cells > len || (cells == 0 && len > 0) {
            let fix = format!("the rectangle has {len} there: a map has at least 1 cell, and at most one for each");
            return Err(Error::Option { operation, option, value: cells.to_string(), fix });
        }
        Ok(Self { start: range.start, len, cells })
    }

    /// The places under a range of cells.
    fn places(&self, cells: Range<usize>) -> Range<usize> {
        let bound = |cell: usize| self.start + (cell as u128 * self.len as u128 / self.cells.max(1) as u128) as usize;
        bound(cells.start)..bound(cells.end)
    }

    pub(super) fn cells(&self) -> usize {
        self.cells
    }

    /// The cell that a place lies under.
    pub(super) fn cell(&self, place: usize) -> usize {
        (((place - self.start + 1) as u128 * self.cells as u128 - 1) / self.len as u128) as usize
    }

    /// Consecutive cells in groups, as many groups as there can be up to `most`, each over `least` places or more.
    fn groups(&self, most: usize, least: usize) -> Self {
        Self { start: 0, len: self.cells, cells: most.min(self.len / least.max(1)).clamp(self.cells.min(1), self.cells) }
    }
}

/// Parts of the work on a small map, for threads to share. It decides the order of sums, and so must not depend on their number.
const PARTS: usize = 64;

impl<Q: Element, K: Element> Lens<'_, Q, K> {
    /// A map `[rows, columns]` of the weights `queries x keys`, each cell of which pools the weights under it.
    ///
    /// Row `r` of the map stands for the queries from `queries.start + r n / rows` on, rounded down, with `n` queries in all; likewise
    /// columns for keys. So a map of 100,000 x 100,000 weights can be zoomed like a street map: ask for the rectangle in sight at the
    /// resolution of the screen. What the mask rules out costs nothing, memory is that of the map.
    ///
    /// ```
    /// # use heedful::{Diagonal, Options, View, ViewMut, attend};
    /// use heedful::lens::{Lens, Pool};
    /// # let x: Vec<f32> = (0..1000 * 4).map(|i| (i as f32).sin()).collect();
    /// # let x = View::contiguous(&x, [1, 1, 1000, 4])?;
    /// # let (mut out, mut lse) = (vec![0.0; 4000], vec![0.0; 1000]);
    /// let options = Options::new().causal(Diagonal::TopLeft);
    /// attend(x, x, x, &options, ViewMut::contiguous(&mut out, [1, 1, 1000, 4])?, Some(&mut lse))?;
    /// let lens = Lens::new(x, x, &options, &lse)?;
    /// let map = lens.pooled(0, 0, 0..1000, 0..1000, [16, 16], Pool::Sum)?;
    /// assert!((map.iter().sum::<f32>() - 1000.0).abs() < 1e-2); // 1000 queries, each with weights that sum to 1
    /// assert_eq!(map[15], 0.0); // the first queries see none of the last keys
    /// # Ok::<(), heedful::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no such sequence, head, query or key, or if the map is finer than the rectangle.
    pub fn pooled(
        &self,
        sequence: usize,
        heads: impl Into<Heads>,
        queries: Range<usize>,
        keys: Range<usize>,
        [rows, columns]: [usize; 2],
        pool: Pool,
    ) -> Result<Vec<f32>> {
        const OPERATION: &str = "Lens::pooled";
        let place = self.place(OPERATION, sequence, heads, queries, keys)?;
        let rows = Axis::new(OPERATION, "rows", &place.queries, rows)?;
        let columns = Axis::new(OPERATION, "columns", &place.keys, columns)?;
        Ok(self.pool(&place, rows, columns, pool))
    }

    fn pool(&self, place: &Place, rows: Axis, columns: Axis, pool: Pool) -> Vec<f32> {
        let mut map = vec![0.0; rows.cells * columns.cells];
        // A part owns a group of rows and of columns. Few rows are shared by columns, few of both by queries.
        let row_groups = rows.groups(usize::MAX, BLOCK);
        let column_groups = columns.groups(PARTS / row_groups.cells.max(1), 4 * KEYS);
        let pieces = (PARTS / (row_groups.cells * column_groups.cells).max(1)).clamp(1, (rows.len / (4 * BLOCK)).max(1));
        let own = |part: usize| {
            let (row_group, column_group) = (part / pieces / column_groups.cells, part / pieces % column_groups.cells);
            (row_groups.places(row_group..row_group + 1), column_groups.places(column_group..column_group + 1))
        };
        let sums = self.each_part(place, row_groups.cells * column_groups.cells * pieces, |part| {
            let (own_rows, own_columns) = own(part);
            let (queries, piece) = (rows.places(own_rows.clone()), part % pieces);
            let piece = Axis { start: queries.start, len: queries.len(), cells: pieces }.places(piece..piece + 1);
            let cells = vec![0.0; own_rows.len() * own_columns.len()];
            let keys = columns.places(own_columns.clone());
            let mut pooled = Pooled { rows, columns, own_rows, own_columns, pool, cells };
            self.weigh(place, piece, keys, &mut pooled);
            pooled.cells
        });
        for (part, sums) in sums.iter().enumerate() {
            let (own_rows, own_columns) = own(part);
            for (row, sums) in own_rows.zip(sums.chunks_exact(own_columns.len().max(1))) {
                for (column, &sum) in own_columns.clone().zip(sums) {
                    let cell = &mut map[row * columns.cells + column];
                    *cell = pool.join(*cell, sum);
                }
            }
        }
        pool.finish(map, rows, columns)
    }
}

/// The part of a map under some rows and columns.
struct Pooled {
    rows: Axis,
    columns: Axis,
    own_rows: Range<usize>,
    own_columns: Range<usize>,
    pool: Pool,
    /// `[own_rows][own_columns]`
    cells: Vec<f64>,
}

impl Take for Pooled {
    #[inline(always)]
    fn take<I: Isa>(&mut self, isa: I, tile: &WeightTile<'_>) {
        let is_max = self.pool == Pool::Max;
        let (first_row, last_row) = (self.rows.cell(tile.queries.start), self.rows.cell(tile.queries.end - 1));
        let mut key = tile.keys.start;
        while key < tile.keys.end {
            let column = self.columns.cell(key);
            let end = self.columns.places(column..column + 1).end.min(tile.keys.end);
            let weights = &tile.weights[(key - tile.keys.start) * tile.width..(end - tile.keys.start) * tile.width];
            key = end;
            let mut pooled = [0.0; ROWS];
            let mut across = isa.splat(0.0);
            for lane in (0..tile.width).step_by(I::LANES) {
                let mut sum = isa.splat(0.0);
                for weights in weights.chunks_exact(tile.width) {
                    let weight = isa.load(&weights[lane..]);
                    sum = if is_max { isa.max(weight, sum) } else { isa.add(weight, sum) };
                }
                isa.store(sum, &mut pooled[lane..]);
                across = if is_max { isa.max(sum, across) } else { isa.add(sum, across) };
            }
            let column = column - self.own_columns.start;
            let width = self.own_columns.len();
            let mut add = |row: usize, x: f32| {
                let cell = &mut self.cells[(row - self.own_rows.start) * width + column];
                *cell = self.pool.join(*cell, f64::from(x));
            };
            if first_row == last_row {
                add(first_row, if is_max { isa.maximum(across) } else { isa.sum(across) });
                continue;
            }
            let mut row = first_row;
            let mut end = self.rows.places(row..row + 1).end;
            for (query, &x) in tile.queries.clone().zip(&pooled) {
                if query == end {
                    row += 1;
                    end = self.rows.places(row..row + 1).end;
                }
                add(row, x);
            }
        }
    }
}
