//! Guided alignment: attention that is taught where to look (Chen et al. 2016, section 3; Garg et al. 2019, section 3.2).
//!
//! For a query that ought to look at the keys `K`, each with the share `a = 1 / |K|`, and the mean `p` of the guided heads' weights, the loss is
//! the cross-entropy `-weight sum_{j in K} a log p_j`. Its derivative by the score of head `h` of `H` and key `j` is, with `p_h` the head's own
//! weights and `r_j = a p_hj / (H p_j)` for linked keys, `weight (p_hj sum_K r - r_j)`: for a single head, `weight (p_j - a_j)`.

use std::ops::Range;

use heedful::kernel::slice::{axpy, dot};

/// Where queries ought to look.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guide {
    /// The heads whose mean is guided.
    pub heads: Range<usize>,
    /// What the loss is multiplied with.
    pub weight: f32,
    /// `[query, key]`, rows of the queries and of the memory; those of a query stand together. The keys of a query share 1 equally; a query
    /// without a link is free.
    pub links: Vec<[u32; 2]>,
}

/// What the guided heads of a layer looked with.
pub(crate) struct Looked<'a> {
    /// `[n, heads * head_dim]`.
    pub queries: &'a [f32],
    /// `[m, 2 * heads * head_dim]`: keys, and the values beside them.
    pub memory: &'a [f32],
    /// `[heads, n]`.
    pub lse: &'a [f32],
    pub offsets: &'a [usize],
    pub memory_offsets: &'a [usize],
    pub dim: usize,
    pub head_dim: usize,
}

impl Guide {
    /// The links, query by query.
    pub(crate) fn queries(&self) -> impl Iterator<Item = &[[u32; 2]]> {
        self.links.chunk_by(|a, b| a[0] == b[0])
    }

    /// Adds the derivatives by the queries and by the keys in the same layouts; returns the loss.
    pub(crate) fn add_to(&self, looked: &Looked<'_>, d_queries: &mut [f32], d_memory: &mut [f32]) -> f64 {
        let Looked { queries, memory, lse, offsets, memory_offsets, dim, head_dim } = *looked;
        let n = queries.len() / dim;
        let scale = (head_dim as f32).powf(-0.5);
        let mut loss = 0.0;
        let (mut p, mut ratios) = (Vec::new(), Vec::new());
        for links in self.queries() {
            let query = links[0][0] as usize;
            let sentence = offsets.partition_point(|&start| start <= query) - 1;
            let keys = memory_offsets[sentence]..memory_offsets[sentence + 1];
            p.clear();
            for head in self.heads.clone() {
                let q = &queries[query * dim + head * head_dim..][..head_dim];
                p.extend(keys.clone().map(|key| {
                    let k = &memory[key * 2 * dim + head * head_dim..][..head_dim];
                    (dot(q, k) * scale - lse[head * n + query]).exp()
                }));
            }
            let shares = Shares { weights: &p, heads: self.heads.len(), first: keys.start, links };
            loss -= f64::from(self.weight) * shares.log_likelihood();
            for (own, head) in self.heads.clone().enumerate() {
                let weights = &p[own * keys.len()..(own + 1) * keys.len()];
                ratios.clear();
                ratios.extend(shares.ratios(own));
                let sum: f32 = ratios.iter().sum();
                let mut add = |key: usize, d_score: f32| {
                    let (at, d) = (key * 2 * dim + head * head_dim, self.weight * scale * d_score);
                    axpy(d, &memory[at..][..head_dim], &mut d_queries[query * dim + head * head_dim..][..head_dim]);
                    axpy(d, &queries[query * dim + head * head_dim..][..head_dim], &mut d_memory[at..][..head_dim]);
                };
                for (key, weight) in keys.clone().zip(weights) {
                    add(key, weight * sum);
                }
                for (link, ratio) in links.iter().zip(&ratios) {
                    add(link[1] as usize, -ratio);
                }
            }
        }
        loss
    }

    /// Adds the derivatives by the scores of a single head, given its weights: those of query `i` are `weights[offsets[i]..offsets[i + 1]]`, and
    /// `first[i]` is the memory's row that the first of them belongs to. Returns the loss.
    pub(crate) fn add_to_rows(&self, weights: &[f32], offsets: &[usize], first: &[usize], d_scores: &mut [f32]) -> f64 {
        let mut loss = 0.0;
        for links in self.queries() {
            let query = links[0][0] as usize;
            let row = offsets[query]..offsets[query + 1];
            let shares = Shares { weights: &weights[row.clone()], heads: 1, first: first[query], links };
            loss -= f64::from(self.weight) * shares.log_likelihood();
            let d_scores = &mut d_scores[row.clone()];
            axpy(self.weight, &weights[row], d_scores);
            for link in links {
                d_scores[link[1] as usize - first[query]] -= self.weight / links.len() as f32;
            }
        }
        loss
    }
}

/// A query's weights, `[heads, keys]`, and its links; `first` is the row of the first key.
struct Shares<'a> {
    weights: &'a [f32],
    heads: usize,
    first: usize,
    links: &'a [[u32; 2]],
}

impl Shares<'_> {
    fn mean(&self, link: [u32; 2]) -> f32 {
        let keys = self.weights.len() / self.heads;
        self.weights[link[1] as usize - self.first..].iter().step_by(keys).sum::<f32>() / self.heads as f32
    }

    /// `sum_{j in K} a log p_j`; a weight that is no more than 0 counts as the smallest number.
    fn log_likelihood(&self) -> f64 {
        let sum: f64 = self.links.iter().map(|&link| f64::from(self.mean(link).max(f32::MIN_POSITIVE)).ln()).sum();
        sum / self.links.len() as f64
    }

    /// `r_j` of a head for each link. Where no head has any weight left, each has an equal part.
    fn ratios(&self, head: usize) -> impl Iterator<Item = f32> {
        let keys = self.weights.len() / self.heads;
        self.links.iter().map(move |&link| {
            let mean = self.mean(link);
            let own = self.weights[head * keys + link[1] as usize - self.first];
            let part = if mean > 0.0 { own / mean } else { 1.0 };
            part / (self.heads * self.links.len()) as f32
        })
    }
}
