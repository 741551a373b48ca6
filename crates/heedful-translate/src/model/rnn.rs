//! The recurrent encoder-decoder without attention: all that the decoder gets to know of the source is the encoder's last hidden state
//! (Cho et al. 2014, Sutskever et al. 2014).
//!
//! The decoder's layers start from the last states of the encoder's layers. As in Cho et al., the last state of the top layer, `c`, is
//! also part of the input of every step and of what the next token follows from, `[state; c; embedding]`; that is [`rnn_attention`](super::rnn_attention) with its
//! context fixed. The encoder reads the source from its end, which puts the first words of both sides close together (Sutskever et al. 2014,
//! section 3.3). Both can be switched off.

use heedful_nn::product::Packed;
use heedful_nn::recurrent::{self, Recurrent};
use heedful_nn::{Direction, Dropout, Gradients, Parameters, State, TimeMajor, Workspace, columns};

use super::config::RnnConfig;
use super::rnn_ends::{Ends, Site, add, embed, embed_backward};
use super::time_major::{Source, Target};
use super::{CrossAttention, Decoder, Loss, Model, Regularisation, Shard, Start};

/// The weights and where they are used.
pub struct Rnn {
    parameters: Parameters,
    ends: Ends,
    encoder: Vec<Recurrent>,
    decoder: Vec<Recurrent>,
    direction: Direction,
    hidden: usize,
    context_everywhere: bool,
}

/// Layers that read what the layer below wrote.
#[derive(Default)]
struct Stack {
    /// What each layer read.
    inputs: Vec<Vec<f32>>,
    layers: Vec<recurrent::Saved>,
}

impl Stack {
    fn release(self, workspace: &mut Workspace) {
        for buffer in self.inputs {
            workspace.give(buffer);
        }
        for saved in self.layers {
            saved.release(workspace);
        }
    }
}

/// A source after the encoder.
struct Encoded {
    source: Source,
    /// The last state of each layer, in the order of the sentences.
    last: Vec<State>,
    stack: Stack,
}

/// A decoder's pass over the targets of a shard.
struct Decoded {
    target: Target,
    stack: Stack,
    /// What the read-out sees at each row.
    states: Vec<f32>,
}

impl Rnn {
    /// A model of these sizes.
    pub fn new(config: &RnnConfig, vocabulary: usize, start: Start) -> Self {
        let (mut parameters, mut rng) = start.store();
        let (p, rng) = (&mut parameters, &mut rng);
        let (cell, embedding, hidden) = (config.cell.into(), config.embedding, config.hidden);
        let context = if config.context_everywhere { hidden } else { 0 };
        let ends = Ends::new(p, vocabulary, embedding, hidden + context + embedding, config.tied, rng);
        let mut layers = |side: &str, input: usize| -> Vec<Recurrent> {
            let input = |i| if i == 0 { input } else { hidden };
            (0..config.layers).map(|i| Recurrent::new(p, &format!("{side}.{i}"), cell, input(i), hidden, rng)).collect()
        };
        let (encoder, decoder) = (layers("encoder", embedding), layers("decoder", embedding + context));
        let direction = if config.reverse_source { Direction::Reverse } else { Direction::Forward };
        Self { parameters, ends, encoder, decoder, direction, hidden, context_everywhere: config.context_everywhere }
    }

    /// Runs `x` through layers that start from `initial`; returns the top layer's output and the last states.
    fn run(
        &self,
        layers: &[Recurrent],
        x: Vec<f32>,
        layout: &TimeMajor,
        direction: Direction,
        initial: Vec<State>,
        dropout: Dropout,
        workspace: &mut Workspace,
    ) -> (Vec<f32>, Vec<State>, Stack) {
        let mut stack = Stack { inputs: Vec::new(), layers: Vec::new() };
        let (mut x, mut lasts) = (x, Vec::new());
        for (i, (layer, initial)) in layers.iter().zip(initial).enumerate() {
            if i > 0 {
                dropout.at(i as u64).apply(&mut x);
            }
            let (y, last, saved) = layer.forward(&self.parameters, &x, layout, direction, initial, workspace);
            stack.inputs.push(std::mem::replace(&mut x, y));
            stack.layers.push(saved);
            lasts.push(last);
        }
        (x, lasts, stack)
    }

    /// The way back through [`run`](Self::run): the derivatives by `x` and by the initial states.
    fn run_backward(
        &self,
        layers: &[Recurrent],
        stack: Stack,
        layout: &TimeMajor,
        direction: Direction,
        d_y: Vec<f32>,
        d_last: Vec<State>,
        dropout: Dropout,
        gradients: &mut Gradients,
        workspace: &mut Workspace,
    ) -> (Vec<f32>, Vec<State>) {
        let (mut d_x, mut d_initial) = (d_y, Vec::new());
        let passes = stack.inputs.into_iter().zip(stack.layers).zip(d_last);
        for ((i, layer), ((x, saved), d_last)) in layers.iter().enumerate().zip(passes).rev() {
            let (mut below, d) = layer.backward(&self.parameters, gradients, saved, &x, layout, direction, &d_x, d_last, workspace);
            if i > 0 {
                dropout.at(i as u64).apply(&mut below);
            }
            workspace.give(std::mem::replace(&mut d_x, below));
            workspace.give(x);
            d_initial.push(d);
        }
        d_initial.reverse();
        (d_x, d_initial)
    }

