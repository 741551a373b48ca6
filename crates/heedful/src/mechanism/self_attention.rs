//! Self-attention with trainable weights: each token asks with its query, answers with its key, and hands on its value.
//!
//! `q = x W_q`, `k = x W_k`, `v = x W_v`; `context_i = sum_j softmax_j(q_i . k_j / sqrt(d)) v_j` (Vaswani et al. 2017, eq. 1), with `x`
//! `[tokens, inputs]`, `q` and `k` `[tokens, d]`. The scores are divided by `sqrt(d)` so that they do not grow with the width, where the
//! softmax would hardly pass a gradient.

use super::causal::Dropout;
use super::{Head, Projection, Steps, plain};
use crate::kernel::slice::axpy;
use crate::lens::Lens;
use crate::{Error, Options, Result};

/// The three projections of one head.
#[derive(Clone, Debug, PartialEq)]
pub struct SelfAttention {
    query: Projection,
    key: Projection,
    value: Projection,
}

impl SelfAttention {
    /// From projections of either layout: [`Projection::parameter`] (first version of the layer) or [`Projection::linear`] (second).
    ///
    /// # Errors
    /// If they do not take tokens of one width, or queries and keys differ in width.
    pub fn new(query: Projection, key: Projection, value: Projection) -> Result<Self> {
        const OPERATION: &str = "SelfAttention::new";
        check_projections(OPERATION, &query, &key, &value)?;
        if key.inputs() != query.inputs() {
            return Err(mismatch(OPERATION, "key", &key, format!("it must take tokens of {} numbers, as the query does", query.inputs())));
        }
        Ok(Self { query, key, value })
    }

    /// Width of a context.
    pub fn outputs(&self) -> usize {
        self.value.outputs()
    }

    /// The contexts `[tokens, outputs]` of `x`, `[tokens, inputs]`.
    ///
    /// # Errors
    /// If `x` does not consist of whole rows.
    pub fn forward(&self, x: &[f32]) -> Result<Vec<f32>> {
        self.forward_with(x, &plain())
    }

    /// The numbers on the way.
    ///
    /// # Errors
    /// If `x` does not consist of whole rows.
    pub fn steps(&self, x: &[f32]) -> Result<Steps> {
        self.steps_with(x, &plain())
    }

    pub(super) fn forward_with(&self, x: &[f32], options: &Options<'_>) -> Result<Vec<f32>> {
        Ok(self.head(x)?.attend(options)?.0)
    }

    pub(super) fn steps_with(&self, x: &[f32], options: &Options<'_>) -> Result<Steps> {
        self.head(x)?.steps(options)
    }

    /// Contexts from weights that dropout has thinned out, one row of weights at a time.
    pub(super) fn forward_thinned(&self, x: &[f32], options: &Options<'_>, dropout: &Dropout<'_>) -> Result<Vec<f32>> {
        let head = self.head(x)?;
        let (mut context, lse) = head.attend(options)?;
        let [q, k, _] = head.views()?;
        let lens = Lens::new(q, k, options, &lse)?;
        dropout.check(head.q_len(), head.k_len())?;
        for (i, context) in context.chunks_exact_mut(head.value_dim.max(1)).enumerate() {
            context.fill(0.0);
            for (j, weight) in lens.row(0, 0, i)?.into_iter().enumerate() {
                axpy(weight * dropout.factor(i, j, head.k_len()), &head.values[j * head.value_dim..][..head.value_dim], context);
            }
        }
        Ok(context)
    }

    fn head(&self, x: &[f32]) -> Result<Head> {
        Ok(Head {
            queries: self.query.forward(x)?,
            keys: self.key.forward(x)?,
            values: self.value.forward(x)?,
            dim: self.query.outputs(),
            value_dim: self.value.outputs(),
        })
    }
}

/// Queries and keys must be of one width, keys and values of the same tokens.
pub(super) fn check_projections(operation: &'static str, query: &Projection, key: &Projection, value: &Projection) -> Result<()> {
    if key.outputs() != query.outputs() {
        return Err(mismatch(operation, "key", key, format!("it must give {} numbers, as the query does", query.outputs())));
    }
    if value.inputs() != key.inputs() {
        return Err(mismatch(operation, "value", value, format!("it must take tokens of {} numbers, as the key does", key.inputs())));
    }
    Ok(())
}

pub(super) fn mismatch(operation: &'static str, operand: &'static str, projection: &Projection, fix: String) -> Error {
    Error::Shape { operation, operand, shape: vec![projection.outputs(), projection.inputs()], fix }
}
