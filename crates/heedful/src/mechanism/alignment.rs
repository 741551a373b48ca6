//! What the alignment models of encoder-decoder translation share: a batch of decoder states looks at a memory of encoder states, and
//! the weights are part of the result.

use super::{expect_len, rows};
use crate::kernel::slice::{axpy, dot};
use crate::softmax::softmax;
use crate::{Error, Options, Result, View};

/// Which memory tokens a query may look at.
#[derive(Clone, Copy, Debug, Default)]
pub enum Visible<'a> {
    /// All.
    #[default]
    All,
    /// The first so many of each sequence, `[batch]`.
    Lengths(&'a [usize]),
    /// Those marked, `[batch, k_len]`.
    Keys(&'a [bool]),
    /// Those marked for this query, `[batch, q_len, k_len]`.
    Pairs(&'a [bool]),
}

/// A batch of queries and their memory, row-major.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// How many sequences.
    pub batch: usize,
    /// `[batch, q_len, query width]`: decoder states.
    pub queries: &'a [f32],
    /// `[batch, k_len, memory width]`: encoder states.
    pub memory: &'a [f32],
    /// `[batch, k_len, value width]`: what is mixed, if it is not the memory itself.
    pub values: Option<&'a [f32]>,
    /// Who may look at whom.
    pub visible: Visible<'a>,
}

/// Weights and what they fetch, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Alignment {
    /// `[batch, q_len, k_len]`
    pub weights: Vec<f32>,
    /// `[batch, q_len, value width]`
    pub context: Vec<f32>,
}

/// The sizes of a batch, after its slices have been checked against each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub batch: usize,
    pub q_len: usize,
    pub k_len: usize,
    pub width: usize,
}

impl<'a> Inputs<'a> {
    pub(super) fn sizes(&self, operation: &'static str, query_width: usize, memory_width: usize) -> Result<Sizes> {
        let batch = self.batch;
        let len = |operand, len, width: usize| {
            rows(operation, operand, len, (batch * width).max(1)).map(|rows| if batch == 0 || width == 0 { 0 } else { rows })
        };
        let q_len = len("queries", self.queries.len(), query_width)?;
        let k_len = len("memory", self.memory.len(), memory_width)?;
        let width = match self.values {
            None => memory_width,
            Some(values) => rows(operation, "values", values.len(), (batch * k_len).max(1))?,
        };
        match self.visible {
            Visible::All => {}
            Visible::Lengths(lengths) => {
                expect_len(operation, "lengths", lengths.len(), batch)?;
                if let Some(length) = lengths.iter().find(|&&length| length > k_len) {
                    let fix = format!("the memory holds {k_len} tokens of each sequence");
                    return Err(Error::Option { operation, option: "lengths", value: length.to_string(), fix });
                }
            }
            Visible::Keys(keys) => expect_len(operation, "visible keys", keys.len(), batch * k_len)?,
            Visible::Pairs(pairs) => expect_len(operation, "visible pairs", pairs.len(), batch * q_len * k_len)?,
        }
        Ok(Sizes { batch, q_len, k_len, width })
    }

    pub(super) fn mixed(&self) -> &'a [f32] {
        self.values.unwrap_or(self.memory)
    }

    /// The engine's options for the same visibility.
    pub(super) fn options(&self, sizes: Sizes, options: &Options<'a>) -> Result<Options<'a>> {
        let Sizes { batch, q_len, k_len, .. } = sizes;
        Ok(match self.visible {
            Visible::All => *options,
            Visible::Lengths(lengths) => options.key_lengths(lengths),
            Visible::Keys(keys) => options.mask(View::contiguous(keys, [batch, 1, 1, k_len])?),
            Visible::Pairs(pairs) => options.mask(View::contiguous(pairs, [batch, 1, q_len, k_len])?),
        })
    }
}

impl Visible<'_> {
    pub(super) fn sees(&self, sizes: Sizes, b: usize, i: usize, j: usize) -> bool {
        match self {
            Self::All => true,
            Self::Lengths(lengths) => j < lengths[b],
            Self::Keys(keys) => keys[b * sizes.k_len + j],
            Self::Pairs(pairs) => pairs[(b * sizes.q_len + i) * sizes.k_len + j],
        }
    }
}

/// Softmax over each row of scores `[batch, q_len, k_len]`, where hidden ones are `-inf`, and the mean of the values.
pub(super) fn align(mut scores: Vec<f32>, values: &[f32], sizes: Sizes) -> Alignment {
    let Sizes { q_len, k_len, width, .. } = sizes;
    let mut context = vec![0.0; sizes.batch * q_len * width];
    for row in 0..sizes.batch * q_len {
        let weights = &mut scores[row * k_len..][..k_len];
        softmax(weights);
        for (j, &weight) in weights.iter().enumerate().filter(|&(_, &weight)| weight != 0.0) {
            axpy(weight, &values[(row / q_len * k_len + j) * width..][..width], &mut context[row * width..][..width]);
        }
    }
    Alignment { weights: scores, context }
}

/// The gradients of [`align`] by scores and values. `d_weights` is what comes from elsewhere than the context.
pub(super) fn align_backward(
    operation: &'static str,
    alignment: &Alignment,
    values: &[f32],
    sizes: Sizes,
    d_context: &[f32],
    d_weights: Option<&[f32]>,
) -> Result<(Vec<f32>, Vec<f32>)> {
    let Sizes { q_len, k_len, width, .. } = sizes;
    let rows = sizes.batch * q_len;
    expect_len(operation, "weights", alignment.weights.len(), rows * k_len)?;
    expect_len(operation, "d_context", d_context.len(), rows * width)?;
    if let Some(d_weights) = d_weights {
        expect_len(operation, "d_weights", d_weights.len(), rows * k_len)?;
    }
    let (mut d_scores, mut d_values) = (vec![0.0; rows * k_len], vec![0.0; values.len()]);
    for row in 0..rows {
        let weights = &alignment.weights[row * k_len..][..k_len];
        let d_context = &d_context[row * width..][..width];
        let d_scores = &mut d_scores[row * k_len..][..k_len];
        for j in 0..k_len {
            let value = (row / q_len * k_len + j) * width;
            d_scores[j] = dot(d_context, &values[value..value + width]) + d_weights.map_or(0.0, |d| d[row * k_len + j]);
            axpy(weights[j], d_context, &mut d_values[value..value + width]);
        }
        let mean = dot(weights, d_scores);
        for (d, weight) in d_scores.iter_mut().zip(weights) {
            *d = weight * (*d - mean);
        }
    }
    Ok((d_scores, d_values))
}
