//! Cross-attention: the tokens of one sequence ask, those of another answer. How a decoder reads what the encoder has understood
//! (Vaswani et al. 2017, section 3.2.3).
//!
//! `q = x W_q`, `k = m W_k`, `v = m W_v`; `context_i = sum_j softmax_j(q_i . k_j / sqrt(d)) v_j` over the tokens `j` of the memory `m`.

use super::self_attention::check_projections;
use super::{Head, Projection, Steps, plain};
use crate::Result;

/// The three projections of one head.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossAttention {
    query: Projection,
    key: Projection,
    value: Projection,
}

impl CrossAttention {
    /// From projections: `query` of the sequence that asks, `key` and `value` of the memory.
    ///
    /// # Errors
    /// If queries and keys differ in width, or keys and values take tokens of different widths.
    pub fn new(query: Projection, key: Projection, value: Projection) -> Result<Self> {
        check_projections("CrossAttention::new", &query, &key, &value)?;
        Ok(Self { query, key, value })
    }

    /// The contexts `[tokens, outputs]` of `x`, `[tokens, inputs]`, over `memory`, `[memory tokens, memory inputs]`.
    ///
    /// # Errors
    /// If `x` or `memory` do not consist of whole rows.
    pub fn forward(&self, x: &[f32], memory: &[f32]) -> Result<Vec<f32>> {
        Ok(self.head(x, memory)?.attend(&plain())?.0)
    }

    /// The numbers on the way.
    ///
    /// # Errors
    /// If `x` or `memory` do not consist of whole rows.
    pub fn steps(&self, x: &[f32], memory: &[f32]) -> Result<Steps> {
        self.head(x, memory)?.steps(&plain())
    }

    fn head(&self, x: &[f32], memory: &[f32]) -> Result<Head> {
        Ok(Head {
            queries: self.query.forward(x)?,
            keys: self.key.forward(memory)?,
            values: self.value.forward(memory)?,
            dim: self.query.outputs(),
            value_dim: self.value.outputs(),
        })
    }
}
