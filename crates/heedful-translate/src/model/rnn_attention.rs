//! The recurrent encoder-decoder with attention (Bahdanau et al. 2015): the encoder reads the source from both ends, and the decoder looks at all of
//! its states before every token. Luong's scores (Luong et al. 2015) are options.
//!
//! The decoder starts from `tanh(W [last state forward; last state backward] + b)` and the next token follows from `[state; context; embedding]`.

use std::ops::Range;

use heedful::kernel::slice;
use heedful_nn::additive_decoder::{self, AdditiveDecoder, Memory, Prepared, Sizes};
use heedful_nn::bidirectional::{self, Bidirectional};
use heedful_nn::incremental::Imposed;
use heedful_nn::{Dropout, Gradients, Linear, Parameters, State, Workspace, columns};

use super::config::{RnnAttentionConfig, Score};
use super::rnn_ends::{Ends, Site, add, embed, embed_backward, tanh_backward};
use super::time_major::{Source, Target};
use super::{CrossAttention, Decoder, Guided, Loss, Model, Regularisation, Shard, Start};

/// The weights and where they are used.
pub struct RnnAttention {
    parameters: Parameters,
    ends: Ends,
    encoder: Vec<Bidirectional>,
    bridge: Linear,
    decoder: AdditiveDecoder,
}

/// A source after the encoder.
struct Encoded {
    source: Source,
    /// The last layer's output, sentence after sentence: what the decoder looks at.
    memory: Vec<f32>,
    /// The last layer's states at the end of each direction, in the order of the sentences.
    last: Vec<f32>,
    /// What each layer read, time-major.
    inputs: Vec<Vec<f32>>,
    layers: Vec<bidirectional::Saved>,
}

impl Encoded {
    fn release(self, workspace: &mut Workspace) {
        for buffer in self.inputs.into_iter().chain([self.memory, self.last]) {
            workspace.give(buffer);
        }
        for saved in self.layers {
            saved.release(workspace);
        }
    }
}

impl RnnAttention {
    /// A model of these sizes. With the score `dot`, each direction of the encoder has half of `hidden`, so that memory and state have the same
    /// width.
    pub fn new(config: &RnnAttentionConfig, vocabulary: usize, start: Start) -> Self {
        let (mut parameters, mut rng) = start.store();
        let (p, rng) = (&mut parameters, &mut rng);
        let (cell, embedding, hidden) = (config.cell.into(), config.embedding, config.hidden);
        let direction = if config.score == Score::Dot { hidden / 2 } else { hidden };
        let memory = 2 * direction;
        let ends = Ends::new(p, vocabulary, embedding, hidden + memory + embedding, config.tied, rng);
        let encoder = (0..config.layers)
            .map(|i| Bidirectional::new(p, &format!("encoder.{i}"), cell, if i == 0 { embedding } else { memory }, direction, rng))
            .collect();
        let states = if cell.has_memory() { 2 } else { 1 };
        let bridge = Linear::new(p, "bridge", memory, states * hidden, rng);
        let sizes = Sizes { embedding, memory, hidden, attention: hidden };
        let decoder = AdditiveDecoder::new(p, "decoder", cell, config.score.into(), sizes, rng);
        Self { parameters, ends, encoder, bridge, decoder }
    }

    fn encode(&self, sources: &[&[u32]], dropout: Dropout, workspace: &mut Workspace) -> Encoded {
        let p = &self.parameters;
        let source = Source::new(sources);
        let layout = &source.layout;
        let mut x = embed(self.ends.source, p, &source.tokens, dropout.at(Site::Source as u64), workspace);
        let (mut inputs, mut layers, mut last) = (Vec::new(), Vec::new(), Vec::new());
        for (i, layer) in self.encoder.iter().enumerate() {
            let (mut y, end, saved) = layer.forward(p, &x, layout, workspace);
            dropout.at(Site::Encoder as u64 + i as u64).apply(&mut y);
            inputs.push(std::mem::replace(&mut x, y));
            layers.push(saved);
            workspace.give(std::mem::replace(&mut last, end));
        }
        let width = self.bridge.inputs();
        let mut memory = workspace.take(x.len());
        layout.scatter(&x, width, &mut memory);
        workspace.give(x);
        let mut by_sentence = workspace.take(last.len());
        layout.unsort(&last, width, &mut by_sentence);
        workspace.give(last);
        Encoded { source, memory, last: by_sentence, inputs, layers }
    }

