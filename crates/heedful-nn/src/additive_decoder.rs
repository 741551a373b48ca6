//! The recurrent decoder that looks back at the source before every step (Bahdanau et al. 2015, appendix A.1.2 and A.2.2).
//!
//! For a state `s`, the memory `h_1 .. h_n` of its source sentence, and the embedding `y` of the token that was produced last:
//!
//! ```text
//! e_j = v . tanh(W s + U h_j + b)        scores
//! a   = softmax(e)                       attention weights over the sentence's own n positions
//! c   = sum_j a_j h_j                    context
//! s'  = cell([y; c], s)                  next state
//! ```
//!
//! `U h_j + b` is computed once for the whole source, and what `y` adds to the pre-activations once for all steps. A step is one product with
//! `s` (for the query `W s` and the cell together), one fused pass of scores, softmax and context, one product with `c`, and the cell's
//! element-wise pass. The scores' `tanh` are computed again in the backward pass: that costs less than keeping them.
//!
//! Luong's scores (Luong et al. 2015, section 3.1) take the place of `e_j`, see [`Score`].

use heedful::lens::WeightRows;
use heedful::simd::dispatch;
use rand_chacha::ChaCha8Rng;

use crate::attention_step::{Attend, AttendBackward, Comparison, Sources};
use crate::guide::Guide;
use crate::incremental::Imposed;
use crate::packed::TimeMajor;
use crate::product::{Matrix, Packed, add_gradient_product, add_packed_product_strided};
use crate::recurrent::{Cell, Recurrent, State, Step, StepBack};
use crate::{Gradients, Init, Linear, Parameter, Parameters, Workspace};

/// How a decoder state `s` and a memory vector `h` are compared. No score is divided by a root of the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// `v . tanh(W s + U h + b)` (Bahdanau et al. 2015).
    Additive,
    /// `s . h`; memory and state must have the same width.
    Dot,
    /// `s . W h`.
    General,
    /// `v . tanh(W [s; h])`: the additive score without `b`, with `W` and `U` side by side in one matrix.
    Concat,
}

/// A decoder layer with attention. `M` is the width of the memory, `E` that of the embeddings, `H` that of the state, `A` that of the
/// scores' inner layer.
#[derive(Clone, Copy, Debug)]
pub struct AdditiveDecoder {
    /// The cell; its input is `[y; c]`, `[E + M]`.
    pub cell: Recurrent,
    /// The score.
    pub score: Score,
    /// `W [A, H]` of the additive score and of concat.
    pub query: Option<Linear>,
    /// `U [A, M]`, with bias for the additive score; `W [H, M]` of the general one.
    pub key: Option<Linear>,
    /// `v [A]` of the additive score and of concat.
    pub energy: Option<Parameter>,
    embedding: usize,
    memory: usize,
}

/// The widths of an [`AdditiveDecoder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Of the target embeddings, `E`.
    pub embedding: usize,
    /// Of the memory, `M`.
    pub memory: usize,
    /// Of the state, `H`.
    pub hidden: usize,
    /// Of the inner layer of the additive score and of concat, `A`.
    pub attention: usize,
}

/// What the decoder looks at: the memory of all source sentences, sentence after sentence.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'a> {
    /// `[total, M]`.
    pub values: &'a [f32],
    /// Sentence `i` is rows `offsets[i]..offsets[i + 1]`.
    pub offsets: &'a [usize],
}

/// The weights in the layout in which a step reads them fastest.
#[derive(Debug)]
pub struct Prepared {
    /// `[W_hh^T | W^T]`, `[H, gates * H + A]`.
    state: Packed,
    /// The context's columns of `W_ih`, transposed and in the order of a working row: `[M, gates * H]`.
    context: Packed,
}

/// What the forward pass keeps for the backward pass.
#[derive(Debug)]
pub struct Saved {
    /// Working rows `[blocks * H | A]`.
    rows: Vec<f32>,
    previous: Vec<f32>,
    previous_memory: Vec<f32>,
    tanh_memory: Vec<f32>,
    keys: Vec<f32>,
    /// The weights of each row over its source sentence, row after row.
    weights: Vec<f32>,
    weight_offsets: Vec<usize>,
}

