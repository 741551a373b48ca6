//! One step of attention over variable-length sources in one fused pass: scores, softmax and context, and the way back.

use heedful::kernel::elementary::tanh;
use heedful::kernel::lanes::{axpy, dot, softmax};
use heedful::simd::{Isa, Op};

use crate::incremental::Imposed;

/// How a query `q` is compared with a key `k`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Comparison<'a> {
    /// `v . tanh(q + k)`, given `v`.
    Additive(&'a [f32]),
    /// `q . k`.
    Product,
}

/// Sources lie sentence after sentence; row `i` of a step looks at positions `offsets[s]..offsets[s + 1]` with `s = sentences[i]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources<'a> {
    pub sentences: &'a [usize],
    pub offsets: &'a [usize],
    /// `[total, key_width]`.
    pub keys: &'a [f32],
    pub key_width: usize,
    /// `[total, value_width]`.
    pub values: &'a [f32],
    pub value_width: usize,
}

impl Sources<'_> {
    /// The first position that row `i` looks at, and how many there are.
    #[inline(always)]
    fn span(&self, i: usize) -> (usize, usize) {
        let sentence = self.sentences[i];
        (self.offsets[sentence], self.offsets[sentence + 1] - self.offsets[sentence])
    }

    #[inline(always)]
    fn key(&self, position: usize) -> &[f32] {
        &self.keys[position * self.key_width..][..self.key_width]
    }

    #[inline(always)]
    fn value(&self, position: usize) -> &[f32] {
        &self.values[position * self.value_width..][..self.value_width]
    }
}

/// `weights = softmax(scores)` and `context = weights values` for each row of a step.
pub(crate) struct Attend<'a> {
    pub sources: Sources<'a>,
    pub comparison: Comparison<'a>,
    pub imposed: &'a [Imposed],
    /// One query of `key_width` numbers every `query_stride`.
    pub queries: &'a [f32],
    pub query_stride: usize,
    /// Row after row, as many numbers as its source has positions.
    pub weights: &'a mut [f32],
    /// `[n, value_width]`.
    pub context: &'a mut [f32],
}

impl Op for Attend<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let sources = self.sources;
        let mut rest = self.weights;
        for (i, context) in self.context.chunks_exact_mut(sources.value_width).enumerate() {
            let (first, len) = sources.span(i);
            let (weights, later) = rest.split_at_mut(len);
            rest = later;
            let query = &self.queries[i * self.query_stride..][..sources.key_width];
            for (j, score) in weights.iter_mut().enumerate() {
                *score = match self.comparison {
                    Comparison::Additive(energy) => energy_of(isa, energy, query, sources.key(first + j)),
                    Comparison::Product => dot(isa, query, sources.key(first + j)),
                };
            }
            Imposed::add(self.imposed, i, weights);
            softmax(isa, weights);
            context.fill(0.0);
            for (j, &weight) in weights.iter().enumerate() {
                axpy(isa, weight, sources.value(first + j), context);
            }
        }
    }
}

/// `v . tanh(q + k)`.
#[inline(always)]
fn energy_of<I: Isa>(isa: I, energy: &[f32], query: &[f32], key: &[f32]) -> f32 {
    let mut sum = isa.splat(0.0);
    for ((v, q), k) in energy.chunks(I::LANES).zip(query.chunks(I::LANES)).zip(key.chunks(I::LANES)) {
        let inner = tanh(isa, isa.add(isa.load_partial(q, 0.0), isa.load_partial(k, 0.0)));
        sum = isa.fma(isa.load_partial(v, 0.0), inner, sum);
    }
    isa.sum(sum)
}

