//! Recurrent layers over sentences of different lengths: GRU, LSTM and the plain recurrent network, forward and backward through time.
//!
//! Everything that does not depend on the step before is one product over all steps: the input's part of the pre-activations before
//! the loop, the gradients of the weights and of the input after it. A step is one product with the hidden state and one element-wise pass.

use std::ops::Range;

use heedful::simd::dispatch;
use rand_chacha::ChaCha8Rng;

use crate::elman::{self, Activation};
use crate::packed::TimeMajor;
use crate::product::{Matrix, Packed, add_gradient_product, add_gradient_product_strided, add_packed_product_strided, add_product_strided};
use crate::{Gradients, Init, Parameter, Parameters, Workspace};
use crate::{gru, lstm};

/// The recurrent unit: what one step does with its pre-activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Gated recurrent unit, see [`crate::gru`]. Gate order in the weights: r, z, n.
    Gru,
    /// Long short-term memory, see [`crate::lstm`]. Gate order in the weights: i, f, g, o.
    Lstm,
    /// `h' = tanh(...)`, see [`crate::elman`].
    Tanh,
    /// `h' = relu(...)`, see [`crate::elman`].
    Relu,
}

impl Cell {
    /// The rows of its weights, in units of the hidden size.
    pub fn gates(self) -> usize {
        match self {
            Self::Gru => 3,
            Self::Lstm => 4,
            Self::Tanh | Self::Relu => 1,
        }
    }

    /// Whether it has a memory `c` beside the hidden state `h`.
    pub fn has_memory(self) -> bool {
        self == Self::Lstm
    }

    /// The blocks of a working row, in units of the hidden size. The input's product fills the first [`gates`](Self::gates) of them, the
    /// state's product the last.
    pub(crate) fn blocks(self) -> usize {
        match self {
            Self::Gru | Self::Lstm => 4,
            Self::Tanh | Self::Relu => 1,
        }
    }

    /// The first block of a working row that the state's product fills.
    pub(crate) fn state_block(self) -> usize {
        self.blocks() - self.gates()
    }

    /// Which rows of the input's weights belong to which first block of a working row: `(gates, block)`.
    fn input_blocks(self) -> &'static [(Range<usize>, usize)] {
        match self {
            Self::Gru => &[(2..3, 0), (0..2, 1)],
            Self::Lstm => &[(0..4, 0)],
            Self::Tanh | Self::Relu => &[(0..1, 0)],
        }
    }

    /// One step of `n` sentences. `gates` holds `n` working rows that are `stride` apart, of pre-activations at first and of what
    /// [`backward`](Self::backward) needs afterwards; `memory` and `tanh_memory` are empty for a cell without memory.
    pub(crate) fn forward(self, gates: &mut [f32], stride: usize, step: Step<'_>, hidden: usize) {
        let Step { previous, memory, tanh_memory, output } = step;
        match self {
            Self::Gru => dispatch(gru::Forward { gates, stride, previous, output, hidden }),
            Self::Lstm => dispatch(lstm::Forward { gates, stride, memory, tanh_memory, output, hidden }),
            Self::Tanh => dispatch(elman::Forward { activation: Activation::Tanh, gates, stride, output, hidden }),
            Self::Relu => dispatch(elman::Forward { activation: Activation::Relu, gates, stride, output, hidden }),
        }
    }

    /// One step backwards: `gates` goes from what [`forward`](Self::forward) left to the derivatives by the pre-activations.
    pub(crate) fn backward(self, gates: &mut [f32], stride: usize, step: StepBack<'_>, hidden: usize) {
        let StepBack { previous, previous_memory, tanh_memory, d_output, carry, d_memory } = step;
        match self {
            Self::Gru => dispatch(gru::Backward { gates, stride, previous, d_output, carry, hidden }),
            Self::Lstm => dispatch(lstm::Backward { gates, stride, previous_memory, tanh_memory, d_output, carry, d_memory, hidden }),
            Self::Tanh => dispatch(elman::Backward { activation: Activation::Tanh, gates, stride, d_output, carry, hidden }),
            Self::Relu => dispatch(elman::Backward { activation: Activation::Relu, gates, stride, d_output, carry, hidden }),
        }
    }
}