    fn encode(&self, sources: &[&[u32]], dropout: Dropout, workspace: &mut Workspace) -> Encoded {
        let source = Source::new(sources);
        let x = embed(self.ends.source, &self.parameters, &source.tokens, dropout.at(Site::Source as u64), workspace);
        let zeros = self.encoder.iter().map(|layer| State::zeros(layer.cell, sources.len(), self.hidden, workspace)).collect();
        let dropout = dropout.at(Site::Encoder as u64);
        let (y, last, stack) = self.run(&self.encoder, x, &source.layout, self.direction, zeros, dropout, workspace);
        workspace.give(y);
        let last = last.into_iter().map(|state| state.unsort(&source.layout, self.hidden, workspace)).collect();
        Encoded { source, last, stack }
    }

    fn encode_backward(
        &self,
        encoded: Encoded,
        d_last: Vec<State>,
        dropout: Dropout,
        gradients: &mut Gradients,
        workspace: &mut Workspace,
    ) {
        let Encoded { source, last, stack } = encoded;
        let d_last = d_last.into_iter().map(|d| d.sort(&source.layout, self.hidden, workspace)).collect();
        let d_y = workspace.zeros(source.layout.total() * self.hidden);
        let inner = dropout.at(Site::Encoder as u64);
        let (d_x, d_initial) =
            self.run_backward(&self.encoder, stack, &source.layout, self.direction, d_y, d_last, inner, gradients, workspace);
        embed_backward(self.ends.source, gradients, &source.tokens, dropout.at(Site::Source as u64), d_x, workspace);
        for state in d_initial.into_iter().chain(last) {
            state.release(workspace);
        }
    }

    fn decode(&self, encoded: &Encoded, targets: &[&[u32]], dropout: Dropout, workspace: &mut Workspace) -> Decoded {
        let target = Target::new(targets);
        let layout = &target.layout;
        let initial: Vec<State> = encoded.last.iter().map(|state| state.copy(workspace).sort(layout, self.hidden, workspace)).collect();
        let context = self.context_everywhere.then(|| {
            let summary = &initial.last().expect("a model has layers").hidden;
            let mut context = workspace.take(layout.total() * self.hidden);
            for t in 0..layout.steps() {
                let rows = layout.rows(t);
                context[rows.start * self.hidden..rows.end * self.hidden].copy_from_slice(&summary[..rows.len() * self.hidden]);
            }
            context
        });
        let table = self.ends.target;
        let embedded = embed(table, &self.parameters, &target.inputs, dropout.at(Site::Target as u64), workspace);
        let x = self.with_context(&[(&embedded, table.dim())], context.as_deref(), workspace);
        let inner = dropout.at(Site::Decoder as u64);
        let (y, last, stack) = self.run(&self.decoder, x, layout, Direction::Forward, initial, inner, workspace);
        let states = self.with_context(&[(&y, self.hidden), (&embedded, table.dim())], context.as_deref(), workspace);
        for state in last {
            state.release(workspace);
        }
        for buffer in [embedded, y, context.unwrap_or_default()] {
            workspace.give(buffer);
        }
        Decoded { target, stack, states }
    }

    /// `[parts; context]`, row by row.
    fn with_context(&self, parts: &[(&[f32], usize)], context: Option<&[f32]>, workspace: &mut Workspace) -> Vec<f32> {
        let parts: Vec<_> = parts.iter().copied().chain(context.map(|context| (context, self.hidden))).collect();
        columns::join(&parts, workspace)
    }

