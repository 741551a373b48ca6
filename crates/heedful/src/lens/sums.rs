//! Sums over a whole head's weights: what each key receives, and products of the weights with a vector.

use std::ops::Range;

use super::{Heads, Lens, Place};
use crate::kernel::lens::{Take, WeightTile};
use crate::kernel::tile::{KEYS, ROWS};
use crate::simd::Isa;
use crate::{Element, Error, Result};

/// Keys whose sums over queries are taken together.
const TOGETHER: usize = 4 * KEYS;

impl<Q: Element, K: Element> Lens<'_, Q, K> {
    /// The attention that each key of a sequence receives from some queries, `sum_i p_ij`, `[keys]`. Memory is `O(k_len)`.
    ///
    /// # Errors
    /// If there is no such sequence, head or query.
    pub fn column_sums(&self, sequence: usize, heads: impl Into<Heads>, queries: Range<usize>) -> Result<Vec<f32>> {
        let place = self.place("Lens::column_sums", sequence, heads, queries, 0..self.shape(sequence)[1])?;
        Ok(self.over_queries(&place, None))
    }

    /// A vector over the queries of a sequence, through the weights, to one over its keys: `y_j = sum_i x_i p_ij`. Memory is `O(k_len)`.
    ///
    /// # Errors
    /// If there is no such sequence or head, or `x` does not hold one number for each query.
    pub fn to_keys(&self, sequence: usize, heads: impl Into<Heads>, x: &[f32]) -> Result<Vec<f32>> {
        let [queries, keys] = self.shape(sequence);
        check_vector("Lens::to_keys", x, queries, "query")?;
        let place = self.place("Lens::to_keys", sequence, heads, support(x), 0..keys)?;
        Ok(self.over_queries(&place, Some(x)))
    }

    /// A vector over the keys of a sequence, through the weights, to one over its queries: `y_i = sum_j p_ij x_j`. Memory is `O(q_len)`.
    ///
    /// # Errors
    /// If there is no such sequence or head, or `x` does not hold one number for each key.
    pub fn to_queries(&self, sequence: usize, heads: impl Into<Heads>, x: &[f32]) -> Result<Vec<f32>> {
        let [queries, keys] = self.shape(sequence);
        check_vector("Lens::to_queries", x, keys, "key")?;
        let place = self.place("Lens::to_queries", sequence, heads, 0..queries, support(x))?;
        let parts = self.each_part(&place, queries.div_ceil(TOGETHER), |part| {
            let queries = part * TOGETHER..queries.min((part + 1) * TOGETHER);
            let mut sums = OverKeys { x, first: queries.start, sums: vec![0.0; queries.len()] };
            self.weigh(&place, queries, place.keys.clone(), &mut sums);
            sums.sums
        });
        Ok(parts.into_iter().flatten().map(|sum| sum as f32).collect())
    }

    /// The weighted sum over the queries of a place, for each of its keys; weighted 1 without `x`.
    fn over_queries(&self, place: &Place, x: Option<&[f32]>) -> Vec<f32> {
        let keys = &place.keys;
        let parts = self.each_part(place, keys.len().div_ceil(TOGETHER), |part| {
            let keys = keys.start + part * TOGETHER..keys.end.min(keys.start + (part + 1) * TOGETHER);
            let mut sums = OverQueries { x, first: keys.start, sums: vec![0.0; keys.len()] };
            self.weigh(place, place.queries.clone(), keys, &mut sums);
            sums.sums
        });
        parts.into_iter().flatten().map(|sum| sum as f32).collect()
    }
}

/// The range that holds everything but 0.
fn support(x: &[f32]) -> Range<usize> {
    let first = x.iter().position(|&x| x != 0.0).unwrap_or(0);
    first..x.iter().rposition(|&x| x != 0.0).map_or(first, |last| last + 1)
}

fn check_vector(operation: &'static str, x: &[f32], len: usize, each: &str) -> Result<()> {
    if x.len() == len {
        return Ok(());
    }
    Err(Error::Length { operation, operand: "x", len: x.len(), fix: format!("give one number for each {each} of the sequence, {len}") })
}

/// `sums[j] += sum_i x_i p_ij`
struct OverQueries<'a> {
    x: Option<&'a [f32]>,
    first: usize,
    sums: Vec<f64>,
}

impl Take for OverQueries<'_> {
    #[inline(always)]
    fn take<I: Isa>(&mut self, isa: I, tile: &WeightTile<'_>) {
        let mut x = [0.0; ROWS];
        match self.x {
            Some(all) => x[..tile.queries.len()].copy_from_slice(&all[tile.queries.clone()]),
            None => x[..tile.queries.len()].fill(1.0),
        }
        let sums = &mut self.sums[tile.keys.start - self.first..];
        for (sum, weights) in sums.iter_mut().zip(tile.weights.chunks_exact(tile.width)) {
            let mut across = isa.splat(0.0);
            for lane in (0..tile.width).step_by(I::LANES) {
                across = isa.fma(isa.load(&weights[lane..]), isa.load(&x[lane..]), across);
            }
            *sum += f64::from(isa.sum(across));
        }
    }
}

/// `sums[i] += sum_j p_ij x_j`
struct OverKeys<'a> {
    x: &'a [f32],
    first: usize,
    sums: Vec<f64>,
}

impl Take for OverKeys<'_> {
    #[inline(always)]
    fn take<I: Isa>(&mut self, isa: I, tile: &WeightTile<'_>) {
        let mut sums = [0.0; ROWS];
        for lane in (0..tile.width).step_by(I::LANES) {
            let mut sum = isa.splat(0.0);
            for (weights, &x) in tile.weights.chunks_exact(tile.width).zip(&self.x[tile.keys.clone()]) {
                sum = isa.fma(isa.load(&weights[lane..]), isa.splat(x), sum);
            }
            isa.store(sum, &mut sums[lane..]);
        }
        for (query, sum) in tile.queries.clone().zip(sums) {
            self.sums[query - self.first] += f64::from(sum);
        }
    }
}