    /// `tanh(W last + b)`, `[sentences, hidden]` (and as many columns again for the memory of an LSTM), in the order of the sentences.
    fn bridge(&self, last: &[f32], workspace: &mut Workspace) -> Vec<f32> {
        let mut states = self.bridge.forward(&self.parameters, last, workspace);
        slice::tanh(&mut states);
        states
    }

    /// The columns of [`bridge`](Self::bridge) as a state.
    fn state(&self, bridged: &[f32], workspace: &mut Workspace) -> State {
        let (width, hidden) = (self.bridge.outputs(), self.decoder.cell.hidden());
        State {
            hidden: columns::part(bridged, width, 0..hidden, workspace),
            memory: if width > hidden { columns::part(bridged, width, hidden..width, workspace) } else { Vec::new() },
        }
    }

    fn encode_backward(
        &self,
        encoded: Encoded,
        d_memory: Vec<f32>,
        d_last: Vec<f32>,
        dropout: Dropout,
        gradients: &mut Gradients,
        workspace: &mut Workspace,
    ) {
        let Encoded { source: Source { layout, tokens, .. }, memory, last, inputs, layers } = encoded;
        let width = self.bridge.inputs();
        let mut d_x = workspace.take(d_memory.len());
        layout.gather(&d_memory, width, &mut d_x);
        // Only the last layer's end states are looked at: those of the layers below have no derivative of their own.
        let mut d_end = workspace.take(d_last.len());
        layout.sort(&d_last, width, &mut d_end);
        for ((i, layer), (x, saved)) in self.encoder.iter().enumerate().zip(inputs.into_iter().zip(layers)).rev() {
            dropout.at(Site::Encoder as u64 + i as u64).apply(&mut d_x);
            let below = layer.backward(&self.parameters, gradients, saved, &x, &layout, &d_x, &d_end, workspace);
            workspace.give(std::mem::replace(&mut d_x, below));
            workspace.give(x);
            d_end.fill(0.0);
        }
        embed_backward(self.ends.source, gradients, &tokens, dropout.at(Site::Source as u64), d_x, workspace);
        for buffer in [memory, last, d_memory, d_last, d_end] {
            workspace.give(buffer);
        }
    }
}

/// A decoder's pass over the targets of a shard.
struct Decoded {
    target: Target,
    /// What [`RnnAttention::bridge`] gave, in the order of the sentences.
    bridged: Vec<f32>,
    embedded: Vec<f32>,
    context: Vec<f32>,
    /// `[state; context; embedding]` of each row.
    states: Vec<f32>,
    saved: additive_decoder::Saved,
}

impl RnnAttention {
    fn decode(&self, encoded: &Encoded, targets: &[&[u32]], dropout: Dropout, workspace: &mut Workspace) -> Decoded {
        let p = &self.parameters;
        let target = Target::new(targets);
        let bridged = self.bridge(&encoded.last, workspace);
        let mut sorted = workspace.take(bridged.len());
        target.layout.sort(&bridged, self.bridge.outputs(), &mut sorted);
        let initial = self.state(&sorted, workspace);
        workspace.give(sorted);
        let embedded = embed(self.ends.target, p, &target.inputs, dropout.at(Site::Target as u64), workspace);
        let memory = Memory { values: &encoded.memory, offsets: &encoded.source.offsets };
        let (output, context, saved) = self.decoder.forward(p, memory, &embedded, &target.layout, initial, workspace);
        let states = self.states(&output, &context, &embedded, workspace);
        workspace.give(output);
        Decoded { target, bridged, embedded, context, states, saved }
    }

    /// `[state; context; embedding]`: what the read-out sees.
    fn states(&self, output: &[f32], context: &[f32], embedded: &[f32], workspace: &mut Workspace) -> Vec<f32> {
        let [hidden, memory, embedding] = self.widths();
        columns::join(&[(output, hidden), (context, memory), (embedded, embedding)], workspace)
    }

