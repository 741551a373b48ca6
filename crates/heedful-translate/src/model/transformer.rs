//! The Transformer (Vaswani et al. 2017): attention only, pre-norm (Xiong et al. 2020), one embedding table for source, target and output.
//!
//! Encoder layer: `x += self_attention(norm(x))`, `x += feed_forward(norm(x))`. A decoder layer's self-attention is causal, and
//! `x += cross_attention(norm(x), memory)` stands between the two, where `memory` is the encoder's normed output. A backward pass reads
//! like its forward, upwards.

use heedful_nn::embedding::{Embedding, SinusoidalPositions};
use heedful_nn::{
    CrossAttention, CrossEntropy, Dropout, FeedForward, Gradients, Guide, LayerNorm, Parameters, SelfAttention, Workspace, attention,
    layer_norm,
};

use super::config::TransformerConfig;
use super::packed::{Packed, TargetPair};
use super::transformer_decoder::TransformerDecoder;
use super::{Decoder, Loss, Model, Regularisation, Shard, Start};

/// Sentences may be this many tokens long, on either side.
pub const MAX_POSITIONS: usize = 512;

/// Where in the model dropout is applied: places get different randomness.
#[derive(Clone, Copy)]
enum Site {
    Source = 0,
    Target = 1,
    SelfAttention = 2,
    CrossAttention = 3,
    Hidden = 4,
    FeedForward = 5,
}

/// `x += self_attention(norm(x))`, `x += feed_forward(norm(x))`.
pub(super) struct EncoderLayer {
    pub attention_norm: LayerNorm,
    pub attention: SelfAttention,
    pub feed_forward_norm: LayerNorm,
    pub feed_forward: FeedForward,
}

/// The same with a look at the encoder's output in between.
pub(super) struct DecoderLayer {
    pub attention_norm: LayerNorm,
    pub attention: SelfAttention,
    pub cross_norm: LayerNorm,
    pub cross: CrossAttention,
    pub feed_forward_norm: LayerNorm,
    pub feed_forward: FeedForward,
}

/// The weights and where they are used.
pub struct Transformer {
    pub(super) config: TransformerConfig,
    parameters: Parameters,
    pub(super) embedding: Embedding,
    pub(super) positions: SinusoidalPositions,
    pub(super) encoder: Vec<EncoderLayer>,
    pub(super) encoder_norm: LayerNorm,
    pub(super) decoder: Vec<DecoderLayer>,
    pub(super) decoder_norm: LayerNorm,
    pub(super) output: CrossEntropy,
}

/// A layer norm's input, its statistics and its output.
struct Normed {
    x: Vec<f32>,
    statistics: layer_norm::Statistics,
    y: Vec<f32>,
}

struct SavedAttention {
    normed: Normed,
    attention: attention::Saved,
}

struct SavedFeedForward {
    normed: Normed,
    hidden: Vec<f32>,
}

struct SavedEncoder {
    layers: Vec<(SavedAttention, SavedFeedForward)>,
    norm: Normed,
}

struct SavedDecoder {
    layers: Vec<(SavedAttention, SavedAttention, SavedFeedForward)>,
    norm: Normed,
}

