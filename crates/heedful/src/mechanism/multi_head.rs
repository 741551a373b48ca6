//! Multi-head attention: several heads look at once, each in its own way (Vaswani et al. 2017, section 3.2.2).
//!
//! [`StackedHeads`] runs whole causal heads and sets their contexts side by side. [`MultiHeadAttention`] does the same in one go: one
//! projection gives all heads' queries, which are split into `heads` parts of `outputs / heads` numbers; a last projection mixes the heads.

use super::causal::CausalAttention;
use super::self_attention::{check_projections, mismatch};
use super::{Head, Projection, Steps, plain};
use crate::{Diagonal, Error, Options, Result, View, ViewMut, attend};

/// Heads of their own, side by side: `[context_1; ...; context_h]`.
#[derive(Clone, Debug, PartialEq)]
pub struct StackedHeads {
    heads: Vec<CausalAttention>,
}

impl StackedHeads {
    /// From heads that take tokens of one width.
    pub fn new(heads: Vec<CausalAttention>) -> Self {
        Self { heads }
    }

    /// The contexts `[tokens, sum of the heads' outputs]` of `x`, `[tokens, inputs]`.
    ///
    /// # Errors
    /// If `x` does not consist of whole rows, or the heads take tokens of different widths.
    pub fn forward(&self, x: &[f32]) -> Result<Vec<f32>> {
        let contexts = self.heads.iter().map(|head| head.forward(x, None)).collect::<Result<Vec<_>>>()?;
        let tokens = contexts.first().map_or(0, |context| context.len() / self.heads[0].outputs().max(1));
        if let Some((context, head)) = contexts.iter().zip(&self.heads).find(|(context, head)| context.len() != tokens * head.outputs()) {
            let fix = format!("of {tokens} tokens it must hold {}: all heads must take tokens of one width", tokens * head.outputs());
            return Err(Error::Length { operation: "StackedHeads::forward", operand: "a head's context", len: context.len(), fix });
        }
        let mut out = Vec::with_capacity(contexts.iter().map(Vec::len).sum());
        for token in 0..tokens {
            for (context, head) in contexts.iter().zip(&self.heads) {
                out.extend_from_slice(&context[token * head.outputs()..][..head.outputs()]);
            }
        }
        Ok(out)
    }

    /// The numbers on the way, head by head.
    ///
    /// # Errors
    /// If `x` does not consist of whole rows.
    pub fn steps(&self, x: &[f32]) -> Result<Vec<Steps>> {
        self.heads.iter().map(|head| head.steps(x)).collect()
    }
}

/// Heads split from common projections: `[context_1; ...; context_h] W_o^T + b_o`.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiHeadAttention {
    query: Projection,
    key: Projection,
    value: Projection,
    output: Projection,
    heads: usize,
    causal: bool,
}

impl MultiHeadAttention {
    /// From projections that all heads share. `causal`: a token looks at itself and at those before it.
    ///
    /// # Errors
    /// If the widths do not fit, or cannot be split into `heads` equal parts.
    pub fn new(query: Projection, key: Projection, value: Projection, output: Projection, heads: usize, causal: bool) -> Result<Self> {
        const OPERATION: &str = "MultiHeadAttention::new";
        check_projections(OPERATION, &query, &key, &value)?;
        if output.inputs() != value.outputs() {
            return Err(mismatch(OPERATION, "output", &output, format!("it must take the {} numbers of all heads", value.outputs())));
        }
        let widths = [query.outputs(), value.outputs()];
        if heads == 0 || widths.iter().any(|width| width % heads != 0) {
            let fix = format!("it must divide the widths of queries and values, {widths:?}");
            return Err(Error::Option { operation: OPERATION, option: "heads", value: heads.to_string(), fix });
        }
        Ok(Self { query, key, value, output, heads, causal })
    }

    /// How many numbers are trained.
    pub fn parameters(&self) -> usize {
        [&self.query, &self.key, &self.value, &self.output].into_iter().map(Projection::parameters).sum()
    }

    /// The contexts `[tokens, outputs]` of `x`, `[tokens, inputs]`.
    ///
    /// # Errors
    /// If `x` does not consist of whole rows.
    pub fn forward(&self, x: &[f32]) -> Result<Vec<f32>> {
        self.output.forward(&self.concatenated(x)?)
    }

    /// The numbers on the way, head by head; their contexts are those before the last projection.
    ///
    /// # Errors
    /// If `x` does not consist of whole rows.
    pub fn steps(&self, x: &[f32]) -> Result<Vec<Steps>> {
        let projected = [self.query.forward(x)?, self.key.forward(x)?, self.value.forward(x)?];
        let part = |which: usize, head: usize| -> Vec<f32> {
            let width = [&self.query, &self.key, &self.value][which].outputs();
            projected[which]
                .chunks_exact(width.max(1))
                .filter_map(|row| row.chunks_exact(width / self.heads).nth(head))
                .flatten()
                .copied()
                .collect()
        };
        let (dim, value_dim) = (self.query.outputs() / self.heads, self.value.outputs() / self.heads);
        let head = |h| Head { queries: part(0, h), keys: part(1, h), values: part(2, h), dim, value_dim };
        (0..self.heads).map(|h| head(h).steps(&self.options())).collect()
    }

    /// The heads' contexts side by side, `[tokens, value width]`. The heads are views into the common projections; nothing is moved.
    fn concatenated(&self, x: &[f32]) -> Result<Vec<f32>> {
        let projected = [self.query.forward(x)?, self.key.forward(x)?, self.value.forward(x)?];
        let [q_width, v_width] = [self.query.outputs(), self.value.outputs()];
        let tokens = projected[0].len() / q_width.max(1);
        let split = |width: usize| ([1, self.heads, tokens, width / self.heads], [tokens * width, width / self.heads, width, 1]);
        let view = |data, width| View::strided(data, split(width).0, split(width).1);
        let mut context = vec![0.0; tokens * v_width];
        let out = ViewMut::strided(&mut context, split(v_width).0, split(v_width).1)?;
        let [q, k, v] = &projected;
        attend(view(q, q_width)?, view(k, q_width)?, view(v, v_width)?, &self.options(), out, None)?;
        Ok(context)
    }

    fn options(&self) -> Options<'static> {
        if self.causal { plain().causal(Diagonal::TopLeft) } else { plain() }
    }
}