impl Saved {
    /// The attention weights of a time-major row over the positions of its source sentence; they sum to 1.
    pub fn attention(&self, row: usize) -> &[f32] {
        &self.weights[self.weight_offsets[row]..self.weight_offsets[row + 1]]
    }

    /// A look at the weights of the sentence at this position of the layout: one row for each target token, in reading order.
    ///
    /// # Errors
    /// If the layout is not that of the forward pass.
    ///
    /// # Panics
    /// If the layout has no such position.
    pub fn lens(&self, layout: &TimeMajor, position: usize) -> heedful::Result<WeightRows<'_>> {
        let rows: Vec<&[f32]> = layout.sentence_rows(position).map(|row| self.attention(row)).collect();
        let source_len = rows.first().map_or(0, |row| row.len());
        WeightRows::new(rows, source_len)
    }

    /// Gives its buffers back.
    pub fn release(self, workspace: &mut Workspace) {
        for buffer in [self.rows, self.previous, self.previous_memory, self.tanh_memory, self.keys, self.weights] {
            workspace.give(buffer);
        }
    }
}

/// What comes out of a backward pass beside the gradients of the weights.
#[derive(Debug)]
pub struct Derivatives {
    /// By the memory, `[total, M]`.
    pub memory: Vec<f32>,
    /// By the embeddings, `[total, E]`, time-major.
    pub embedded: Vec<f32>,
    /// By the initial state.
    pub initial: State,
}

impl AdditiveDecoder {
    /// Adds the cell `NAME.cell` and, as the score needs them, `NAME.query.weight`, `NAME.key.weight`, `NAME.key.bias` and `NAME.energy`.
    ///
    /// # Panics
    /// If the score is [`Score::Dot`] and `memory` differs from `hidden`.
    pub fn new(parameters: &mut Parameters, name: &str, cell: Cell, score: Score, sizes: Sizes, rng: &mut ChaCha8Rng) -> Self {
        let Sizes { embedding, memory, hidden, attention } = sizes;
        assert!(
            score != Score::Dot || memory == hidden,
            "the dot score compares a memory of width {memory} with a state of width {hidden}"
        );
        let cell = Recurrent::new(parameters, &format!("{name}.cell"), cell, embedding + memory, hidden, rng);
        let inner = matches!(score, Score::Additive | Score::Concat);
        let query = inner.then(|| Linear::without_bias(parameters, &format!("{name}.query"), hidden, attention, rng));
        let key_name = format!("{name}.key");
        let key = match score {
            Score::Additive => Some(Linear::new(parameters, &key_name, memory, attention, rng)),
            Score::Concat => Some(Linear::without_bias(parameters, &key_name, memory, attention, rng)),
            Score::General => Some(Linear::without_bias(parameters, &key_name, memory, hidden, rng)),
            Score::Dot => None,
        };
        let bound = (attention as f32).powf(-0.5);
        let energy = inner.then(|| parameters.add(format!("{name}.energy"), &[attention], Init::Uniform(bound), rng));
        Self { cell, score, query, key, energy, embedding, memory }
    }

    /// The keys of a memory, `[total, A]`: what does not depend on the decoder's state. Empty for [`Score::Dot`], whose keys are the memory.
    pub fn keys(&self, parameters: &Parameters, memory: Memory<'_>, workspace: &mut Workspace) -> Vec<f32> {
        self.key.map_or_else(Vec::new, |key| key.forward(parameters, memory.values, workspace))
    }

    /// The weights as [`step`](Self::step) reads them.
    pub fn prepare(&self, parameters: &Parameters, workspace: &mut Workspace) -> Prepared {
        self.pack(parameters, true, workspace)
    }

