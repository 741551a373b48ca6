//! Looking in: the weights of an attention that has already been computed, exact, and only those that are asked for.
//!
//! From queries, keys, options and the log-sum-exp that [`attend`](crate::attend) returned, any weight is one dot product away:
//! `p_ij = e^(s_ij - lse_i)`, with the score `s_ij` after every option (Dao et al. 2022, appendix B.4). Nothing is approximated and nothing
//! n x n is ever stored unless a tile of that size is asked for.
//!
//! | question | answer | memory |
//! |---|---|---|
//! | where does this query look? | [`row`](Lens::row), [`top_k`](Lens::top_k), [`entropy`](Lens::entropy) | `O(k_len)` |
//! | who looks at this key? | [`column`](Lens::column) | `O(q_len)` |
//! | who looks where, within these bounds? | [`tile`](Lens::tile), [`scores`](Lens::scores) | the tile |
//! | the same from afar, for a map that can be zoomed | [`pooled`](Lens::pooled) | the map |
//! | how much attention does each key receive? | [`column_sums`](Lens::column_sums) | `O(k_len)` |
//! | what went into a token through all layers, and where did it go? | [`rollout`], [`rollout_of`] | `O(tokens)` |
//! | the same with weights that count what they fetch | [`with_value_norms`](Lens::with_value_norms) | as above |
//! | what is each query's entropy, its heaviest keys, its mean distance? | [`attend_with`] with a [`Glance`], or [`Lens::glance`] | the answers |
//!
//! Attention whose weights are at hand as rows, as that of Bahdanau's and Luong's decoders, is looked at through [`WeightRows`].
//!
//! ```
//! use heedful::lens::Lens;
//! use heedful::{Options, View, ViewMut, attend};
//!
//! let q = [4.0, 0.0, 0.0, 4.0]; // two tokens that look at themselves
//! let x = View::contiguous(&q, [1, 1, 2, 2])?;
//! let options = Options::new();
//! let (mut out, mut lse) = ([0.0; 4], [0.0; 2]);
//! attend(x, x, x, &options, ViewMut::contiguous(&mut out, [1, 1, 2, 2])?, Some(&mut lse))?;
//!
//! let lens = Lens::new(x, x, &options, &lse)?;
//! let row = lens.row(0, 0, 1)?; // sequence 0, head 0, query 1
//! assert!((row[0] + row[1] - 1.0).abs() < 1e-6 && row[1] > 0.999);
//! let top = lens.top_k(0, 0, 1, 1)?;
//! assert_eq!(top.keys, [1]);
//! # Ok::<(), heedful::Error>(())
//! ```

mod glance;
mod heads;
mod norms;
mod pooled;
mod rollout;
mod rows;
mod sums;

use std::ops::Range;

use rayon::prelude::*;

use crate::kernel::lens::{Scores, Take, Weigh, WeightTile};
use crate::kernel::tile::{KEYS, ROWS};
use crate::problem::Problem;
use crate::simd::{Isa, dispatch_on};
use crate::{Element, Options, Parallelism, Result, View};

pub use glance::{Glance, attend_packed_with, attend_with};
pub use heads::Heads;
pub use norms::value_norms;
pub use pooled::Pool;
pub use rollout::{rollout, rollout_of};
pub use rows::WeightRows;

/// A look into one call of [`attend`](crate::attend) or [`attend_packed`](crate::attend_packed).
///
/// A *sequence* is an entry of the batch, or one of the packed sequences; queries and keys count from its own first ones. *Heads* are one
/// head, `3`, or several, `0..4` or `..`, of whose weights the mean is taken. The work is shared as the options' parallelism says, and the
/// results do not depend on the number of threads.
#[derive(Clone, Copy, Debug)]
pub struct Lens<'a, Q = f32, K = f32> {
    problem: Problem<'a, Q, K>,
    lse: &'a [f32],
    /// Multiply the weights, `[batch, heads, k_len]`.
    factors: Option<&'a [f32]>,
    parallelism: Parallelism,
}

/// The keys that one query looks at most.
#[derive(Clone, Debug, PartialEq)]
pub struct TopK {
    /// Heaviest first; of equal weights the earlier key first.
    pub keys: Vec<usize>,
    /// Their weights.
    pub weights: Vec<f32>,
    /// The weight of all other keys together.
    pub rest: f32,
}

/// A rectangle of weights that exists: some heads of a sequence, queries x keys.
#[derive(Clone, Debug)]
struct Place {
    sequence: usize,
    heads: Range<usize>,
    queries: Range<usize>,
    keys: Range<usize>,
}