impl Transformer {
    /// A model of these sizes.
    pub fn new(config: &TransformerConfig, vocabulary: usize, start: Start) -> Self {
        let (dim, heads, hidden) = (config.dim, config.heads, config.feed_forward);
        let (mut parameters, mut rng) = start.store();
        let (p, rng) = (&mut parameters, &mut rng);
        let embedding = Embedding::new(p, "embedding", vocabulary, dim, rng);
        let encoder = (0..config.encoder_layers)
            .map(|i| EncoderLayer {
                attention_norm: LayerNorm::new(p, &format!("encoder.{i}.self_attention_norm"), dim, rng),
                attention: SelfAttention::new(p, &format!("encoder.{i}.self_attention"), dim, heads, false, rng),
                feed_forward_norm: LayerNorm::new(p, &format!("encoder.{i}.feed_forward_norm"), dim, rng),
                feed_forward: FeedForward::new(p, &format!("encoder.{i}.feed_forward"), dim, hidden, rng),
            })
            .collect();
        let encoder_norm = LayerNorm::new(p, "encoder.norm", dim, rng);
        let decoder = (0..config.decoder_layers)
            .map(|i| DecoderLayer {
                attention_norm: LayerNorm::new(p, &format!("decoder.{i}.self_attention_norm"), dim, rng),
                attention: SelfAttention::new(p, &format!("decoder.{i}.self_attention"), dim, heads, true, rng),
                cross_norm: LayerNorm::new(p, &format!("decoder.{i}.cross_attention_norm"), dim, rng),
                cross: CrossAttention::new(p, &format!("decoder.{i}.cross_attention"), dim, heads, rng),
                feed_forward_norm: LayerNorm::new(p, &format!("decoder.{i}.feed_forward_norm"), dim, rng),
                feed_forward: FeedForward::new(p, &format!("decoder.{i}.feed_forward"), dim, hidden, rng),
            })
            .collect();
        let decoder_norm = LayerNorm::new(p, "decoder.norm", dim, rng);
        Self {
            config: config.clone(),
            output: CrossEntropy { weight: embedding.table, bias: None, vocabulary, dim },
            parameters,
            positions: SinusoidalPositions::new(MAX_POSITIONS, dim),
            embedding,
            encoder,
            encoder_norm,
            decoder,
            decoder_norm,
        }
    }

    /// Its sizes.
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// `x = sqrt(dim) E[token] + position` for packed sentences.
    fn embed(&self, tokens: &[u32], offsets: &[usize], workspace: &mut Workspace) -> Vec<f32> {
        let dim = self.config.dim;
        let mut x = workspace.take(tokens.len() * dim);
        self.embedding.forward(&self.parameters, tokens, self.embedding_scale(), &mut x);
        for sentence in offsets.windows(2) {
            self.positions.add(0, &mut x[sentence[0] * dim..sentence[1] * dim]);
        }
        x
    }

    pub(super) fn embedding_scale(&self) -> f32 {
        (self.config.dim as f32).sqrt()
    }

    /// The encoder's output for packed sources, `[tokens, dim]`: what a decoder looks at.
    pub(super) fn memory(&self, source: &Packed, workspace: &mut Workspace) -> Vec<f32> {
        let (memory, saved) = self.encode(source, Dropout::OFF, workspace);
        saved.release(workspace);
        memory
    }

    fn encode(&self, source: &Packed, dropout: Dropout, workspace: &mut Workspace) -> (Vec<f32>, SavedEncoder) {
        let p = &self.parameters;
        let mut x = self.embed(&source.tokens, &source.offsets, workspace);
        dropout.at(Site::Source as u64).apply(&mut x);
        let mut layers = Vec::with_capacity(self.encoder.len());
        for (i, layer) in self.encoder.iter().enumerate() {
            let dropout = dropout.at(100 + i as u64);
            let attention;
            (x, attention) = self_attention(&layer.attention_norm, &layer.attention, p, x, &source.offsets, dropout, workspace);
            let feed_forward;
            (x, feed_forward) = self::feed_forward(&layer.feed_forward_norm, &layer.feed_forward, p, x, dropout, workspace);
            layers.push((attention, feed_forward));
        }
        let norm = Normed::of(&self.encoder_norm, p, x, workspace);
        (workspace.copy(&norm.y), SavedEncoder { layers, norm })
    }

    fn decode(&self, target: &TargetPair, memory: &[f32], source: &Packed, dropout: Dropout, workspace: &mut Workspace) -> SavedDecoder {
        let p = &self.parameters;
        let offsets = &target.offsets;
        let mut x = self.embed(&target.inputs, offsets, workspace);
        dropout.at(Site::Target as u64).apply(&mut x);
        let mut layers = Vec::with_capacity(self.decoder.len());
        for (i, layer) in self.decoder.iter().enumerate() {
            let dropout = dropout.at(200 + i as u64);
            let attention;
            (x, attention) = self_attention(&layer.attention_norm, &layer.attention, p, x, offsets, dropout, workspace);
            let normed = Normed::of(&layer.cross_norm, p, x, workspace);
            let (mut y, saved) = layer.cross.forward(p, &normed.y, offsets, memory, &source.offsets, workspace);
            dropout.at(Site::CrossAttention as u64).apply(&mut y);
            add(&mut y, &normed.x);
            let cross = SavedAttention { normed, attention: saved };
            let feed_forward;
            (x, feed_forward) = self::feed_forward(&layer.feed_forward_norm, &layer.feed_forward, p, y, dropout, workspace);
            layers.push((attention, cross, feed_forward));
        }
        SavedDecoder { layers, norm: Normed::of(&self.decoder_norm, p, x, workspace) }
    }