    /// Returns the derivatives by the last states of the encoder's layers, in the order of the sentences.
    fn decode_backward(
        &self,
        decoded: Decoded,
        d_states: &[f32],
        dropout: Dropout,
        gradients: &mut Gradients,
        workspace: &mut Workspace,
    ) -> Vec<State> {
        let Decoded { target, stack, states } = decoded;
        let (layout, hidden, table) = (&target.layout, self.hidden, self.ends.target);
        let states_width = d_states.len() / layout.total();
        let input_width = self.decoder[0].input();
        let d_y = columns::part(d_states, states_width, 0..hidden, workspace);
        let mut d_embedded = columns::part(d_states, states_width, hidden..hidden + table.dim(), workspace);
        let zeros = self.decoder.iter().map(|layer| State::zeros(layer.cell, layout.sentences(), hidden, workspace)).collect();
        let inner = dropout.at(Site::Decoder as u64);
        let (d_x, mut d_initial) =
            self.run_backward(&self.decoder, stack, layout, Direction::Forward, d_y, zeros, inner, gradients, workspace);
        add(&mut d_embedded, columns::part(&d_x, input_width, 0..table.dim(), workspace), workspace);
        embed_backward(table, gradients, &target.inputs, dropout.at(Site::Target as u64), d_embedded, workspace);
        if self.context_everywhere {
            let mut d_context = columns::part(&d_x, input_width, table.dim()..input_width, workspace);
            add(&mut d_context, columns::part(d_states, states_width, hidden + table.dim()..states_width, workspace), workspace);
            let d_summary = &mut d_initial.last_mut().expect("a model has layers").hidden;
            for t in 0..layout.steps() {
                let rows = layout.rows(t);
                for (sum, d) in d_summary.iter_mut().zip(&d_context[rows.start * hidden..rows.end * hidden]) {
                    *sum += d;
                }
            }
            workspace.give(d_context);
        }
        workspace.give(d_x);
        workspace.give(states);
        d_initial.into_iter().map(|state| state.unsort(layout, hidden, workspace)).collect()
    }
}

impl Model for Rnn {
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
        None
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
        let d_last = self.decode_backward(decoded, &d_states, dropout, gradients, workspace);
        workspace.give(d_states);
        self.encode_backward(encoded, d_last, dropout, gradients, workspace);
        Loss { objective: sums.objective, nll: sums.nll, tokens }
    }

    fn loss(&self, shard: &Shard<'_>, workspace: &mut Workspace) -> Loss {
        let Encoded { source, last, stack } = self.encode(&shard.sources, Dropout::OFF, workspace);
        stack.release(workspace);
        let encoded = Encoded { source, last, stack: Stack::default() };
        let decoded = self.decode(&encoded, &shard.targets, Dropout::OFF, workspace);
        let sums = self.ends.loss(&self.parameters, &decoded.states, &decoded.target.outputs, workspace);
        let tokens = decoded.target.outputs.len();
        decoded.stack.release(workspace);
        workspace.give(decoded.states);
        for state in encoded.last {
            state.release(workspace);
        }
        Loss { objective: sums.objective, nll: sums.nll, tokens }
    }

    fn decoder<'m>(&'m self, sources: &[&[u32]]) -> Box<dyn Decoder + 'm> {
        let mut workspace = Workspace::new();
        let encoded = self.encode(sources, Dropout::OFF, &mut workspace);
        encoded.stack.release(&mut workspace);
        Box::new(RnnDecoder {
            model: self,
            prepared: self.decoder.iter().map(|layer| layer.prepare(&self.parameters, &mut workspace)).collect(),
            context: self.context_everywhere.then(|| encoded.last.last().expect("a model has layers").hidden.clone()),
            states: encoded.last,
            rows: sources.len(),
            scores: Vec::new(),
            workspace,
        })
    }
}

/// Rows that grow by a token at each step; see [`Decoder`].
struct RnnDecoder<'m> {
    model: &'m Rnn,
    /// For each layer.
    prepared: Vec<Packed>,
    /// For each layer.
    states: Vec<State>,
    /// One row for each row of the decoder.
    context: Option<Vec<f32>>,
    rows: usize,
    scores: Vec<f32>,
    workspace: Workspace,
}

impl Decoder for RnnDecoder<'_> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn step(&mut self, tokens: &[u32]) -> &[f32] {
        let (model, workspace) = (self.model, &mut self.workspace);
        let (p, table, context) = (&model.parameters, model.ends.target, self.context.as_deref());
        let embedded = embed(table, p, tokens, Dropout::OFF, workspace);
        let first = model.with_context(&[(&embedded, table.dim())], context, workspace);
        let mut below: Option<&State> = None;
        for ((layer, prepared), state) in model.decoder.iter().zip(&self.prepared).zip(&mut self.states) {
            layer.step(p, prepared, below.map_or(&first, |state| &state.hidden), state, workspace);
            below = Some(state);
        }
        let top = below.expect("a model has layers");
        let states = model.with_context(&[(&top.hidden, model.hidden), (&embedded, table.dim())], context, workspace);
        model.ends.scores(p, &states, &mut self.scores, workspace);
        for buffer in [embedded, first, states] {
            workspace.give(buffer);
        }
        &self.scores
    }

    fn attention(&self, _row: usize) -> &[f32] {
        &[]
    }

    fn select(&mut self, rows: &[usize]) {
        let hidden = self.model.hidden;
        for state in &mut self.states {
            state.select(rows, hidden, &mut self.workspace);
        }
        if let Some(context) = &mut self.context {
            *context = rows.iter().flat_map(|&row| &context[row * hidden..][..hidden]).copied().collect();
        }
        self.rows = rows.len();
    }
}
