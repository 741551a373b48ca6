//! The same lenses for weights that are at hand, row by row.

use std::ops::Range;

use super::TopK;
use super::pooled::{Axis, Pool};
use crate::{Error, Result};

/// The weights of one sequence and head, one row for each query: what the alignment models of Bahdanau and Luong keep. The lenses are those
/// of [`Lens`](super::Lens), of the same names.
///
/// ```
/// use heedful::lens::WeightRows;
/// let weights = [0.7, 0.2, 0.1, 0.1, 0.1, 0.8];
/// let rows = WeightRows::new(weights.chunks(3), 3)?;
/// assert_eq!(rows.column(0)?, [0.7, 0.1]); // who looks at the first source word
/// assert_eq!(rows.top_k(1, 1)?.keys, [2]);
/// # Ok::<(), heedful::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct WeightRows<'a> {
    rows: Vec<&'a [f32]>,
    keys: usize,
}

impl<'a> WeightRows<'a> {
    /// Rows of `keys` weights each, one for each query.
    ///
    /// # Errors
    /// If a row has another length.
    pub fn new(rows: impl IntoIterator<Item = &'a [f32]>, keys: usize) -> Result<Self> {
        let rows: Vec<_> = rows.into_iter().collect();
        if let Some(row) = rows.iter().find(|row| row.len() != keys) {
            let fix = format!("each row must hold {keys} weights, one for each key");
            return Err(Error::Length { operation: "WeightRows::new", operand: "rows", len: row.len(), fix });
        }
        Ok(Self { rows, keys })
    }

    /// How many queries and keys there are.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows.len(), self.keys]
    }

    /// The weights of one query over all keys: where it looks.
    ///
    /// # Errors
    /// If there is no such query.
    pub fn row(&self, query: usize) -> Result<&'a [f32]> {
        self.check("WeightRows::row", &(query..query.saturating_add(1)), &(0..0))?;
        Ok(self.rows[query])
    }

    /// The weights of all queries on one key: who looks at it.
    ///
    /// # Errors
    /// If there is no such key.
    pub fn column(&self, key: usize) -> Result<Vec<f32>> {
        self.check("WeightRows::column", &(0..0), &(key..key.saturating_add(1)))?;
        Ok(self.rows.iter().map(|row| row[key]).collect())
    }

    /// The weights `[queries, keys]` of a rectangle.
    ///
    /// # Errors
    /// If there is no such query or key.
    pub fn tile(&self, queries: Range<usize>, keys: Range<usize>) -> Result<Vec<f32>> {
        self.check("WeightRows::tile", &queries, &keys)?;
        Ok(self.rows[queries].iter().flat_map(|row| &row[keys.clone()]).copied().collect())
    }

    /// The `k` keys that one query looks at most, and the weight they leave to all others. Keys without weight are not listed.
    ///
    /// # Errors
    /// If there is no such query.
    pub fn top_k(&self, query: usize, k: usize) -> Result<TopK> {
        Ok(TopK::of(self.row(query)?, k))
    }

    /// The entropy of one query's weights, `-sum_j p_j ln p_j`, in nats.
    ///
    /// # Errors
    /// If there is no such query.
    pub fn entropy(&self, query: usize) -> Result<f32> {
        let seen = self.row(query)?.iter().map(|&p| f64::from(p)).filter(|&p| p > 0.0);
        Ok(seen.map(|p| -p * p.ln()).sum::<f64>().max(0.0) as f32)
    }

    /// A map `[rows, columns]` of the weights `queries x keys`, each cell of which pools the weights under it.
    ///
    /// # Errors
    /// If there is no such query or key, or if the map is finer than the rectangle.
    pub fn pooled(&self, queries: Range<usize>, keys: Range<usize>, [rows, columns]: [usize; 2], pool: Pool) -> Result<Vec<f32>> {
        const OPERATION: &str = "WeightRows::pooled";
        self.check(OPERATION, &queries, &keys)?;
        let rows = Axis::new(OPERATION, "rows", &queries, rows)?;
        let columns = Axis::new(OPERATION, "columns", &keys, columns)?;
        let mut map = vec![0.0; rows.cells() * columns.cells()];
        for query in queries {
            for key in keys.clone() {
                let cell = &mut map[rows.cell(query) * columns.cells() + columns.cell(key)];
                *cell = pool.join(*cell, self.rows[query][key].into());
            }
        }
        Ok(pool.finish(map, rows, columns))
    }

    /// The attention that each key receives from some queries, `sum_i p_ij`, `[keys]`.
    ///
    /// # Errors
    /// If there is no such query.
    pub fn column_sums(&self, queries: Range<usize>) -> Result<Vec<f32>> {
        self.check("WeightRows::column_sums", &queries, &(0..0))?;
        let mut sums = vec![0.0; self.keys];
        for row in &self.rows[queries] {
            for (sum, &p) in sums.iter_mut().zip(*row) {
                *sum += f64::from(p);
            }
        }
        Ok(sums.into_iter().map(|sum| sum as f32).collect())
    }

    fn check(&self, operation: &'static str, queries: &Range<usize>, keys: &Range<usize>) -> Result<()> {
        for (option, range, len) in [("queries", queries, self.rows.len()), ("keys", keys, self.keys)] {
            if range.start > range.end || range.end > len {
                return Err(Error::Option { operation, option, value: format!("{range:?}"), fix: format!("there are {len}") });
            }
        }
        Ok(())
    }
}
