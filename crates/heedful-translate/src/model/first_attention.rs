//! The first self-attention of a Transformer, taken out of it so that each number on the way can be looked at.

use heedful::mechanism::Projection;
use heedful::mechanism::causal::CausalAttention;
use heedful::mechanism::multi_head::MultiHeadAttention;
use heedful::mechanism::self_attention::SelfAttention;
use heedful_nn::embedding::SinusoidalPositions;
use heedful_nn::{LayerNorm, Parameters, Workspace};

use super::config::TransformerConfig;
use super::{Model, Start};

/// The self-attention of the encoder's first layer, and the tokens as it sees them.
pub struct FirstAttention {
    /// `[tokens, dim]`: embedding times `sqrt(dim)` plus position, normalised.
    pub x: Vec<f32>,
    dim: usize,
    heads: usize,
    /// Queries, keys and values of all heads, `[3 dim, dim]`, and their biases.
    input: [Vec<f32>; 2],
    output: [Vec<f32>; 2],
}

impl FirstAttention {
    /// Of a Transformer of these sizes that reads these tokens; `None` if the model is none.
    pub fn new(model: &dyn Model, config: &TransformerConfig, tokens: &[u32]) -> Option<Self> {
        let dim = config.dim;
        let tensor = |name: &str| {
            let parameters = model.parameters();
            parameters.find(name).map(|entry| parameters[entry.parameter].to_vec())
        };
        let attention = |name: &str| tensor(&format!("encoder.0.self_attention.{name}"));
        let table = tensor("embedding.table")?;
        let mut x = Vec::with_capacity(tokens.len() * dim);
        for &token in tokens {
            x.extend(table.get(token as usize * dim..)?.get(..dim)?.iter().map(|value| value * (dim as f32).sqrt()));
        }
        SinusoidalPositions::new(tokens.len(), dim).add(0, &mut x);
        let (mut norm_parameters, mut rng): (Parameters, _) = Start::Blank.store();
        let norm = LayerNorm::new(&mut norm_parameters, "norm", dim, &mut rng);
        let affine = [tensor("encoder.0.self_attention_norm.gain")?, tensor("encoder.0.self_attention_norm.bias")?];
        norm_parameters.values_mut().copy_from_slice(&affine.concat());
        let x = norm.normalise(&norm_parameters, &x, &mut Workspace::new());
        let input = [attention("input.weight")?, attention("input.bias")?];
        let output = [attention("output.weight")?, attention("output.bias")?];
        Some(Self { x, dim, heads: config.heads, input, output })
    }

    /// How many heads there are.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// One head by itself.
    ///
    /// # Errors
    /// If there is no such head.
    pub fn head(&self, head: usize) -> heedful::Result<SelfAttention> {
        let [query, key, value] = self.head_projections(head)?;
        SelfAttention::new(query, key, value)
    }

    /// One head by itself that would only look back. (An encoder looks both ways.)
    ///
    /// # Errors
    /// If there is no such head.
    pub fn causal_head(&self, head: usize) -> heedful::Result<CausalAttention> {
        let [query, key, value] = self.head_projections(head)?;
        CausalAttention::new(query, key, value)
    }

    /// All heads and the projection that mixes them.
    ///
    /// # Errors
    /// None, for a model that could be built.
    pub fn multi_head(&self) -> heedful::Result<MultiHeadAttention> {
        let [query, key, value] = self.projections(0, self.dim)?;
        let [weight, bias] = self.output.clone();
        let output = Projection::linear(weight, Some(bias), self.dim, self.dim)?;
        MultiHeadAttention::new(query, key, value, output, self.heads, false)
    }

    /// The projections to a head's queries, keys and values.
    ///
    /// # Errors
    /// If there is no such head.
    pub fn head_projections(&self, head: usize) -> heedful::Result<[Projection; 3]> {
        let width = self.dim / self.heads;
        self.projections(head * width, width)
    }

    /// Rows `first..first + count` of the queries', keys' and values' parts of the common weight.
    fn projections(&self, first: usize, count: usize) -> heedful::Result<[Projection; 3]> {
        let part = |which: usize| {
            let first = which * self.dim + first;
            let weight = self.input[0].get(first * self.dim..(first + count) * self.dim).unwrap_or_default();
            let bias = self.input[1].get(first..first + count).unwrap_or_default();
            Projection::linear(weight.to_vec(), Some(bias.to_vec()), self.dim, count)
        };
        Ok([part(0)?, part(1)?, part(2)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::build;
    use crate::model::config::ModelConfig;

    #[test]
    fn the_heads_together_are_the_layer() {
        let config = TransformerConfig { dim: 12, feed_forward: 8, heads: 3, encoder_layers: 1, decoder_layers: 1 };
        let mut model = build(&ModelConfig::Transformer(config.clone()), 20, Start::Random(3));
        for (i, value) in model.parameters_mut().values_mut().iter_mut().enumerate() {
            *value += (i * 7919 % 101) as f32 / 1000.0;
        }
        let tokens = [4, 7, 4, 19, 1];
        let first = FirstAttention::new(model.as_ref(), &config, &tokens).expect("a Transformer");

        // The layer as the model runs it.
        let (mut parameters, mut rng) = Start::Blank.store();
        let layer = heedful_nn::SelfAttention::new(&mut parameters, "encoder.0.self_attention", 12, 3, false, &mut rng);
        for entry in parameters.entries().to_vec() {
            let source = model.parameters().find(&entry.name).expect("of the same name").parameter;
            parameters[entry.parameter].copy_from_slice(&model.parameters()[source]);
        }
        let (expected, _) = layer.forward(&parameters, &first.x, &[0, 5], &mut Workspace::new());
        let found = first.multi_head().expect("fits").forward(&first.x).expect("fits");
        assert!(expected.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-5), "{expected:?} {found:?}");

        let steps = first.multi_head().expect("fits").steps(&first.x).expect("fits");
        for head in 0..3 {
            let alone = first.head(head).expect("there").steps(&first.x).expect("fits");
            assert!(alone.weights.iter().zip(&steps[head].weights).all(|(a, b)| (a - b).abs() < 1e-6));
        }
        assert!(first.head(3).is_err());
        assert!(FirstAttention::new(model.as_ref(), &config, &[20]).is_none(), "an unknown token");
    }
}