impl<'a, Q: Element, K: Element> Lens<'a, Q, K> {
    /// A look into [`attend`](crate::attend) with these queries, keys and options, which gave this `lse`, `[batch, heads, q_len]`.
    ///
    /// # Errors
    /// If shapes, lengths or options do not fit each other.
    pub fn new(q: View<'a, Q>, k: View<'a, K>, options: &Options<'a>, lse: &'a [f32]) -> Result<Self> {
        let problem = Problem::new("Lens::new", q, k, k, options)?;
        problem.check_lse("Lens::new", lse.len())?;
        Ok(Self { problem, lse, factors: None, parallelism: options.parallelism })
    }

    /// A look into [`attend_packed`](crate::attend_packed) with these queries, keys and options, which gave this `lse`, `[heads, q_total]`.
    ///
    /// # Errors
    /// If shapes, lengths or options do not fit each other.
    pub fn packed(
        q: View<'a, Q>,
        k: View<'a, K>,
        offsets_q: &'a [usize],
        offsets_k: &'a [usize],
        options: &Options<'a>,
        lse: &'a [f32],
    ) -> Result<Self> {
        let problem = Problem::packed("Lens::packed", q, k, k, [offsets_q, offsets_k], options)?;
        problem.check_lse("Lens::packed", lse.len())?;
        Ok(Self { problem, lse, factors: None, parallelism: options.parallelism })
    }

    /// How many sequences there are.
    pub fn sequences(&self) -> usize {
        self.problem.sequences()
    }

    /// How many heads the queries have.
    pub fn heads(&self) -> usize {
        self.problem.q.shape()[1]
    }

    /// How many queries and keys a sequence has, `[queries, keys]`; `[0, 0]` if there is no such sequence.
    pub fn shape(&self, sequence: usize) -> [usize; 2] {
        if sequence >= self.sequences() {
            return [0, 0];
        }
        let sequence = self.problem.sequence(sequence);
        [sequence.queries.len(), sequence.key_count]
    }

    /// The scores `[queries, keys]` of one head as the softmax sees them; `-inf` where a query may not look.
    ///
    /// # Errors
    /// If there is no such sequence, head, query or key.
    pub fn scores(&self, sequence: usize, head: usize, queries: Range<usize>, keys: Range<usize>) -> Result<Vec<f32>> {
        self.problem.check_place("Lens::scores", sequence, head, &queries, &keys)?;
        let mut out = vec![f32::NEG_INFINITY; queries.len() * keys.len()];
        let sequence = &self.problem.sequence(sequence);
        dispatch_on(self.problem.tier, Scores { problem: &self.problem, sequence, head, queries, keys, out: &mut out });
        Ok(out)
    }

    /// The weights `[queries, keys]` of a rectangle.
    ///
    /// # Errors
    /// If there is no such sequence, head, query or key.
    pub fn tile(&self, sequence: usize, heads: impl Into<Heads>, queries: Range<usize>, keys: Range<usize>) -> Result<Vec<f32>> {
        let place = self.place("Lens::tile", sequence, heads, queries, keys)?;
        Ok(self.fill(&place))
    }

    /// The weights of one query over all keys of its sequence: where it looks.
    ///
    /// # Errors
    /// If there is no such sequence, head or query.
    pub fn row(&self, sequence: usize, heads: impl Into<Heads>, query: usize) -> Result<Vec<f32>> {
        let keys = 0..self.shape(sequence)[1];
        let place = self.place("Lens::row", sequence, heads, query..query.saturating_add(1), keys)?;
        Ok(self.fill(&place))
    }

    /// The weights of all queries of a sequence on one key: who looks at it.
    ///
    /// # Errors
    /// If there is no such sequence, head or key.
    pub fn column(&self, sequence: usize, heads: impl Into<Heads>, key: usize) -> Result<Vec<f32>> {
        let queries = 0..self.shape(sequence)[0];
        let place = self.place("Lens::column", sequence, heads, queries, key..key.saturating_add(1))?;
        Ok(self.fill(&place))
    }

    /// The `k` keys that one query looks at most, and the weight they leave to all others. Keys without weight are not listed.
    ///
    /// # Errors
    /// If there is no such sequence, head or query.
    pub fn top_k(&self, sequence: usize, heads: impl Into<Heads>, query: usize, k: usize) -> Result<TopK> {
        Ok(TopK::of(&self.row(sequence, heads, query)?, k))
    }