/// What one step reads and writes beside the working rows, each `[n, hidden]`.
pub(crate) struct Step<'a> {
    /// `h`.
    pub previous: &'a [f32],
    /// `c`, replaced by `c'`.
    pub memory: &'a mut [f32],
    /// Takes `tanh(c')`.
    pub tanh_memory: &'a mut [f32],
    /// Takes `h'`.
    pub output: &'a mut [f32],
}

/// What one step backwards reads and writes beside the working rows, each `[n, hidden]`.
pub(crate) struct StepBack<'a> {
    /// `h`.
    pub previous: &'a [f32],
    /// `c`.
    pub previous_memory: &'a [f32],
    /// `tanh(c')`.
    pub tanh_memory: &'a [f32],
    /// The derivative by `h'` that comes from outside the recurrence.
    pub d_output: &'a [f32],
    /// The derivative by `h'` that comes from later steps; replaced by the part of that by `h` that does not pass through the product.
    pub carry: &'a mut [f32],
    /// The derivative by `c'` that comes from later steps; replaced by that by `c`.
    pub d_memory: &'a mut [f32],
}

/// The state between two steps of several sentences, in the order of a [`TimeMajor`] layout (longest first).
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// `h [sentences, hidden]`.
    pub hidden: Vec<f32>,
    /// `c [sentences, hidden]`, empty for a cell without memory.
    pub memory: Vec<f32>,
}

impl State {
    /// Zeros, where a recurrence starts unless something else is known.
    pub fn zeros(cell: Cell, sentences: usize, hidden: usize, workspace: &mut Workspace) -> Self {
        let len = sentences * hidden;
        Self { hidden: workspace.zeros(len), memory: workspace.zeros(if cell.has_memory() { len } else { 0 }) }
    }

    /// From the caller's order of sentences to the layout's.
    #[must_use]
    pub fn sort(self, layout: &TimeMajor, hidden: usize, workspace: &mut Workspace) -> Self {
        self.map(workspace, |rows, sorted| layout.sort(rows, hidden, sorted))
    }

    /// From the layout's order of sentences to the caller's.
    #[must_use]
    pub fn unsort(self, layout: &TimeMajor, hidden: usize, workspace: &mut Workspace) -> Self {
        self.map(workspace, |sorted, rows| layout.unsort(sorted, hidden, rows))
    }

    fn map(self, workspace: &mut Workspace, f: impl Fn(&[f32], &mut [f32])) -> Self {
        let mut moved = |from: Vec<f32>| {
            let mut to = workspace.take(from.len());
            f(&from, &mut to);
            workspace.give(from);
            to
        };
        Self { hidden: moved(self.hidden), memory: moved(self.memory) }
    }

    /// A copy in other buffers.
    #[must_use]
    pub fn copy(&self, workspace: &mut Workspace) -> Self {
        Self { hidden: workspace.copy(&self.hidden), memory: workspace.copy(&self.memory) }
    }

    /// Makes row `i` a copy of what row `rows[i]` was.
    pub fn select(&mut self, rows: &[usize], hidden: usize, workspace: &mut Workspace) {
        for values in [&mut self.hidden, &mut self.memory].into_iter().filter(|values| !values.is_empty()) {
            let mut selected = workspace.take(rows.len() * hidden);
            for (to, &row) in selected.chunks_exact_mut(hidden).zip(rows) {
                to.copy_from_slice(&values[row * hidden..][..hidden]);
            }
            workspace.give(std::mem::replace(values, selected));
        }
    }

    /// Gives its buffers back.
    pub fn release(self, workspace: &mut Workspace) {
        workspace.give(self.hidden);
        workspace.give(self.memory);
    }
}

/// The order in which a recurrence reads a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the first token to the last.
    Forward,
    /// From the last token to the first.
    Reverse,
}

