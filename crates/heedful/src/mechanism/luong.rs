//! Luong's attention: the score is a product (Luong et al. 2015, section 3.1, eq. 8), not scaled.
//!
//! | score | `e_ij` |
//! |---|---|
//! | dot | `s_i . h_j` |
//! | general | `s_i . W h_j` |
//! | concat | `v . tanh(W [s_i; h_j])` |
//!
//! `weights_i = softmax_j(e_ij)`, `context_i = sum_j weights_ij h_j`, with queries `s` `[batch, q_len, query width]` and the memory `h`
//! `[batch, k_len, memory width]`. [`ReadOut`] then joins context and query, eq. 5.

use super::additive::{Additive, AdditiveGradients};
use super::alignment::align_backward;
use super::{Alignment, Inputs, Projection, expect_len, plain, rows};
use crate::kernel::slice::axpy;
use crate::lens::Lens;
use crate::{Error, Result, View, ViewMut, attend};

/// One of the three scores.
#[derive(Clone, Debug, PartialEq)]
pub enum Luong {
    /// Queries and memory of one width.
    Dot {
        /// That width.
        width: usize,
    },
    /// `W`, `[query width, memory width]`.
    General(Projection),
    /// `W` in two parts, one for the query and one for the memory, and `v`; see [`Luong::concat`].
    Concat(Additive),
}

/// What [`Luong::backward`] gives.
#[derive(Clone, Debug, PartialEq)]
pub struct LuongGradients {
    /// By the queries.
    pub queries: Vec<f32>,
    /// By the memory, the values included if they are the memory.
    pub memory: Vec<f32>,
    /// By the values, if they are not the memory; else empty.
    pub values: Vec<f32>,
    /// By `W`; empty for dot.
    pub weight: Vec<f32>,
    /// By `v`; empty but for concat.
    pub energy: Vec<f32>,
}

impl Luong {
    /// The concat score from `W`, `[hidden, query width + memory width]`, and `v`, `[hidden]`.
    ///
    /// # Errors
    /// If `W` has another length.
    pub fn concat(weight: &[f32], energy: Vec<f32>, query_width: usize, memory_width: usize) -> Result<Self> {
        let (hidden, width) = (energy.len(), query_width + memory_width);
        expect_len("Luong::concat", "weight", weight.len(), hidden * width)?;
        let columns = |from: usize, to: usize| weight.chunks_exact(width.max(1)).flat_map(|row| &row[from..to]).copied().collect();
        let query = Projection::linear(columns(0, query_width), None, query_width, hidden)?;
        let key = Projection::linear(columns(query_width, width), None, memory_width, hidden)?;
        Ok(Self::Concat(Additive::new(query, key, energy)?))
    }

    /// Weights and contexts.
    ///
    /// # Errors
    /// If the inputs do not fit each other.
    pub fn forward(&self, inputs: &Inputs<'_>) -> Result<Alignment> {
        match self {
            Self::Dot { width } => products(inputs, inputs.memory, *width, *width),
            Self::General(weight) => products(inputs, &weight.forward(inputs.memory)?, weight.outputs(), weight.inputs()),
            Self::Concat(network) => network.forward(inputs),
        }
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
    ) -> Result<LuongGradients> {
        let from_products = |keys: &[f32], query_width, memory_width| -> Result<_> {
            products_backward(inputs, keys, query_width, memory_width, alignment, d_context, d_weights)
        };
        let (mut gradients, d_values) = match self {
            Self::Dot { width } => {
                let (queries, memory, values) = from_products(inputs.memory, *width, *width)?;
                (LuongGradients { queries, memory, values: Vec::new(), weight: Vec::new(), energy: Vec::new() }, values)
            }
            Self::General(weight) => {
                let keys = weight.forward(inputs.memory)?;
                let (queries, d_keys, values) = from_products(&keys, weight.outputs(), weight.inputs())?;
                let by_weight = weight.backward(inputs.memory, &d_keys)?;
                let (memory, weight) = (by_weight.x, by_weight.weight);
                (LuongGradients { queries, memory, values: Vec::new(), weight, energy: Vec::new() }, values)
            }
            Self::Concat(network) => {
                let AdditiveGradients { query, key, energy, values } = network.backward(inputs, alignment, d_context, d_weights)?;
                let hidden = energy.len().max(1);
                let (q, k) = (query.weight.len() / hidden, key.weight.len() / hidden);
                let weight =
                    (0..energy.len()).flat_map(|o| query.weight[o * q..][..q].iter().chain(&key.weight[o * k..][..k])).copied().collect();
                return Ok(LuongGradients { queries: query.x, memory: key.x, values, weight, energy });
            }
        };
        if inputs.values.is_some() {
            gradients.values = d_values;
        } else {
            axpy(1.0, &d_values, &mut gradients.memory);
        }
        Ok(gradients)
    }
}

