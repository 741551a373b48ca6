//! Looking in: the weights of an attention that has already been computed, exact, and only those that are asked for.
//!
//! From queries, keys, options and the log-sum-exp that [`attend`](crate::attend) returned, any weight is one dot product away:
//! `p_ij = e^(s_ij - lse_i)`, with the score `s_ij` after every option. Nothing is approximated and nothing n x n is ever stored unless
//! a tile of that size is asked for.
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

use std::ops::Range;

use crate::kernel::lens::Scores;
use crate::problem::Problem;
use crate::simd::dispatch;
use crate::{Element, Options, Result, View};

/// A look into one call of [`attend`](crate::attend) or [`attend_packed`](crate::attend_packed).
///
/// A *sequence* is an entry of the batch, or one of the packed sequences; queries and keys count from its own first ones.
#[derive(Clone, Copy, Debug)]
pub struct Lens<'a, Q = f32, K = f32> {
    problem: Problem<'a, Q, K>,
    lse: &'a [f32],
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

impl<'a, Q: Element, K: Element> Lens<'a, Q, K> {
    /// A look into [`attend`](crate::attend) with these queries, keys and options, which gave this `lse`.
    ///
    /// # Errors
    /// If shapes, lengths or options do not fit each other.
    pub fn new(q: View<'a, Q>, k: View<'a, K>, options: &Options<'a>, lse: &'a [f32]) -> Result<Self> {
        let problem = Problem::new("Lens::new", q, k, k, options)?;
        problem.check_lse("Lens::new", lse.len())?;
        Ok(Self { problem, lse })
    }

    /// A look into [`attend_packed`](crate::attend_packed) with these queries, keys and options, which gave this `lse`.
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
        Ok(Self { problem, lse })
    }

    /// The scores `[queries, keys]` as the softmax sees them; `-inf` where a query may not look.
    ///
    /// # Errors
    /// If there is no such sequence, head, query or key.
    pub fn scores(&self, sequence: usize, head: usize, queries: Range<usize>, keys: Range<usize>) -> Result<Vec<f32>> {
        self.problem.check_place("Lens::scores", sequence, head, &queries, &keys)?;
        let mut out = vec![f32::NEG_INFINITY; queries.len() * keys.len()];
        let sequence = &self.problem.sequence(sequence);
        dispatch(Scores { problem: &self.problem, sequence, head, queries, keys, out: &mut out });
        Ok(out)
    }

    /// The weights `[queries, keys]` of a rectangle.
    ///
    /// # Errors
    /// If there is no such sequence, head, query or key.
    pub fn tile(&self, sequence: usize, head: usize, queries: Range<usize>, keys: Range<usize>) -> Result<Vec<f32>> {
        let mut tile = self.scores(sequence, head, queries.clone(), keys.clone())?;
        for (query, row) in queries.zip(tile.chunks_exact_mut(keys.len().max(1))) {
            let lse = self.lse(sequence, head, query);
            for s in row {
                *s = weight(*s, lse);
            }
        }
        Ok(tile)
    }

    /// The weights of one query over all keys of its sequence.
    ///
    /// # Errors
    /// If there is no such sequence, head or query.
    pub fn row(&self, sequence: usize, head: usize, query: usize) -> Result<Vec<f32>> {
        self.tile(sequence, head, query..query + 1, 0..self.key_count(sequence))
    }

    /// The `k` keys that one query looks at most, and the weight they leave to all others. Keys without weight are not listed.
    ///
    /// # Errors
    /// If there is no such sequence, head or query.
    pub fn top_k(&self, sequence: usize, head: usize, query: usize, k: usize) -> Result<TopK> {
        let row = self.row(sequence, head, query)?;
        let mut keys: Vec<usize> = (0..row.len()).filter(|&key| row[key] > 0.0).collect();
        keys.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        let rest = keys.split_off(k.min(keys.len()));
        let weights = keys.iter().map(|&key| row[key]).collect();
        Ok(TopK { keys, weights, rest: rest.iter().map(|&key| row[key]).sum() })
    }

    /// The entropy of one query's weights, `-sum_j p_j ln p_j`, in nats: 0 if it looks at one key, `ln n` if at `n` alike.
    ///
    /// # Errors
    /// If there is no such sequence, head or query.
    pub fn entropy(&self, sequence: usize, head: usize, query: usize) -> Result<f32> {
        let scores = self.scores(sequence, head, query..query + 1, 0..self.key_count(sequence))?;
        let lse = self.lse(sequence, head, query);
        let seen = scores.iter().filter(|&&s| s != f32::NEG_INFINITY);
        Ok(seen.map(|&s| f64::from(weight(s, lse)) * f64::from(lse - s)).sum::<f64>() as f32)
    }

    /// How many keys a sequence has; 0 if there is no such sequence, which whoever uses the number reports.
    fn key_count(&self, sequence: usize) -> usize {
        if sequence < self.problem.sequences() { self.problem.sequence(sequence).key_count } else { 0 }
    }

    fn lse(&self, sequence: usize, head: usize, query: usize) -> f32 {
        let [_, heads, q_len, _] = self.problem.q.shape();
        let sequence = self.problem.sequence(sequence);
        self.lse[(sequence.batch * heads + head) * q_len + sequence.queries.start + query]
    }
}

fn weight(score: f32, lse: f32) -> f32 {
    if score == f32::NEG_INFINITY { 0.0 } else { (score - lse).exp() }
}