impl Direction {
    /// Step `i` of `steps` in this direction.
    fn step(self, i: usize, steps: usize) -> usize {
        match self {
            Self::Forward => i,
            Self::Reverse => steps - 1 - i,
        }
    }
}

/// A recurrent layer in one direction. Weights have PyTorch's shapes, names and gate order.
#[derive(Clone, Copy, Debug)]
pub struct Recurrent {
    /// The unit.
    pub cell: Cell,
    /// `W_ih`, `[gates * hidden, input]`.
    pub weight_ih: Parameter,
    /// `W_hh`, `[gates * hidden, hidden]`.
    pub weight_hh: Parameter,
    /// `b_ih` and `b_hh`, `[gates * hidden]` each.
    pub bias: Option<[Parameter; 2]>,
    input: usize,
    hidden: usize,
}

/// What the forward pass keeps for the backward pass.
#[derive(Debug)]
pub struct Saved {
    /// Working rows, `[total, blocks * hidden]`.
    gates: Vec<f32>,
    /// The hidden state before each step, `[total, hidden]`.
    previous: Vec<f32>,
    /// The memory before each step, `[total, hidden]` or empty.
    previous_memory: Vec<f32>,
    /// `tanh` of the memory after each step, `[total, hidden]` or empty.
    tanh_memory: Vec<f32>,
}

impl Saved {
    /// Gives its buffers back.
    pub fn release(self, workspace: &mut Workspace) {
        for buffer in [self.gates, self.previous, self.previous_memory, self.tanh_memory] {
            workspace.give(buffer);
        }
    }
}

impl Recurrent {
    /// Adds `NAME.weight_ih` (Glorot), `NAME.weight_hh` (orthogonal blocks), `NAME.bias_ih` and `NAME.bias_hh` (zeros, except that an LSTM
    /// starts with a forget bias of one: Jozefowicz et al. 2015).
    pub fn new(parameters: &mut Parameters, name: &str, cell: Cell, input: usize, hidden: usize, rng: &mut ChaCha8Rng) -> Self {
        let layer = Self::without_bias(parameters, name, cell, input, hidden, rng);
        let shape = [cell.gates() * hidden];
        let bias = ["ih", "hh"].map(|part| parameters.add(format!("{name}.bias_{part}"), &shape, Init::Constant(0.0), rng));
        if cell == Cell::Lstm {
            parameters[bias[0]][hidden..2 * hidden].fill(1.0);
        }
        Self { bias: Some(bias), ..layer }
    }

    /// Adds the two weights only.
    pub fn without_bias(parameters: &mut Parameters, name: &str, cell: Cell, input: usize, hidden: usize, rng: &mut ChaCha8Rng) -> Self {
        let rows = cell.gates() * hidden;
        let weight_ih = parameters.add(format!("{name}.weight_ih"), &[rows, input], Init::Glorot, rng);
        let weight_hh = parameters.add(format!("{name}.weight_hh"), &[rows, hidden], Init::Orthogonal, rng);
        Self { cell, weight_ih, weight_hh, bias: None, input, hidden }
    }

    /// The width of the input.
    pub fn input(&self) -> usize {
        self.input
    }