    /// Adds the gradients of the decoder, given the derivative by its normed output; returns the derivative by the memory, and the loss of the
    /// guide of a layer.
    fn decode_backward(
        &self,
        target: &TargetPair,
        memory: &[f32],
        source: &Packed,
        saved: SavedDecoder,
        d_output: &[f32],
        guide: Option<&(usize, Guide)>,
        dropout: Dropout,
        gradients: &mut Gradients,
        workspace: &mut Workspace,
    ) -> (Vec<f32>, f64) {
        let p = &self.parameters;
        let mut guide_loss = 0.0;
        let offsets = &target.offsets;
        let mut d_memory = workspace.zeros(memory.len());
        let mut d_x = workspace.zeros(d_output.len());
        saved.norm.backward(&self.decoder_norm, p, gradients, d_output, &mut d_x, workspace);
        for (i, (layer, (attention, cross, feed_forward))) in self.decoder.iter().zip(saved.layers).enumerate().rev() {
            let dropout = dropout.at(200 + i as u64);
            feed_forward.backward(&layer.feed_forward_norm, &layer.feed_forward, p, gradients, &mut d_x, dropout, workspace);
            let mut d_y = workspace.copy(&d_x);
            dropout.at(Site::CrossAttention as u64).apply(&mut d_y);
            let guide = guide.filter(|(guided, _)| *guided == i).map(|(_, guide)| guide);
            let (d_normed, loss) = layer.cross.backward(
                p,
                gradients,
                &cross.normed.y,
                offsets,
                memory,
                &source.offsets,
                &cross.attention,
                &d_y,
                guide,
                &mut d_memory,
                workspace,
            );
            guide_loss += loss;
            cross.attention.release(workspace);
            cross.normed.backward(&layer.cross_norm, p, gradients, &d_normed, &mut d_x, workspace);
            workspace.give(d_normed);
            workspace.give(d_y);
            attention.backward(&layer.attention_norm, &layer.attention, p, gradients, offsets, &mut d_x, dropout, workspace);
        }
        dropout.at(Site::Target as u64).apply(&mut d_x);
        self.embedding.backward(gradients, &target.inputs, self.embedding_scale(), &d_x);
        workspace.give(d_x);
        (d_memory, guide_loss)
    }

    fn encode_backward(
        &self,
        source: &Packed,
        saved: SavedEncoder,
        d_memory: &[f32],
        dropout: Dropout,
        gradients: &mut Gradients,
        workspace: &mut Workspace,
    ) {
        let p = &self.parameters;
        let mut d_x = workspace.zeros(d_memory.len());
        saved.norm.backward(&self.encoder_norm, p, gradients, d_memory, &mut d_x, workspace);
        for (i, (layer, (attention, feed_forward))) in self.encoder.iter().zip(saved.layers).enumerate().rev() {
            let dropout = dropout.at(100 + i as u64);
            feed_forward.backward(&layer.feed_forward_norm, &layer.feed_forward, p, gradients, &mut d_x, dropout, workspace);
            attention.backward(&layer.attention_norm, &layer.attention, p, gradients, &source.offsets, &mut d_x, dropout, workspace);
        }
        dropout.at(Site::Source as u64).apply(&mut d_x);
        self.embedding.backward(gradients, &source.tokens, self.embedding_scale(), &d_x);
        workspace.give(d_x);
    }
}

impl Model for Transformer {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn parameters_mut(&mut self) -> &mut Parameters {
        &mut self.parameters
    }

    fn vocabulary(&self) -> usize {
        self.embedding.vocabulary()
    }

