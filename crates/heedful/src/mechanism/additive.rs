//! Additive attention: a small network scores how well a decoder state and an encoder state fit (Bahdanau et al. 2015, section 3.1 and
//! appendix A.1.2). The mechanism with which attention began.
//!
//! `e_ij = v . tanh(W s_i + U h_j (+ b))`, `weights_i = softmax_j(e_ij)`, `context_i = sum_j weights_ij h_j`, with queries `s`
//! `[batch, q_len, query width]` and the memory `h` `[batch, k_len, memory width]`.

use super::alignment::{Sizes, align, align_backward};
use super::self_attention::mismatch;
use super::{Alignment, Inputs, Projection, ProjectionGradients, expect_len};
use crate::Result;
use crate::kernel::slice::{axpy, dot, tanh};

/// The scoring network.
#[derive(Clone, Debug, PartialEq)]
pub struct Additive {
    query: Projection,
    key: Projection,
    energy: Vec<f32>,
}

/// What [`Additive::backward`] gives.
#[derive(Clone, Debug, PartialEq)]
pub struct AdditiveGradients {
    /// By `W`, its bias, and the queries (`x`).
    pub query: ProjectionGradients,
    /// By `U`, its bias, and the memory (`x`), the values included if they are the memory.
    pub key: ProjectionGradients,
    /// By `v`.
    pub energy: Vec<f32>,
    /// By the values, if they are not the memory; else empty.
    pub values: Vec<f32>,
}

impl Additive {
    /// `W` (which may carry `b`), `U` and `v`.
    ///
    /// # Errors
    /// If their hidden widths differ.
    pub fn new(query: Projection, key: Projection, energy: Vec<f32>) -> Result<Self> {
        const OPERATION: &str = "Additive::new";
        if key.outputs() != query.outputs() {
            return Err(mismatch(OPERATION, "key", &key, format!("it must give {} numbers, as the query does", query.outputs())));
        }
        expect_len(OPERATION, "energy", energy.len(), query.outputs())?;
        Ok(Self { query, key, energy })
    }

    /// Weights and contexts.
    ///
    /// # Errors
    /// If the inputs do not fit each other.
    pub fn forward(&self, inputs: &Inputs<'_>) -> Result<Alignment> {
        let sizes = self.sizes("Additive::forward", inputs)?;
        let scores = self.scores(inputs, sizes)?;
        Ok(align(scores, inputs.mixed(), sizes))
    }

    /// The scores `[batch, q_len, k_len]`; `-inf` where a query may not look.
    fn scores(&self, inputs: &Inputs<'_>, sizes: Sizes) -> Result<Vec<f32>> {
        let mut scores = vec![f32::NEG_INFINITY; sizes.batch * sizes.q_len * sizes.k_len];
        self.each_pair(inputs, sizes, |place, _, _, hidden| scores[place] = dot(&self.energy, hidden))?;
        Ok(scores)
    }

    /// Calls `visit(place, query row, memory row, tanh(..))` for each pair that may look at each other.
    fn each_pair(&self, inputs: &Inputs<'_>, sizes: Sizes, mut visit: impl FnMut(usize, usize, usize, &[f32])) -> Result<()> {
        let Sizes { batch, q_len, k_len, .. } = sizes;
        let width = self.energy.len();
        let (queries, keys) = (self.query.forward(inputs.queries)?, self.key.forward(inputs.memory)?);
        let mut hidden = vec![0.0; width];
        for b in 0..batch {
            for i in 0..q_len {
                let query = b * q_len + i;
                for j in (0..k_len).filter(|&j| inputs.visible.sees(sizes, b, i, j)) {
                    let key = b * k_len + j;
                    hidden.copy_from_slice(&queries[query * width..][..width]);
                    axpy(1.0, &keys[key * width..][..width], &mut hidden);
                    tanh(&mut hidden);
                    visit(query * k_len + j, query, key, &hidden);
                }
            }
        }
        Ok(())
    }

    /// The gradients from those by the contexts and, where the weights are used elsewhere too, by the weights.
    ///
    /// # Errors
    /// If the inputs do not fit each other.
    pub fn backward(
        &self,
        inputs: &Inputs<'_>,
        alignment: &Alignment,
        d_context: &[f32],
        d_weights: Option<&[f32]>,
    ) -> Result<AdditiveGradients> {
        const OPERATION: &str = "Additive::backward";
        let sizes = self.sizes(OPERATION, inputs)?;
        let (d_scores, d_values) = align_backward(OPERATION, alignment, inputs.mixed(), sizes, d_context, d_weights)?;
        let width = self.energy.len();
        let mut d_queries = vec![0.0; sizes.batch * sizes.q_len * width];
        let mut d_keys = vec![0.0; sizes.batch * sizes.k_len * width];
        let mut d_energy = vec![0.0; width];
        self.each_pair(inputs, sizes, |place, query, key, hidden| {
            let d = d_scores[place];
            axpy(d, hidden, &mut d_energy);
            for c in 0..width {
                let d_hidden = d * self.energy[c] * (1.0 - hidden[c] * hidden[c]);
                d_queries[query * width + c] += d_hidden;
                d_keys[key * width + c] += d_hidden;
            }
        })?;
        let query = self.query.backward(inputs.queries, &d_queries)?;
        let mut key = self.key.backward(inputs.memory, &d_keys)?;
        let values = if inputs.values.is_some() {
            d_values
        } else {
            axpy(1.0, &d_values, &mut key.x);
            Vec::new()
        };
        Ok(AdditiveGradients { query, key, energy: d_energy, values })
    }

    fn sizes(&self, operation: &'static str, inputs: &Inputs<'_>) -> Result<Sizes> {
        inputs.sizes(operation, self.query.inputs(), self.key.inputs())
    }
}