    /// The width of the hidden state.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// Reads `x [total, input]` (time-major) from the state `initial`.
    ///
    /// Returns the hidden state after each token, `[total, hidden]`; the state after each sentence's last token in this direction; and what
    /// [`backward`](Self::backward) needs.
    pub fn forward(
        &self,
        parameters: &Parameters,
        x: &[f32],
        layout: &TimeMajor,
        direction: Direction,
        initial: State,
        workspace: &mut Workspace,
    ) -> (Vec<f32>, State, Saved) {
        let (cell, hidden, total) = (self.cell, self.hidden, layout.total());
        let (width, memory_len) = (cell.blocks() * hidden, if cell.has_memory() { total * hidden } else { 0 });
        let mut saved = Saved {
            gates: workspace.take(total * width),
            previous: workspace.take(total * hidden),
            previous_memory: workspace.take(memory_len),
            tanh_memory: workspace.take(memory_len),
        };
        let mut output = workspace.take(total * hidden);
        let mut state = initial;

        self.fill_bias(parameters, &mut saved.gates, width);
        self.add_input(parameters, x, 0, &mut saved.gates, width);
        let prepared = self.prepare(parameters, workspace);

        for i in 0..layout.steps() {
            let rows = layout.rows(direction.step(i, layout.steps()));
            let (n, range) = (rows.len(), rows.start * hidden..rows.end * hidden);
            let previous = &mut saved.previous[range.clone()];
            previous.copy_from_slice(&state.hidden[..n * hidden]);
            let gates = &mut saved.gates[rows.start * width..rows.end * width];
            let (memory, tanh_memory): (&mut [f32], &mut [f32]) = if cell.has_memory() {
                saved.previous_memory[range.clone()].copy_from_slice(&state.memory[..n * hidden]);
                (&mut state.memory[..n * hidden], &mut saved.tanh_memory[range.clone()])
            } else {
                (&mut [], &mut [])
            };
            self.advance(&prepared, gates, Step { previous, memory, tanh_memory, output: &mut output[range.clone()] });
            state.hidden[..n * hidden].copy_from_slice(&output[range]);
        }
        prepared.release(workspace);
        (output, state, saved)
    }

    /// `W_hh^T` as [`step`](Self::step) reads it.
    pub fn prepare(&self, parameters: &Parameters, workspace: &mut Workspace) -> Packed {
        Packed::new(self.state_weight(parameters).t(), workspace)
    }

    /// Reads one token of each sentence, `x [n, input]`, and advances `state` in place; `prepared` comes from [`prepare`](Self::prepare).
    pub fn step(&self, parameters: &Parameters, prepared: &Packed, x: &[f32], state: &mut State, workspace: &mut Workspace) {
        let width = self.cell.blocks() * self.hidden;
        let mut gates = workspace.take(x.len() / self.input * width);
        self.fill_bias(parameters, &mut gates, width);
        self.add_input(parameters, x, 0, &mut gates, width);
        let (mut output, mut tanh_memory) = (workspace.take(state.hidden.len()), workspace.take(state.memory.len()));
        let step = Step { previous: &state.hidden, memory: &mut state.memory, tanh_memory: &mut tanh_memory, output: &mut output };
        self.advance(prepared, &mut gates, step);
        workspace.give(std::mem::replace(&mut state.hidden, output));
        workspace.give(tanh_memory);
        workspace.give(gates);
    }

    /// One step from working rows that hold the input's part of the pre-activations.
    fn advance(&self, prepared: &Packed, gates: &mut [f32], step: Step<'_>) {
        let (hidden, width) = (self.hidden, self.cell.blocks() * self.hidden);
        let previous = Matrix::new(step.previous, step.previous.len() / hidden, hidden);
        add_packed_product_strided(&mut gates[self.cell.state_block() * hidden..], width, previous, prepared);
        self.cell.forward(gates, width, step, hidden);
    }