    fn cross_attention(&self) -> Option<super::CrossAttention> {
        Some(super::CrossAttention { layers: self.decoder.len(), heads: self.config.heads })
    }

    fn as_transformer(&self) -> Option<&Transformer> {
        Some(self)
    }

    fn train_step(&self, shard: &Shard<'_>, how: Regularisation, gradients: &mut Gradients, workspace: &mut Workspace) -> Loss {
        let (source, target) = (Packed::new(&shard.sources), TargetPair::new(&shard.targets));
        let dropout = Dropout::new(how.dropout, how.randomness);
        let (memory, saved_encoder) = self.encode(&source, dropout, workspace);
        let saved_decoder = self.decode(&target, &memory, &source, dropout, workspace);
        let (sums, d_output) = self.output.forward_backward(
            &self.parameters,
            gradients,
            &saved_decoder.norm.y,
            &target.outputs,
            how.label_smoothing,
            workspace,
        );
        let guide = self.cross_attention().zip(shard.guide.as_ref());
        let guide = guide.and_then(|(model, guide)| guide.packed(model, &target.offsets, &source.offsets));
        let (d_memory, guide_loss) =
            self.decode_backward(&target, &memory, &source, saved_decoder, &d_output, guide.as_ref(), dropout, gradients, workspace);
        self.encode_backward(&source, saved_encoder, &d_memory, dropout, gradients, workspace);
        for buffer in [memory, d_output, d_memory] {
            workspace.give(buffer);
        }
        Loss { objective: sums.objective + guide_loss, nll: sums.nll, tokens: target.outputs.len() }
    }

    fn loss(&self, shard: &Shard<'_>, workspace: &mut Workspace) -> Loss {
        let (source, target) = (Packed::new(&shard.sources), TargetPair::new(&shard.targets));
        let memory = self.memory(&source, workspace);
        let saved = self.decode(&target, &memory, &source, Dropout::OFF, workspace);
        let sums = self.output.forward(&self.parameters, &saved.norm.y, &target.outputs, workspace);
        saved.release(workspace);
        workspace.give(memory);
        Loss { objective: sums.objective, nll: sums.nll, tokens: target.outputs.len() }
    }

    fn decoder<'m>(&'m self, sources: &[&[u32]]) -> Box<dyn Decoder + 'm> {
        Box::new(TransformerDecoder::new(self, sources))
    }
}

/// `x + dropout(attention(norm(x)))`.
fn self_attention(
    norm: &LayerNorm,
    layer: &SelfAttention,
    parameters: &Parameters,
    x: Vec<f32>,
    offsets: &[usize],
    dropout: Dropout,
    workspace: &mut Workspace,
) -> (Vec<f32>, SavedAttention) {
    let normed = Normed::of(norm, parameters, x, workspace);
    let (mut y, attention) = layer.forward(parameters, &normed.y, offsets, workspace);
    dropout.at(Site::SelfAttention as u64).apply(&mut y);
    add(&mut y, &normed.x);
    (y, SavedAttention { normed, attention })
}

/// `x + dropout(feed_forward(norm(x)))`.
fn feed_forward(
    norm: &LayerNorm,
    layer: &FeedForward,
    parameters: &Parameters,
    x: Vec<f32>,
    dropout: Dropout,
    workspace: &mut Workspace,
) -> (Vec<f32>, SavedFeedForward) {
    let normed = Normed::of(norm, parameters, x, workspace);
    let (mut y, hidden) = layer.forward(parameters, &normed.y, dropout.at(Site::Hidden as u64), workspace);
    dropout.at(Site::FeedForward as u64).apply(&mut y);
    add(&mut y, &normed.x);
    (y, SavedFeedForward { normed, hidden })
}

impl SavedAttention {
    /// The way back through [`self_attention`]: `d_x` becomes the derivative by its input.
    fn backward(
        self,
        norm: &LayerNorm,
        layer: &SelfAttention,
        parameters: &Parameters,
        gradients: &mut Gradients,
        offsets: &[usize],
        d_x: &mut [f32],
        dropout: Dropout,
        workspace: &mut Workspace,
    ) {
        let mut d_y = workspace.copy(d_x);
        dropout.at(Site::SelfAttention as u64).apply(&mut d_y);
        let d_normed = layer.backward(parameters, gradients, &self.normed.y, offsets, &self.attention, &d_y, workspace);
        self.attention.release(workspace);
        self.normed.backward(norm, parameters, gradients, &d_normed, d_x, workspace);
        workspace.give(d_normed);
        workspace.give(d_y);
    }