/// Attention by products with keys `[batch, k_len, query width]`: the engine's, without scale.
fn products(inputs: &Inputs<'_>, keys: &[f32], query_width: usize, memory_width: usize) -> Result<Alignment> {
    let sizes = inputs.sizes("Luong::forward", query_width, memory_width)?;
    let (batch, q_len, k_len) = (sizes.batch, sizes.q_len, sizes.k_len);
    let options = inputs.options(sizes, &plain().scale(1.0))?;
    let q = View::contiguous(inputs.queries, [batch, 1, q_len, query_width])?;
    let k = View::contiguous(keys, [batch, 1, k_len, query_width])?;
    let v = View::contiguous(inputs.mixed(), [batch, 1, k_len, sizes.width])?;
    let mut context = vec![0.0; batch * q_len * sizes.width];
    let mut lse = vec![0.0; batch * q_len];
    attend(q, k, v, &options, ViewMut::contiguous(&mut context, [batch, 1, q_len, sizes.width])?, Some(&mut lse))?;
    let lens = Lens::new(q, k, &options, &lse)?;
    let mut weights = Vec::with_capacity(batch * q_len * k_len);
    for b in 0..batch {
        weights.extend(lens.tile(b, 0, 0..q_len, 0..k_len)?);
    }
    Ok(Alignment { weights, context })
}

/// The gradients by queries, keys and values.
fn products_backward(
    inputs: &Inputs<'_>,
    keys: &[f32],
    query_width: usize,
    memory_width: usize,
    alignment: &Alignment,
    d_context: &[f32],
    d_weights: Option<&[f32]>,
) -> Result<(Vec<f32>, Vec<f32>, Vec<f32>)> {
    const OPERATION: &str = "Luong::backward";
    let sizes = inputs.sizes(OPERATION, query_width, memory_width)?;
    let (d_scores, d_values) = align_backward(OPERATION, alignment, inputs.mixed(), sizes, d_context, d_weights)?;
    let (mut d_queries, mut d_keys) = (vec![0.0; inputs.queries.len()], vec![0.0; keys.len()]);
    for (place, &d) in d_scores.iter().enumerate() {
        let query = place / sizes.k_len;
        let key = query / sizes.q_len * sizes.k_len + place % sizes.k_len;
        let (query, key) = (query * query_width..(query + 1) * query_width, key * query_width..(key + 1) * query_width);
        axpy(d, &keys[key.clone()], &mut d_queries[query.clone()]);
        axpy(d, &inputs.queries[query], &mut d_keys[key]);
    }
    Ok((d_queries, d_keys, d_values))
}

/// The attentional state `tanh(W_c [context; query] + b)` (Luong et al. 2015, eq. 5); without tanh as OpenNMT does after additive scores.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadOut {
    /// `W_c`, `[outputs, context width + query width]`.
    pub projection: Projection,
    /// Whether the result passes through tanh.
    pub tanh: bool,
}

/// What [`ReadOut::backward`] gives.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadOutGradients {
    /// By the contexts.
    pub context: Vec<f32>,
    /// By the queries.
    pub queries: Vec<f32>,
    /// By `W_c`.
    pub weight: Vec<f32>,
    /// By the bias, whether or not there is one.
    pub bias: Vec<f32>,
}

impl ReadOut {
    /// The states `[rows, outputs]` of `context`, `[rows, context_width]`, and `queries`, `[rows, query width]`.
    ///
    /// # Errors
    /// If the widths do not add up to the projection's.
    pub fn forward(&self, context: &[f32], queries: &[f32], context_width: usize) -> Result<Vec<f32>> {
        let mut states = self.projection.forward(&self.joined(context, queries, context_width)?)?;
        if self.tanh {
            crate::kernel::slice::tanh(&mut states);
        }
        Ok(states)
    }

    /// The gradients from `d_states`; `states` is what [`forward`](Self::forward) gave.
    ///
    /// # Errors
    /// If the widths do not add up to the projection's.
    pub fn backward(
        &self,
        context: &[f32],
        queries: &[f32],
        context_width: usize,
        states: &[f32],
        d_states: &[f32],
    ) -> Result<ReadOutGradients> {
        expect_len("ReadOut::backward", "d_states", d_states.len(), states.len())?;
        let d_linear: Vec<f32> =
            d_states.iter().zip(states).map(|(d, state)| if self.tanh { d * (1.0 - state * state) } else { *d }).collect();
        let gradients = self.projection.backward(&self.joined(context, queries, context_width)?, &d_linear)?;
        let rows = || gradients.x.chunks_exact(self.projection.inputs());
        Ok(ReadOutGradients {
            context: rows().flat_map(|row| &row[..context_width]).copied().collect(),
            queries: rows().flat_map(|row| &row[context_width..]).copied().collect(),
            weight: gradients.weight,
            bias: gradients.bias,
        })
    }

    /// `[context; query]` of each row.
    fn joined(&self, context: &[f32], queries: &[f32], context_width: usize) -> Result<Vec<f32>> {
        const OPERATION: &str = "ReadOut";
        let count = rows(OPERATION, "context", context.len(), context_width)?;
        let Some(query_width) = self.projection.inputs().checked_sub(context_width) else {
            let fix = format!("the projection takes {} numbers of context and query together", self.projection.inputs());
            return Err(Error::Option { operation: OPERATION, option: "context_width", value: context_width.to_string(), fix });
        };
        expect_len(OPERATION, "queries", queries.len(), count * query_width)?;
        let pair = |row: usize| context[row * context_width..][..context_width].iter().chain(&queries[row * query_width..][..query_width]);
        Ok((0..count).flat_map(pair).copied().collect())
    }
}
