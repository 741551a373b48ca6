//! The lecture's sentence with its numbers, and the mechanisms with the weights that the lecture draws.

use anyhow::{Context, Result};
use heedful::mechanism::Projection;
use heedful::mechanism::causal::CausalAttention;
use heedful::mechanism::multi_head::{MultiHeadAttention, StackedHeads};
use heedful::mechanism::self_attention::SelfAttention;
use serde::Deserialize;

type Rows = Vec<Vec<f32>>;

/// Everything that the four mechanisms start from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lecture {
    /// Six words.
    pub sentence: Vec<String>,
    /// Three numbers for each of them.
    pub inputs: Rows,
    /// Stored `[inputs, outputs]`.
    self_attention: Weights,
    /// Stored `[outputs, inputs]`.
    causal: Weights,
    /// What the causal weights are multiplied by: 0 where they are dropped, 2 elsewhere.
    dropout: Rows,
    stacked_heads: Vec<Weights>,
    multi_head: MultiHeadWeights,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Weights {
    query: Rows,
    key: Rows,
    value: Rows,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MultiHeadWeights {
    query: Rows,
    key: Rows,
    value: Rows,
    output: Rows,
    output_bias: Vec<f32>,
}

impl Lecture {
    pub fn new() -> Result<Self> {
        serde_json::from_str(include_str!("../data/lecture.json")).context("the lecture's numbers that are built in")
    }

    /// `[6, 3]`, row-major.
    pub fn x(&self) -> Vec<f32> {
        self.inputs.concat()
    }

    /// The first version of the layer: bare parameter matrices.
    pub fn self_attention(&self) -> Result<SelfAttention> {
        let projection = |rows: &Rows| Projection::parameter(&rows.concat(), rows.len(), rows[0].len());
        let Weights { query, key, value } = &self.self_attention;
        Ok(SelfAttention::new(projection(query)?, projection(key)?, projection(value)?)?)
    }

    /// The second version, with linear layers, looking back only.
    pub fn causal(&self) -> Result<CausalAttention> {
        causal(&self.causal)
    }

    /// Which causal weights dropout keeps, at a rate of one half.
    pub fn kept(&self) -> Vec<bool> {
        self.dropout.iter().flatten().map(|&factor| factor > 0.0).collect()
    }

    pub fn stacked_heads(&self) -> Result<StackedHeads> {
        Ok(StackedHeads::new(self.stacked_heads.iter().map(causal).collect::<Result<_>>()?))
    }

    /// Two heads split from common projections.
    pub fn multi_head(&self) -> Result<MultiHeadAttention> {
        let MultiHeadWeights { query, key, value, output, output_bias } = &self.multi_head;
        let last = Projection::linear(output.concat(), Some(output_bias.clone()), output[0].len(), output.len())?;
        Ok(MultiHeadAttention::new(linear(query)?, linear(key)?, linear(value)?, last, 2, true)?)
    }
}

fn linear(rows: &Rows) -> Result<Projection> {
    Ok(Projection::linear(rows.concat(), None, rows[0].len(), rows.len())?)
}

fn causal(weights: &Weights) -> Result<CausalAttention> {
    Ok(CausalAttention::new(linear(&weights.query)?, linear(&weights.key)?, linear(&weights.value)?)?)
}