    fn widths(&self) -> [usize; 3] {
        [self.decoder.cell.hidden(), self.bridge.inputs(), self.ends.target.dim()]
    }

    /// Returns the derivatives by the memory and by the encoder's last states, in the order of the sentences, and the loss of a guide.
    fn decode_backward(
        &self,
        encoded: &Encoded,
        decoded: Decoded,
        d_states: &[f32],
        guide: Option<&Guided>,
        dropout: Dropout,
        gradients: &mut Gradients,
        workspace: &mut Workspace,
    ) -> (Vec<f32>, Vec<f32>, f64) {
        let p = &self.parameters;
        let Decoded { target, bridged, embedded, context, states, saved } = decoded;
        let [hidden, memory, embedding] = self.widths();
        let width = hidden + memory + embedding;
        let d_output = columns::part(d_states, width, 0..hidden, workspace);
        let d_context = columns::part(d_states, width, hidden..hidden + memory, workspace);
        let mut d_embedded = columns::part(d_states, width, hidden + memory..width, workspace);
        let looked_at = Memory { values: &encoded.memory, offsets: &encoded.source.offsets };
        let guide =
            guide.and_then(|guide| guide.time_major(CrossAttention { layers: 1, heads: 1 }, &target.layout, &encoded.source.offsets));
        let (d, guide_loss) = self.decoder.backward(
            p,
            gradients,
            saved,
            looked_at,
            &embedded,
            &context,
            &target.layout,
            &d_output,
            &d_context,
            guide.as_ref(),
            workspace,
        );
        add(&mut d_embedded, d.embedded, workspace);
        embed_backward(self.ends.target, gradients, &target.inputs, dropout.at(Site::Target as u64), d_embedded, workspace);

        let sorted = if d.initial.memory.is_empty() {
            workspace.copy(&d.initial.hidden)
        } else {
            columns::join(&[(&d.initial.hidden, hidden), (&d.initial.memory, hidden)], workspace)
        };
        d.initial.release(workspace);
        let mut d_bridged = workspace.take(sorted.len());
        target.layout.unsort(&sorted, self.bridge.outputs(), &mut d_bridged);
        tanh_backward(&bridged, &mut d_bridged);
        let d_last = self.bridge.backward(p, gradients, &encoded.last, &d_bridged, workspace);
        for buffer in [bridged, embedded, context, states, d_output, d_context, sorted, d_bridged] {
            workspace.give(buffer);
        }
        (d.memory, d_last, guide_loss)
    }
}

impl Model for RnnAttention {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn parameters_mut(&mut self) -> &mut Parameters {
        &mut self.parameters
    }

    fn vocabulary(&self) -> usize {
        self.ends.target.vocabulary()
    }

    fn cross_attention(&self) -> Option<CrossAttention> {
        Some(CrossAttention { layers: 1, heads: 1 })
    }

    fn train_step(&self, shard: &Shard<'_>, how: Regularisation, gradients: &mut Gradients, workspace: &mut Workspace) -> Loss {
        let dropout = Dropout::new(how.dropout, how.randomness);
        let encoded = self.encode(&shard.sources, dropout, workspace);
        let decoded = self.decode(&encoded, &shard.targets, dropout, workspace);
        let read_out = dropout.at(Site::ReadOut as u64);
        let outputs = &decoded.target.outputs;
        let (sums, d_states) =
            self.ends.train(&self.parameters, gradients, &decoded.states, outputs, read_out, how.label_smoothing, workspace);
        let tokens = outputs.len();
        let (d_memory, d_last, guide_loss) =
            self.decode_backward(&encoded, decoded, &d_states, shard.guide.as_ref(), dropout, gradients, workspace);
        workspace.give(d_states);
        self.encode_backward(encoded, d_memory, d_last, dropout, gradients, workspace);
        Loss { objective: sums.objective + guide_loss, nll: sums.nll, tokens }
    }