    /// The weights that each step multiplies by, `[gates * H + A, H]` and `[gates * H, M]`, or their transposes.
    fn pack(&self, parameters: &Parameters, transposed: bool, workspace: &mut Workspace) -> Prepared {
        let hidden = self.cell.hidden();
        let (gates, width) = (self.cell.cell.gates() * hidden, self.state_width());
        let mut rows = workspace.take(width * hidden);
        rows[..gates * hidden].copy_from_slice(&parameters[self.cell.weight_hh]);
        if let Some(query) = self.query {
            rows[gates * hidden..].copy_from_slice(&parameters[query.weight]);
        }
        let weight = Matrix::new(&rows, width, hidden);
        let state = Packed::new(if transposed { weight.t() } else { weight }, workspace);
        workspace.give(rows);
        let mut rows = workspace.take(gates * self.memory);
        self.cell.copy_input_weight(parameters, self.embedding, self.memory, &mut rows);
        let weight = Matrix::new(&rows, gates, self.memory);
        let context = Packed::new(if transposed { weight.t() } else { weight }, workspace);
        workspace.give(rows);
        Prepared { state, context }
    }

    /// Reads the embeddings `[total, E]` of the target tokens (time-major) from the state `initial` on.
    ///
    /// Returns the states `[total, H]`, the contexts `[total, M]`, and what [`backward`](Self::backward) needs.
    pub fn forward(
        &self,
        parameters: &Parameters,
        memory: Memory<'_>,
        embedded: &[f32],
        layout: &TimeMajor,
        initial: State,
        workspace: &mut Workspace,
    ) -> (Vec<f32>, Vec<f32>, Saved) {
        let (total, hidden, stride) = (layout.total(), self.cell.hidden(), self.stride());
        let memory_len = if self.cell.cell.has_memory() { total * hidden } else { 0 };
        let weight_offsets = weight_offsets(memory.offsets, layout);
        let mut saved = Saved {
            rows: workspace.take(total * stride),
            previous: workspace.take(total * hidden),
            previous_memory: workspace.take(memory_len),
            tanh_memory: workspace.take(memory_len),
            keys: self.keys(parameters, memory, workspace),
            weights: workspace.take(weight_offsets[total]),
            weight_offsets,
        };
        let (mut output, mut context) = (workspace.take(total * hidden), workspace.take(total * self.memory));
        let prepared = self.prepare(parameters, workspace);
        let mut state = initial;
        self.start_rows(parameters, embedded, &mut saved.rows);

        for t in 0..layout.steps() {
            let rows = layout.rows(t);
            let (n, range) = (rows.len(), rows.start * hidden..rows.end * hidden);
            let previous = &mut saved.previous[range.clone()];
            previous.copy_from_slice(&state.hidden[..n * hidden]);
            let (memory_state, tanh_memory): (&mut [f32], &mut [f32]) = if self.cell.cell.has_memory() {
                saved.previous_memory[range.clone()].copy_from_slice(&state.memory[..n * hidden]);
                (&mut state.memory[..n * hidden], &mut saved.tanh_memory[range.clone()])
            } else {
                (&mut [], &mut [])
            };
            let weight_range = saved.weight_offsets[rows.start]..saved.weight_offsets[rows.end];
            self.advance(
                parameters,
                &prepared,
                memory,
                &saved.keys,
                &layout.order()[..n],
                &[],
                &mut saved.rows[rows.start * stride..rows.end * stride],
                Step { previous, memory: memory_state, tanh_memory, output: &mut output[range.clone()] },
                &mut saved.weights[weight_range],
                &mut context[rows.start * self.memory..rows.end * self.memory],
            );
            state.hidden[..n * hidden].copy_from_slice(&output[range]);
        }
        prepared.release(workspace);
        state.release(workspace);
        (output, context, saved)
    }

