//! The attention mechanisms that people learn, one file each, from the simplest on.
//!
//! | file | mechanism | context of token `i` |
//! |---|---|---|
//! | [`simplified`] | self-attention without weights to train | `sum_j softmax_j(x_i . x_j) x_j` |
//! | [`self_attention`] | with trainable queries, keys and values | `sum_j softmax_j(q_i . k_j / sqrt(d)) v_j` |
//! | [`causal`] | looking back only, with dropout | the same over `j <= i` |
//! | [`multi_head`] | several of them at once: heads stacked, or heads split | `[context_1; ...; context_h]`, then a projection |
//! | [`cross`] | queries of one sequence, keys and values of another | the same over the other sequence |
//! | [`additive`] | Bahdanau's, with a small network as score | `sum_j softmax_j(v . tanh(W s_i + U h_j)) h_j` |
//! | [`luong`] | Luong's: dot, general, concat | `sum_j softmax_j(s_i . W h_j) h_j` |
//!
//! Each is [`attend`], or for the additive scores a softmax and a mean, with its projections and options. `steps` gives the
//! numbers on the way (scores, weights, context) for inputs that are small enough to look at.
//!
//! The examples speak about the sentence *Your journey starts with one step*, each word three numbers long.

pub mod additive;
pub mod causal;
pub mod cross;
pub mod luong;
pub mod multi_head;
pub mod self_attention;
pub mod simplified;

mod alignment;
mod projection;

pub use alignment::{Alignment, Inputs, Visible};
pub use projection::{Projection, ProjectionGradients};

use crate::lens::Lens;
use crate::{Error, Options, Parallelism, Result, View, ViewMut, attend};

/// The numbers of one head on the way from tokens to contexts, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// `[q_len, dim]`
    pub queries: Vec<f32>,
    /// `[k_len, dim]`
    pub keys: Vec<f32>,
    /// `[k_len, value_dim]`
    pub values: Vec<f32>,
    /// Products of queries and keys before they are scaled, `[q_len, k_len]`; `-inf` where a query may not look.
    pub scores: Vec<f32>,
    /// `[q_len, k_len]`; each row sums to 1.
    pub weights: Vec<f32>,
    /// `[q_len, value_dim]`
    pub context: Vec<f32>,
}

/// One head on its way: queries, keys and values of one sequence, row-major.
struct Head {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    dim: usize,
    value_dim: usize,
}

impl Head {
    fn q_len(&self) -> usize {
        self.queries.len() / self.dim.max(1)
    }

    fn k_len(&self) -> usize {
        self.keys.len() / self.dim.max(1)
    }

    fn views(&self) -> Result<[View<'_>; 3]> {
        Ok([
            View::contiguous(&self.queries, [1, 1, self.q_len(), self.dim])?,
            View::contiguous(&self.keys, [1, 1, self.k_len(), self.dim])?,
            View::contiguous(&self.values, [1, 1, self.k_len(), self.value_dim])?,
        ])
    }

    /// Contexts `[q_len, value_dim]` and log-sum-exps.
    fn attend(&self, options: &Options<'_>) -> Result<(Vec<f32>, Vec<f32>)> {
        let [q, k, v] = self.views()?;
        let (mut context, mut lse) = (vec![0.0; self.q_len() * self.value_dim], vec![0.0; self.q_len()]);
        let out = ViewMut::contiguous(&mut context, [1, 1, self.q_len(), self.value_dim])?;
        attend(q, k, v, options, out, Some(&mut lse))?;
        Ok((context, lse))
    }

    fn steps(self, options: &Options<'_>) -> Result<Steps> {
        let (context, lse) = self.attend(options)?;
        let [q, k, _] = self.views()?;
        let (queries, keys) = (0..self.q_len(), 0..self.k_len());
        let scores = Lens::new(q, k, &options.scale(1.0), &lse)?.scores(0, 0, queries.clone(), keys.clone())?;
        let weights = Lens::new(q, k, options, &lse)?.tile(0, 0, queries, keys)?;
        Ok(Steps { queries: self.queries, keys: self.keys, values: self.values, scores, weights, context })
    }
}

/// The options from which every mechanism starts: these inputs are small.
fn plain<'a>() -> Options<'a> {
    Options::new().parallelism(Parallelism::Serial)
}

/// How many rows of `width` numbers there are.
fn rows(operation: &'static str, operand: &'static str, len: usize, width: usize) -> Result<usize> {
    if width == 0 || !len.is_multiple_of(width) {
        let fix = format!("it must hold whole rows of {width} numbers, at least 1 each");
        return Err(Error::Length { operation, operand, len, fix });
    }
    Ok(len / width)
}

fn expect_len(operation: &'static str, operand: &'static str, len: usize, wanted: usize) -> Result<()> {
    if len == wanted { Ok(()) } else { Err(Error::Length { operation, operand, len, fix: format!("it must hold {wanted}") }) }
}