    /// The derivatives by the input, `[total, input]`, and by the initial state, from those by the output, `[total, hidden]`, and by the
    /// last state; those by the weights are added to `gradients`.
    pub fn backward(
        &self,
        parameters: &Parameters,
        gradients: &mut Gradients,
        saved: Saved,
        x: &[f32],
        layout: &TimeMajor,
        direction: Direction,
        d_output: &[f32],
        d_last: State,
        workspace: &mut Workspace,
    ) -> (Vec<f32>, State) {
        let (cell, hidden, total) = (self.cell, self.hidden, layout.total());
        let (width, state_width) = (cell.blocks() * hidden, cell.gates() * hidden);
        let mut saved = saved;
        let mut carry = d_last;
        let weight = Packed::new(self.state_weight(parameters), workspace);
        for i in (0..layout.steps()).rev() {
            let rows = layout.rows(direction.step(i, layout.steps()));
            let (n, range) = (rows.len(), rows.start * hidden..rows.end * hidden);
            let gates = &mut saved.gates[rows.start * width..rows.end * width];
            let (previous_memory, tanh_memory, d_memory): (&[f32], &[f32], &mut [f32]) = if cell.has_memory() {
                (&saved.previous_memory[range.clone()], &saved.tanh_memory[range.clone()], &mut carry.memory[..n * hidden])
            } else {
                (&[], &[], &mut [])
            };
            let step = StepBack {
                previous: &saved.previous[range.clone()],
                previous_memory,
                tanh_memory,
                d_output: &d_output[range],
                carry: &mut carry.hidden[..n * hidden],
                d_memory,
            };
            cell.backward(gates, width, step, hidden);
            let d_state = Matrix::strided(&gates[cell.state_block() * hidden..], n, state_width, width);
            add_packed_product_strided(&mut carry.hidden[..n * hidden], hidden, d_state, &weight);
        }
        weight.release(workspace);

        self.add_state_gradients(gradients, &saved.gates, width, &saved.previous);
        self.add_input_gradients(gradients, &saved.gates, width, x, 0);
        let mut d_x = workspace.take(total * self.input);
        self.input_gradient(parameters, &saved.gates, width, 0, self.input, &mut d_x);
        saved.release(workspace);
        (d_x, carry)
    }

    /// Sets each working row of `gates` (`stride` apart) to the sum of the biases that belong to its blocks.
    pub(crate) fn fill_bias(&self, parameters: &Parameters, gates: &mut [f32], stride: usize) {
        let hidden = self.hidden;
        let mut row = vec![0.0; self.cell.blocks() * hidden];
        if let Some([input_bias, state_bias]) = self.bias {
            for (gates, block) in self.cell.input_blocks() {
                let bias = &parameters[input_bias][gates.start * hidden..gates.end * hidden];
                row[block * hidden..][..bias.len()].copy_from_slice(bias);
            }
            for (sum, bias) in row[self.cell.state_block() * hidden..].iter_mut().zip(&parameters[state_bias]) {
                *sum += bias;
            }
        }
        for gates in gates.chunks_exact_mut(stride) {
            gates[..row.len()].copy_from_slice(&row);
        }
    }

    /// Adds the product of `x [n, columns]` with the columns of `W_ih` from `column` on to the working rows.
    pub(crate) fn add_input(&self, parameters: &Parameters, x: &[f32], column: usize, gates: &mut [f32], stride: usize) {
        let n = gates.len() / stride;
        if n == 0 {
            return;
        }
        let columns = x.len() / n;
        for (rows, block) in self.cell.input_blocks() {
            let weight = self.input_weight(parameters, rows, column, columns);
            add_product_strided(&mut gates[block * self.hidden..], stride, Matrix::new(x, n, columns), weight.t());
        }
    }

    /// `d_x = d_gates W_ih` for the columns of `W_ih` from `column` on.
    pub(crate) fn input_gradient(
        &self,
        parameters: &Parameters,
        d_gates: &[f32],
        stride: usize,
        column: usize,
        columns: usize,
        d_x: &mut [f32],
    ) {
        let n = d_gates.len() / stride;
        d_x.fill(0.0);
        for (rows, block) in self.cell.input_blocks() {
            add_gradient_product(
                d_x,
                self.gate_columns(d_gates, stride, n, rows, *block),
                self.input_weight(parameters, rows, column, columns),
            );
        }
    }

    /// Adds `d_gates^T x` to the gradient of the columns of `W_ih` from `column` on.
    pub(crate) fn add_input_gradients(&self, gradients: &mut Gradients, d_gates: &[f32], stride: usize, x: &[f32], column: usize) {
        let n = d_gates.len() / stride;
        if n == 0 {
            return;
        }
        let x = Matrix::new(x, n, x.len() / n);
        for (rows, block) in self.cell.input_blocks() {
            let d_weight = &mut gradients[self.weight_ih][rows.start * self.hidden * self.input + column..];
            add_gradient_product_strided(d_weight, self.input, self.gate_columns(d_gates, stride, n, rows, *block).t(), x);
        }
    }