    /// One step of `sentences.len()` rows, of which row `i` looks at source sentence `sentences[i]`; `keys` are those of
    /// [`keys`](Self::keys). The state is advanced in place. Rows look where they are told to by `imposed`.
    ///
    /// Returns the contexts `[n, M]` and the attention weights of each row over its source sentence, row after row.
    pub fn step(
        &self,
        parameters: &Parameters,
        prepared: &Prepared,
        memory: Memory<'_>,
        keys: &[f32],
        sentences: &[usize],
        imposed: &[Imposed],
        embedded: &[f32],
        state: &mut State,
        workspace: &mut Workspace,
    ) -> (Vec<f32>, Vec<f32>) {
        let n = sentences.len();
        let mut rows = workspace.take(n * self.stride());
        self.start_rows(parameters, embedded, &mut rows);
        let weights = sentences.iter().map(|&i| memory.offsets[i + 1] - memory.offsets[i]).sum();
        let (mut weights, mut context) = (workspace.take(weights), workspace.take(n * self.memory));
        let (mut output, mut tanh_memory) = (workspace.take(state.hidden.len()), workspace.take(state.memory.len()));
        self.advance(
            parameters,
            prepared,
            memory,
            keys,
            sentences,
            imposed,
            &mut rows,
            Step { previous: &state.hidden, memory: &mut state.memory, tanh_memory: &mut tanh_memory, output: &mut output },
            &mut weights,
            &mut context,
        );
        workspace.give(std::mem::replace(&mut state.hidden, output));
        workspace.give(tanh_memory);
        workspace.give(rows);
        (context, weights)
    }

    /// The derivatives by memory, embeddings and initial state from those by the states `[total, H]` and the contexts `[total, M]` that
    /// [`forward`](Self::forward) returned; those by the weights are added to `gradients`. `context` is the one that `forward` returned. The
    /// queries of a `guide` are time-major rows; it has no other head than the only one there is, and its loss is returned too.
    pub fn backward(
        &self,
        parameters: &Parameters,
        gradients: &mut Gradients,
        saved: Saved,
        memory: Memory<'_>,
        embedded: &[f32],
        context: &[f32],
        layout: &TimeMajor,
        d_output: &[f32],
        d_context: &[f32],
        guide: Option<&Guide>,
        workspace: &mut Workspace,
    ) -> (Derivatives, f64) {
        let (total, hidden, stride) = (layout.total(), self.cell.hidden(), self.stride());
        let cell = self.cell.cell;
        let (gates, width) = (cell.gates() * hidden, self.state_width());
        let mut saved = saved;
        let mut carry = State::zeros(cell, layout.sentences(), hidden, workspace);
        let mut d_memory = workspace.zeros(memory.values.len());
        let mut d_keys = workspace.zeros(saved.keys.len());
        let mut d_context = workspace.copy(d_context);
        let weights = self.pack(parameters, false, workspace);
        let mut d_energy = workspace.zeros(self.energy.map_or(0, Parameter::len));
        let mut d_scores = workspace.take(memory.offsets.windows(2).map(|sentence| sentence[1] - sentence[0]).max().unwrap_or(0));
        let mut query = workspace.take(self.query.map_or(0, |query| query.outputs()));
        let mut d_scores_beside = workspace.zeros(guide.map_or(0, |_| saved.weights.len()));
        let guide_loss = guide.map_or(0.0, |guide| {
            // The first row of the memory that a time-major row looks at.
            let mut first = vec![0; total];
            for t in 0..layout.steps() {
                for (row, &sentence) in layout.rows(t).zip(layout.order()) {
                    first[row] = memory.offsets[sentence];
                }
            }
            guide.add_to_rows(&saved.weights, &saved.weight_offsets, &first, &mut d_scores_beside)
        });

        for t in (0..layout.steps()).rev() {
            let rows = layout.rows(t);
            let (n, range) = (rows.len(), rows.start * hidden..rows.end * hidden);
            let row_buffer = &mut saved.rows[rows.start * stride..rows.end * stride];
            let (previous_memory, tanh_memory, d_cell): (&[f32], &[f32], &mut [f32]) = if cell.has_memory() {
                (&saved.previous_memory[range.clone()], &saved.tanh_memory[range.clone()], &mut carry.memory[..n * hidden])
            } else {
                (&[], &[], &mut [])
            };
            let step = StepBack {
                previous: &saved.previous[range.clone()],
                previous_memory,
                tanh_memory,
                d_output: &d_output[range.clone()],
                carry: &mut carry.hidden[..n * hidden],
                d_memory: d_cell,
            };
            cell.backward(row_buffer, stride, step, hidden);

            let d_context = &mut d_context[rows.start * self.memory..rows.end * self.memory];
            add_packed_product_strided(d_context, self.memory, Matrix::strided(row_buffer, n, gates, stride), &weights.context);
            let previous = &saved.previous[range];
            let (queries, d_queries, query_stride) = match self.query {
                Some(query) => (None, &mut row_buffer[stride - query.outputs()..], stride),
                None => (Some(previous), &mut carry.hidden[..n * hidden], hidden),
            };
            dispatch(AttendBackward {
                sources: self.sources(memory, &saved.keys, &layout.order()[..n]),
                comparison: self.comparison(parameters),
                queries,
                d_queries,
                query_stride,
                weights: &saved.weights[saved.weight_offsets[rows.start]..saved.weight_offsets[rows.end]],
                d_scores_beside: d_scores_beside.get(saved.weight_offsets[rows.start]..saved.weight_offsets[rows.end]).unwrap_or_default(),
                d_context,
                d_values: &mut d_memory,
                d_keys: self.key.map(|_| &mut d_keys[..]),
                d_energy: &mut d_energy,
                d_scores: &mut d_scores,
                query: &mut query,
            });
            let d_state = Matrix::strided(&row_buffer[cell.state_block() * hidden..], n, width, stride);
            add_packed_product_strided(&mut carry.hidden[..n * hidden], hidden, d_state, &weights.state);
        }
        weights.release(workspace);

        self.cell.add_state_gradients(gradients, &saved.rows, stride, &saved.previous);
        self.cell.add_input_gradients(gradients, &saved.rows, stride, embedded, 0);
        self.cell.add_input_gradients(gradients, &saved.rows, stride, context, self.embedding);
        if let (Some(query), true) = (self.query, total > 0) {
            let d_queries = Matrix::strided(&saved.rows[stride - query.outputs()..], total, query.outputs(), stride);
            add_gradient_product(&mut gradients[query.weight], d_queries.t(), Matrix::new(&saved.previous, total, hidden));
        }
        if let Some(energy) = self.energy {
            for (sum, d) in gradients[energy].iter_mut().zip(&d_energy) {
                *sum += d;
            }
        }
        if let Some(key) = self.key {
            key.backward_add(parameters, gradients, memory.values, &d_keys, &mut d_memory);
        }
        let mut d_embedded = workspace.take(total * self.embedding);
        self.cell.input_gradient(parameters, &saved.rows, stride, 0, self.embedding, &mut d_embedded);
        for buffer in [d_keys, d_context, d_energy, d_scores, query, d_scores_beside] {
            workspace.give(buffer);
        }
        saved.release(workspace);
        (Derivatives { memory: d_memory, embedded: d_embedded, initial: carry }, guide_loss)
    }