    /// The entropy of one query's weights, `-sum_j p_j ln p_j`, in nats: 0 if it looks at one key, `ln n` if at `n` alike.
    ///
    /// # Errors
    /// If there is no such sequence, head or query.
    pub fn entropy(&self, sequence: usize, head: usize, query: usize) -> Result<f32> {
        let scores = self.scores(sequence, head, query..query.saturating_add(1), 0..self.shape(sequence)[1])?;
        let [_, heads, q_len, _] = self.problem.q.shape();
        let place = self.problem.sequence(sequence);
        let lse = self.lse[(place.batch * heads + head) * q_len + place.queries.start + query];
        let seen = scores.iter().filter(|&&s| s != f32::NEG_INFINITY);
        Ok(seen.map(|&s| f64::from((s - lse).exp()) * f64::from(lse - s)).sum::<f64>() as f32)
    }

    /// Checks a rectangle.
    fn place(
        &self,
        operation: &'static str,
        sequence: usize,
        heads: impl Into<Heads>,
        queries: Range<usize>,
        keys: Range<usize>,
    ) -> Result<Place> {
        let heads = heads.into().among(operation, self.heads())?;
        self.problem.check_place(operation, sequence, heads.start, &queries, &keys)?;
        Ok(Place { sequence, heads, queries, keys })
    }

    /// Hands the weights of a part of a place over.
    fn weigh(&self, place: &Place, queries: Range<usize>, keys: Range<usize>, to: &mut impl Take) {
        let sequence = &self.problem.sequence(place.sequence);
        let heads = place.heads.clone();
        let weigh = Weigh { problem: &self.problem, sequence, lse: self.lse, factors: self.factors, heads, queries, keys, to };
        dispatch_on(self.problem.tier, weigh);
    }

    /// The weights of a place, `[queries, keys]`.
    fn fill(&self, place: &Place) -> Vec<f32> {
        let (queries, keys) = (&place.queries, &place.keys);
        let mut out = vec![0.0; queries.len() * keys.len()];
        if out.is_empty() {
            return out;
        }
        // Parts of one row, or some rows.
        let [rows, columns] = if queries.len() == 1 { [1, 16 * KEYS] } else { [4 * ROWS, keys.len()] };
        let part = |(i, out): (usize, &mut [f32])| {
            let (first_query, first_key) = if queries.len() == 1 { (0, i * columns) } else { (i * rows, 0) };
            let queries = queries.start + first_query..queries.end.min(queries.start + first_query + rows);
            let keys = keys.start + first_key..keys.end.min(keys.start + first_key + columns);
            self.weigh(place, queries.clone(), keys.clone(), &mut Fill { queries, keys, out });
        };
        if self.is_worth_threads(place) {
            out.par_chunks_mut(rows * columns).enumerate().for_each(part);
        } else {
            out.chunks_mut(rows * columns).enumerate().for_each(part);
        }
        out
    }

    /// Runs each part of the work on a place.
    fn each_part<T: Send>(&self, place: &Place, parts: usize, run: impl Fn(usize) -> T + Send + Sync) -> Vec<T> {
        if parts > 1 && self.is_worth_threads(place) {
            (0..parts).into_par_iter().map(run).collect()
        } else {
            (0..parts).map(run).collect()
        }
    }

    fn is_worth_threads(&self, place: &Place) -> bool {
        let products = place.heads.len() * place.queries.len() * place.keys.len() * self.problem.dims()[0].max(1);
        self.parallelism == Parallelism::Rayon && products > 1 << 20
    }
}

impl TopK {
    /// The `k` largest of a row of weights.
    fn of(row: &[f32], k: usize) -> Self {
        let mut keys: Vec<usize> = (0..row.len()).filter(|&key| row[key] > 0.0).collect();
        let heavier = |a: &usize, b: &usize| row[*b].total_cmp(&row[*a]).then(a.cmp(b));
        let mut rest = Vec::new();
        if k < keys.len() {
            keys.select_nth_unstable_by(k, heavier);
            rest = keys.split_off(k);
        }
        keys.sort_unstable_by(heavier);
        let weights = keys.iter().map(|&key| row[key]).collect();
        Self { keys, weights, rest: rest.iter().map(|&key| f64::from(row[key])).sum::<f64>() as f32 }
    }
}

/// Writes weights to `[queries][keys]`.
struct Fill<'a> {
    queries: Range<usize>,
    keys: Range<usize>,
    out: &'a mut [f32],
}

impl Take for Fill<'_> {
    #[inline(always)]
    fn take<I: Isa>(&mut self, _: I, tile: &WeightTile<'_>) {
        for (lane, query) in tile.queries.clone().enumerate() {
            let first = (query - self.queries.start) * self.keys.len() + tile.keys.start - self.keys.start;
            for (to, weights) in self.out[first..].iter_mut().zip(tile.weights.chunks_exact(tile.width)) {
                *to = weights[lane];
            }
        }
    }
}