    fn loss(&self, shard: &Shard<'_>, workspace: &mut Workspace) -> Loss {
        let encoded = self.encode(&shard.sources, Dropout::OFF, workspace);
        let decoded = self.decode(&encoded, &shard.targets, Dropout::OFF, workspace);
        let sums = self.ends.loss(&self.parameters, &decoded.states, &decoded.target.outputs, workspace);
        let tokens = decoded.target.outputs.len();
        decoded.saved.release(workspace);
        for buffer in [decoded.bridged, decoded.embedded, decoded.context, decoded.states] {
            workspace.give(buffer);
        }
        encoded.release(workspace);
        Loss { objective: sums.objective, nll: sums.nll, tokens }
    }

    fn decoder<'m>(&'m self, sources: &[&[u32]]) -> Box<dyn Decoder + 'm> {
        let mut workspace = Workspace::new();
        let encoded = self.encode(sources, Dropout::OFF, &mut workspace);
        let bridged = self.bridge(&encoded.last, &mut workspace);
        let memory = Memory { values: &encoded.memory, offsets: &encoded.source.offsets };
        Box::new(RnnAttentionDecoder {
            model: self,
            keys: self.decoder.keys(&self.parameters, memory, &mut workspace),
            prepared: self.decoder.prepare(&self.parameters, &mut workspace),
            state: self.state(&bridged, &mut workspace),
            memory: encoded.memory,
            offsets: encoded.source.offsets,
            sentences: (0..sources.len()).collect(),
            imposed: Vec::new(),
            weights: Vec::new(),
            spans: vec![0..0; sources.len()],
            scores: Vec::new(),
            workspace,
        })
    }
}

/// Rows that grow by a token at each step; see [`Decoder`].
struct RnnAttentionDecoder<'m> {
    model: &'m RnnAttention,
    memory: Vec<f32>,
    offsets: Vec<usize>,
    keys: Vec<f32>,
    prepared: Prepared,
    /// Which sentence each row translates.
    sentences: Vec<usize>,
    /// Where rows have to look at the next step.
    imposed: Vec<Imposed>,
    state: State,
    /// Of the last step; those of row `i` are at `spans[i]`.
    weights: Vec<f32>,
    spans: Vec<Range<usize>>,
    scores: Vec<f32>,
    workspace: Workspace,
}

impl Decoder for RnnAttentionDecoder<'_> {
    fn rows(&self) -> usize {
        self.sentences.len()
    }

    fn impose(&mut self, look: Imposed) {
        self.imposed.push(look);
    }

    fn step(&mut self, tokens: &[u32]) -> &[f32] {
        let (model, workspace) = (self.model, &mut self.workspace);
        let p = &model.parameters;
        let embedded = embed(model.ends.target, p, tokens, Dropout::OFF, workspace);
        let memory = Memory { values: &self.memory, offsets: &self.offsets };
        let (context, weights) = model.decoder.step(
            p,
            &self.prepared,
            memory,
            &self.keys,
            &self.sentences,
            &self.imposed,
            &embedded,
            &mut self.state,
            workspace,
        );
        self.imposed.clear();
        let states = model.states(&self.state.hidden, &context, &embedded, workspace);
        model.ends.scores(p, &states, &mut self.scores, workspace);
        workspace.give(std::mem::replace(&mut self.weights, weights));
        let mut end = 0;
        for (span, &sentence) in self.spans.iter_mut().zip(&self.sentences) {
            let start = end;
            end += self.offsets[sentence + 1] - self.offsets[sentence];
            *span = start..end;
        }
        for buffer in [embedded, context, states] {
            workspace.give(buffer);
        }
        &self.scores
    }

    fn attention(&self, row: usize) -> &[f32] {
        &self.weights[self.spans[row].clone()]
    }

    fn select(&mut self, rows: &[usize]) {
        let hidden = self.model.decoder.cell.hidden();
        self.state.select(rows, hidden, &mut self.workspace);
        self.sentences = rows.iter().map(|&row| self.sentences[row]).collect();
        self.spans = rows.iter().map(|&row| self.spans[row].clone()).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::*;

    #[test]
    fn a_guide_teaches_where_to_look() {
        for (score, reading) in [(Score::Additive, "last"), (Score::Dot, "last+shift")] {
            let config = RnnAttentionConfig { embedding: 6, hidden: 8, score, ..RnnAttentionConfig::default() };
            contract::a_guide_teaches_where_to_look(&mut RnnAttention::new(&config, 12, Start::Random(1)), reading);
        }
    }
}