    /// One step: from working rows that hold the input's part of the pre-activations to the next state. `rows` keeps what the backward step
    /// needs.
    fn advance(
        &self,
        parameters: &Parameters,
        prepared: &Prepared,
        memory: Memory<'_>,
        keys: &[f32],
        sentences: &[usize],
        imposed: &[Imposed],
        rows: &mut [f32],
        step: Step<'_>,
        weights: &mut [f32],
        context: &mut [f32],
    ) {
        let (n, stride, hidden) = (sentences.len(), self.stride(), self.cell.hidden());
        let cell = self.cell.cell;
        let previous = Matrix::new(step.previous, n, hidden);
        add_packed_product_strided(&mut rows[cell.state_block() * hidden..], stride, previous, &prepared.state);
        let (queries, query_stride) = match self.query {
            Some(query) => (&rows[stride - query.outputs()..], stride),
            None => (step.previous, hidden),
        };
        dispatch(Attend {
            sources: self.sources(memory, keys, sentences),
            comparison: self.comparison(parameters),
            imposed,
            queries,
            query_stride,
            weights,
            context: &mut *context,
        });
        add_packed_product_strided(rows, stride, Matrix::new(context, n, self.memory), &prepared.context);
        cell.forward(rows, stride, step, hidden);
    }

    /// Sets working rows to what does not depend on the state: the biases and the embeddings' part, and zeros for the query.
    fn start_rows(&self, parameters: &Parameters, embedded: &[f32], rows: &mut [f32]) {
        let stride = self.stride();
        self.cell.fill_bias(parameters, rows, stride);
        if let Some(query) = self.query {
            for row in rows.chunks_exact_mut(stride) {
                row[stride - query.outputs()..].fill(0.0);
            }
        }
        self.cell.add_input(parameters, embedded, 0, rows, stride);
    }