/// From the derivative by the contexts of a step to those by queries, keys, values and `v`.
pub(crate) struct AttendBackward<'a> {
    pub sources: Sources<'a>,
    pub comparison: Comparison<'a>,
    /// The queries, `[n, key_width]`, if `d_queries` does not hold them.
    pub queries: Option<&'a [f32]>,
    /// One slot of `key_width` numbers every `query_stride`. The derivative by the query is added to it; or, if `queries` is `None`, takes the
    /// place of the query in it.
    pub d_queries: &'a mut [f32],
    pub query_stride: usize,
    /// What [`Attend`] wrote.
    pub weights: &'a [f32],
    /// What is added to the derivatives by the scores, in the layout of the weights; empty: nothing.
    pub d_scores_beside: &'a [f32],
    /// `[n, value_width]`.
    pub d_context: &'a [f32],
    /// `[total, value_width]`, added to.
    pub d_values: &'a mut [f32],
    /// `[total, key_width]`, added to; `None` if the keys are the values.
    pub d_keys: Option<&'a mut [f32]>,
    /// `[key_width]`, added to; empty if there is no `v`.
    pub d_energy: &'a mut [f32],
    /// Scratch for one source sentence and one query.
    pub d_scores: &'a mut [f32],
    pub query: &'a mut [f32],
}

impl Op for AttendBackward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(mut self, isa: I) {
        let sources = self.sources;
        let (key_width, value_width) = (sources.key_width, sources.value_width);
        let mut rest = self.weights;
        let mut beside = self.d_scores_beside;
        for (i, d_context) in self.d_context.chunks_exact(value_width).enumerate() {
            let (first, len) = sources.span(i);
            let (weights, later) = rest.split_at(len);
            rest = later;

            // d_score_j = a_j (d_a_j - sum_k a_k d_a_k) with d_a_j = d_c . h_j.
            let d_scores = &mut self.d_scores[..len];
            for (j, d_weight) in d_scores.iter_mut().enumerate() {
                *d_weight = dot(isa, d_context, sources.value(first + j));
                axpy(isa, weights[j], d_context, &mut self.d_values[(first + j) * value_width..][..value_width]);
            }
            let mean = dot(isa, weights, d_scores);
            for (d_score, weight) in d_scores.iter_mut().zip(weights) {
                *d_score = weight * (*d_score - mean);
            }
            if !beside.is_empty() {
                let (own, later) = beside.split_at(len);
                beside = later;
                axpy(isa, 1.0, own, d_scores);
            }

            let d_query = &mut self.d_queries[i * self.query_stride..][..key_width];
            let query = if let Some(queries) = self.queries {
                &queries[i * key_width..][..key_width]
            } else {
                self.query.copy_from_slice(d_query);
                d_query.fill(0.0);
                &*self.query
            };
            for (j, &d_score) in d_scores.iter().enumerate() {
                let at = (first + j) * key_width;
                let d_key = match &mut self.d_keys {
                    Some(d_keys) => &mut d_keys[at..][..key_width],
                    None => &mut self.d_values[at..][..key_width],
                };
                match self.comparison {
                    Comparison::Additive(energy) => {
                        energy_backward(isa, energy, query, sources.key(first + j), d_score, [self.d_energy, d_query, d_key]);
                    }
                    Comparison::Product => {
                        axpy(isa, d_score, sources.key(first + j), d_query);
                        axpy(isa, d_score, query, d_key);
                    }
                }
            }
        }
    }
}

/// Adds the derivatives of `d_score * v . tanh(q + k)` by `v`, `q` and `k`.
#[inline(always)]
fn energy_backward<I: Isa>(isa: I, energy: &[f32], query: &[f32], key: &[f32], d_score: f32, derivatives: [&mut [f32]; 3]) {
    let [d_energy, d_query, d_key] = derivatives.map(|d| d.chunks_mut(I::LANES));
    let inputs = energy.chunks(I::LANES).zip(query.chunks(I::LANES).zip(key.chunks(I::LANES)));
    let (one, d_score) = (isa.splat(1.0), isa.splat(d_score));
    for ((v, (q, k)), (d_v, (d_q, d_k))) in inputs.zip(d_energy.zip(d_query.zip(d_key))) {
        let inner = tanh(isa, isa.add(isa.load_partial(q, 0.0), isa.load_partial(k, 0.0)));
        isa.store_partial(isa.fma(d_score, inner, isa.load_partial(d_v, 0.0)), d_v);
        let d_inner = isa.mul(isa.mul(d_score, isa.load_partial(v, 0.0)), isa.neg_fma(inner, inner, one));
        isa.store_partial(isa.add(isa.load_partial(d_q, 0.0), d_inner), d_q);
        isa.store_partial(isa.add(isa.load_partial(d_k, 0.0), d_inner), d_k);
    }
}