    fn release(self, workspace: &mut Workspace) {
        self.attention.release(workspace);
        self.normed.release(workspace);
    }
}

impl SavedFeedForward {
    /// The way back through [`feed_forward`]: `d_x` becomes the derivative by its input.
    fn backward(
        self,
        norm: &LayerNorm,
        layer: &FeedForward,
        parameters: &Parameters,
        gradients: &mut Gradients,
        d_x: &mut [f32],
        dropout: Dropout,
        workspace: &mut Workspace,
    ) {
        let mut d_y = workspace.copy(d_x);
        dropout.at(Site::FeedForward as u64).apply(&mut d_y);
        let hidden_dropout = dropout.at(Site::Hidden as u64);
        let d_normed = layer.backward(parameters, gradients, &self.normed.y, &self.hidden, &d_y, hidden_dropout, workspace);
        self.normed.backward(norm, parameters, gradients, &d_normed, d_x, workspace);
        for buffer in [self.hidden, d_normed, d_y] {
            workspace.give(buffer);
        }
    }

    fn release(self, workspace: &mut Workspace) {
        workspace.give(self.hidden);
        self.normed.release(workspace);
    }
}

impl Normed {
    fn of(norm: &LayerNorm, parameters: &Parameters, x: Vec<f32>, workspace: &mut Workspace) -> Self {
        let (y, statistics) = norm.forward(parameters, &x, workspace);
        Self { x, statistics, y }
    }

    /// Adds the derivative by `x` to `d_x` and gives all buffers back.
    fn backward(
        self,
        norm: &LayerNorm,
        parameters: &Parameters,
        gradients: &mut Gradients,
        d_y: &[f32],
        d_x: &mut [f32],
        workspace: &mut Workspace,
    ) {
        norm.backward_add(parameters, gradients, &self.x, &self.statistics, d_y, d_x);
        self.release(workspace);
    }

    fn release(self, workspace: &mut Workspace) {
        self.statistics.release(workspace);
        workspace.give(self.x);
        workspace.give(self.y);
    }
}

impl SavedEncoder {
    fn release(self, workspace: &mut Workspace) {
        for (attention, feed_forward) in self.layers {
            attention.release(workspace);
            feed_forward.release(workspace);
        }
        self.norm.release(workspace);
    }
}

impl SavedDecoder {
    fn release(self, workspace: &mut Workspace) {
        for (attention, cross, feed_forward) in self.layers {
            attention.release(workspace);
            cross.release(workspace);
            feed_forward.release(workspace);
        }
        self.norm.release(workspace);
    }
}

fn add(sum: &mut [f32], x: &[f32]) {
    for (sum, x) in sum.iter_mut().zip(x) {
        *sum += x;
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::*;

    fn tiny() -> Transformer {
        let config = TransformerConfig { dim: 8, feed_forward: 12, heads: 2, encoder_layers: 2, decoder_layers: 2 };
        Transformer::new(&config, 12, Start::Random(1))
    }

    #[test]
    fn gradients_are_the_finite_differences() {
        contract::gradients_are_the_finite_differences(&mut tiny());
    }

    #[test]
    fn a_guide_teaches_where_to_look() {
        for reading in ["layer:1,head:1", "layer:0+shift"] {
            contract::a_guide_teaches_where_to_look(&mut tiny(), reading);
        }
    }

    #[test]
    fn the_decoder_scores_as_training_does() {
        contract::decoder_scores_as_training_does(&tiny());
    }

    #[test]
    fn a_batch_is_the_sum_of_its_sentences() {
        contract::a_batch_is_the_sum_of_its_sentences(&tiny());
    }

    #[test]
    fn a_step_looks_where_it_is_told() {
        contract::a_step_looks_where_it_is_told(&tiny());
    }
}