    /// The length of a working row, `[blocks * H | A]`.
    fn stride(&self) -> usize {
        self.cell.cell.state_block() * self.cell.hidden() + self.state_width()
    }

    /// How many numbers of a working row the state's product fills.
    fn state_width(&self) -> usize {
        self.cell.cell.gates() * self.cell.hidden() + self.query.map_or(0, |query| query.outputs())
    }

    fn comparison<'p>(&self, parameters: &'p Parameters) -> Comparison<'p> {
        self.energy.map_or(Comparison::Product, |energy| Comparison::Additive(&parameters[energy]))
    }

    fn sources<'a>(&self, memory: Memory<'a>, keys: &'a [f32], sentences: &'a [usize]) -> Sources<'a> {
        let (keys, key_width) = self.key.map_or((memory.values, self.memory), |key| (keys, key.outputs()));
        Sources { sentences, offsets: memory.offsets, keys, key_width, values: memory.values, value_width: self.memory }
    }
}

impl Prepared {
    /// Gives its buffers back.
    pub fn release(self, workspace: &mut Workspace) {
        self.state.release(workspace);
        self.context.release(workspace);
    }
}

/// Where the weights of each time-major row start: a row has one for each position of its source sentence.
fn weight_offsets(source_offsets: &[usize], layout: &TimeMajor) -> Vec<usize> {
    let mut offsets = Vec::with_capacity(layout.total() + 1);
    let mut end = 0;
    offsets.push(end);
    for t in 0..layout.steps() {
        for &sentence in &layout.order()[..layout.active(t)] {
            end += source_offsets[sentence + 1] - source_offsets[sentence];
            offsets.push(end);
        }
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Check, check_gradients};

    const SOURCES: [usize; 5] = [0, 3, 4, 6, 11];
    const TARGETS: [usize; 4] = [2, 4, 1, 3];

    fn decoder(check: &mut Check, cell: Cell, score: Score) -> AdditiveDecoder {
        let memory = if score == Score::Dot { 5 } else { 4 };
        let sizes = Sizes { embedding: 3, memory, hidden: 5, attention: 6 };
        let decoder = AdditiveDecoder::new(&mut check.parameters, "decoder", cell, score, sizes, &mut check.rng);
        check.randomise();
        decoder
    }

    /// The formulas of the module documentation, one sentence and one step at a time, in f64.
    fn textbook_weights(decoder: &AdditiveDecoder, p: &Parameters, state: &[f32], memory: &[f32]) -> Vec<f64> {
        let product = |linear: Option<Linear>, x: &[f32], width: usize| -> Vec<f64> {
            let Some(linear) = linear else { return x.iter().map(|&x| x.into()).collect() };
            (0..width)
                .map(|i| {
                    let row =
                        p[linear.weight][i * x.len()..][..x.len()].iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>();
                    row + linear.bias.map_or(0.0, |bias| f64::from(p[bias][i]))
                })
                .collect()
        };
        let width = decoder.key.map_or(5, |key| key.outputs());
        let query = product(decoder.query, state, width);
        let exp: Vec<f64> = memory
            .chunks(decoder.memory)
            .map(|h| {
                let key = product(decoder.key, h, width);
                let pairs = query.iter().zip(&key);
                match decoder.energy {
                    Some(v) => pairs.zip(&p[v]).map(|((q, k), v)| f64::from(*v) * (q + k).tanh()).sum::<f64>().exp(),
                    None => pairs.map(|(q, k)| q * k).sum::<f64>().exp(),
                }
            })
            .collect();
        exp.iter().map(|e| e / exp.iter().sum::<f64>()).collect()
    }

    #[test]
    fn gradients_are_the_finite_differences_for_every_score_and_cell() {
        let layout = TimeMajor::new(&TARGETS);
        for score in [Score::Additive, Score::Dot, Score::General, Score::Concat] {
            for cell in [Cell::Gru, Cell::Lstm] {
                let mut check = Check::new(21);
                let decoder = decoder(&mut check, cell, score);
                let len = TARGETS.len() * 5;
                let memory_len = if cell.has_memory() { len } else { 0 };
                let inputs = vec![check.input(11 * decoder.memory), check.input(10 * 3), check.input(len), check.input(memory_len)];
                let state = |x: &[Vec<f32>]| State { hidden: x[2].clone(), memory: x[3].clone() };
                check_gradients(
                    check,
                    inputs,
                    |p, x, ws| {
                        let memory = Memory { values: &x[0], offsets: &SOURCES };
                        let (output, context, saved) = decoder.forward(p, memory, &x[1], &layout, state(x), ws);
                        saved.release(ws);
                        [output, context].concat()
                    },
                    |p, g, x, d_y, ws| {
                        let memory = Memory { values: &x[0], offsets: &SOURCES };
                        let (_, context, saved) = decoder.forward(p, memory, &x[1], &layout, state(x), ws);
                        let (d_output, d_context) = d_y.split_at(10 * 5);
                        let (d, _) = decoder.backward(p, g, saved, memory, &x[1], &context, &layout, d_output, d_context, None, ws);
                        vec![d.memory, d.embedded, d.initial.hidden, d.initial.memory]
                    },
                );
            }
        }
    }

    #[test]
    fn weights_follow_the_formula_and_single_steps_do_what_the_whole_does() {
        let layout = TimeMajor::new(&TARGETS);
        for score in [Score::Additive, Score::Dot, Score::General, Score::Concat] {
            for cell in [Cell::Gru, Cell::Lstm] {
                let mut check = Check::new(22);
                let decoder = decoder(&mut check, cell, score);
                let (values, embedded) = (check.input(11 * decoder.memory), check.input(10 * 3));
                let (p, mut ws) = (check.parameters, Workspace::new());
                let memory = Memory { values: &values, offsets: &SOURCES };
                let zeros = State::zeros(cell, 4, 5, &mut ws);
                let (output, context, saved) = decoder.forward(&p, memory, &embedded, &layout, zeros, &mut ws);
                let (keys, prepared) = (decoder.keys(&p, memory, &mut ws), decoder.prepare(&p, &mut ws));
                for (position, &sentence) in layout.order().iter().enumerate() {
                    let mut state = State::zeros(cell, 1, 5, &mut ws);
                    let source = &values[SOURCES[sentence] * decoder.memory..SOURCES[sentence + 1] * decoder.memory];
                    for row in layout.sentence_rows(position) {
                        let expected = textbook_weights(&decoder, &p, &state.hidden, source);
                        let embedded = &embedded[row * 3..][..3];
                        let (c, weights) = decoder.step(&p, &prepared, memory, &keys, &[sentence], &[], embedded, &mut state, &mut ws);
                        let near = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
                        let expected: Vec<f32> = expected.iter().map(|&w| w as f32).collect();
                        assert!(near(&weights, &expected), "{score:?}: weights {weights:?}, formula {expected:?}");
                        assert!(near(saved.attention(row), &expected));
                        let (lens, step) =
                            (saved.lens(&layout, position).unwrap(), layout.sentence_rows(position).position(|r| r == row).unwrap());
                        assert_eq!(lens.row(step).unwrap(), saved.attention(row));
                        assert!((lens.column_sums(step..step + 1).unwrap().iter().sum::<f32>() - 1.0).abs() < 1e-5);
                        assert!(near(&c, &context[row * decoder.memory..][..decoder.memory]));
                        assert!(near(&state.hidden, &output[row * 5..][..5]));
                    }
                }
            }
        }
    }
}