    /// Adds `d_gates^T h` to the gradient of `W_hh`, and the column sums of `d_gates` to those of the biases.
    pub(crate) fn add_state_gradients(&self, gradients: &mut Gradients, d_gates: &[f32], stride: usize, previous: &[f32]) {
        let (n, hidden) = (d_gates.len() / stride, self.hidden);
        let from = self.cell.state_block() * hidden;
        if n == 0 {
            return;
        }
        let d_state = Matrix::strided(&d_gates[from..], n, self.cell.gates() * hidden, stride);
        add_gradient_product(&mut gradients[self.weight_hh], d_state.t(), Matrix::new(previous, n, hidden));
        if let Some([input_bias, state_bias]) = self.bias {
            let mut sums = vec![0.0; self.cell.blocks() * hidden];
            for row in d_gates.chunks_exact(stride) {
                for (sum, d) in sums.iter_mut().zip(row) {
                    *sum += d;
                }
            }
            for (rows, block) in self.cell.input_blocks() {
                add(&mut gradients[input_bias][rows.start * hidden..rows.end * hidden], &sums[block * hidden..]);
            }
            add(&mut gradients[state_bias], &sums[from..]);
        }
    }

    /// `W_hh`, `[gates * hidden, hidden]`.
    fn state_weight<'p>(&self, parameters: &'p Parameters) -> Matrix<'p> {
        Matrix::new(&parameters[self.weight_hh], self.cell.gates() * self.hidden, self.hidden)
    }

    /// The columns of `W_ih` from `column` on, `[gates * hidden, columns]`, with its rows in the order of a working row.
    pub(crate) fn copy_input_weight(&self, parameters: &Parameters, column: usize, columns: usize, out: &mut [f32]) {
        let weight = &parameters[self.weight_ih];
        for (rows, block) in self.cell.input_blocks() {
            let from = weight[rows.start * self.hidden * self.input..rows.end * self.hidden * self.input].chunks_exact(self.input);
            for (from, to) in from.zip(out[block * self.hidden * columns..].chunks_exact_mut(columns)) {
                to.copy_from_slice(&from[column..column + columns]);
            }
        }
    }

    fn input_weight<'p>(&self, parameters: &'p Parameters, gates: &Range<usize>, column: usize, columns: usize) -> Matrix<'p> {
        let weight = &parameters[self.weight_ih][gates.start * self.hidden * self.input + column..];
        Matrix::strided(weight, gates.len() * self.hidden, columns, self.input)
    }

    fn gate_columns<'g>(&self, gates: &'g [f32], stride: usize, n: usize, rows: &Range<usize>, block: usize) -> Matrix<'g> {
        if n == 0 {
            return Matrix::new(&[], 0, rows.len() * self.hidden);
        }
        Matrix::strided(&gates[block * self.hidden..], n, rows.len() * self.hidden, stride)
    }
}

/// The first `N` blocks of a working row.
#[inline(always)]
pub(crate) fn blocks<const N: usize>(row: &mut [f32], hidden: usize) -> [&mut [f32]; N] {
    let mut blocks = row.chunks_exact_mut(hidden);
    std::array::from_fn(|_| blocks.next().expect("a working row has all its blocks"))
}

fn add(sums: &mut [f32], values: &[f32]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Check, check_gradients};

    const CELLS: [Cell; 4] = [Cell::Gru, Cell::Lstm, Cell::Tanh, Cell::Relu];
    const LENGTHS: [usize; 5] = [3, 0, 4, 1, 3];

    fn layer(check: &mut Check, cell: Cell, bias: bool, input: usize, hidden: usize) -> Recurrent {
        let make = if bias { Recurrent::new } else { Recurrent::without_bias };
        let layer = make(&mut check.parameters, "layer", cell, input, hidden, &mut check.rng);
        check.randomise();
        layer
    }

    /// The initial state as two inputs, the outputs and the last state as one output.
    #[test]
    fn gradients_are_the_finite_differences_in_both_directions_and_for_sentences_of_any_length() {
        let layout = TimeMajor::new(&LENGTHS);
        let (input, hidden) = (3, 5);
        for cell in CELLS {
            for direction in [Direction::Forward, Direction::Reverse] {
                let mut check = Check::new(11);
                let layer = layer(&mut check, cell, direction == Direction::Forward, input, hidden);
                let len = LENGTHS.len() * hidden;
                let memory_len = if cell.has_memory() { len } else { 0 };
                let inputs = vec![check.input(layout.total() * input), check.input(len), check.input(memory_len)];
                let state = |x: &[Vec<f32>]| State { hidden: x[1].clone(), memory: x[2].clone() };
                check_gradients(
                    check,
                    inputs,
                    |p, x, ws| {
                        let (output, last, saved) = layer.forward(p, &x[0], &layout, direction, state(x), ws);
                        saved.release(ws);
                        [output, last.hidden, last.memory].concat()
                    },
                    |p, g, x, d_y, ws| {
                        let (_, _, saved) = layer.forward(p, &x[0], &layout, direction, state(x), ws);
                        let (d_output, d_last) = d_y.split_at(layout.total() * hidden);
                        let (d_hidden, d_memory) = d_last.split_at(len);
                        let d_last = State { hidden: d_hidden.to_vec(), memory: d_memory.to_vec() };
                        let (d_x, d_initial) = layer.backward(p, g, saved, &x[0], &layout, direction, d_output, d_last, ws);
                        vec![d_x, d_initial.hidden, d_initial.memory]
                    },
                );
            }
        }
    }

    /// The sentences of a batch do not know of each other, and the reverse direction is the forward direction on reversed sentences.
    #[test]
    fn a_batch_equals_its_sentences_one_by_one() {
        let (input, hidden) = (4, 21);
        for cell in CELLS {
            let mut check = Check::new(12);
            let layer = layer(&mut check, cell, true, input, hidden);
            let layout = TimeMajor::new(&LENGTHS);
            let sentences: Vec<Vec<f32>> = LENGTHS.iter().map(|length| check.input(length * input)).collect();
            let mut x = vec![0.0; layout.total() * input];
            layout.gather(&sentences.concat(), input, &mut x);
            let mut ws = Workspace::new();
            for direction in [Direction::Forward, Direction::Reverse] {
                let zeros = State::zeros(cell, LENGTHS.len(), hidden, &mut ws);
                let (output, last, _) = layer.forward(&check.parameters, &x, &layout, direction, zeros, &mut ws);
                let mut outputs = vec![0.0; output.len()];
                layout.scatter(&output, hidden, &mut outputs);
                let mut last_hidden = vec![0.0; last.hidden.len()];
                layout.unsort(&last.hidden, hidden, &mut last_hidden);
                let mut outputs = &outputs[..];
                for (i, sentence) in sentences.iter().enumerate() {
                    let mut alone = sentence.clone();
                    if direction == Direction::Reverse {
                        alone = sentence.chunks(input).rev().flatten().copied().collect();
                    }
                    let mut state = State::zeros(cell, 1, hidden, &mut ws);
                    let prepared = layer.prepare(&check.parameters, &mut ws);
                    for x in alone.chunks(input) {
                        layer.step(&check.parameters, &prepared, x, &mut state, &mut ws);
                    }
                    let zeros = State::zeros(cell, 1, hidden, &mut ws);
                    let one = TimeMajor::new(&[LENGTHS[i]]);
                    let (mut output, last, _) = layer.forward(&check.parameters, &alone, &one, Direction::Forward, zeros, &mut ws);
                    assert_eq!(state, last, "single steps of {cell:?}");
                    if direction == Direction::Reverse {
                        output = output.chunks(hidden).rev().flatten().copied().collect();
                    }
                    let (mine, rest) = outputs.split_at(output.len());
                    outputs = rest;
                    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
                    assert!(near(mine, &output) && near(&last_hidden[i * hidden..], &last.hidden), "{cell:?} {direction:?} sentence {i}");
                }
            }
        }
    }
}
