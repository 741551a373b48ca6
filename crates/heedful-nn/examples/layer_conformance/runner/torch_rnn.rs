//! PyTorch's GRU, LSTM and RNN: stacked, in one or both directions, on packed or padded batches, forward and backward.

use heedful_cases::{Case, Outputs, Stop, Tensor};
use heedful_nn::{Cell, Direction, Gradients, Parameters, Recurrent, State, Workspace, columns, recurrent};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::batch::Batch;

const ATTRIBUTES: [&str; 10] =
    ["input_size", "hidden_size", "num_layers", "bidirectional", "bias", "batch_first", "packed", "proj_size", "has_h0", "nonlinearity"];

/// One direction of one layer, and PyTorch's name for it.
struct Part {
    layer: Recurrent,
    suffix: String,
    direction: Direction,
}

pub fn run(case: &Case) -> Result<Outputs, Stop> {
    case.only_attributes(&ATTRIBUTES)?;
    if case.integer("proj_size")?.unwrap_or(0) != 0 {
        return Err(Stop::fail("projections of the hidden state are not a layer of this library"));
    }
    let cell = cell(case)?;
    let size = |name: &str| Ok::<usize, Stop>(case.integer(name)?.ok_or_else(|| Stop::fail(format!("{name} is missing")))? as usize);
    let (hidden, layers, directions) = (size("hidden_size")?, size("num_layers")?, if case.flag("bidirectional")? { 2 } else { 1 });
    let mut known: Vec<String> = ["x", "h0", "c0", "lengths", "d_output", "d_h_n", "d_c_n"].map(str::to_owned).into();

    let mut parameters = Parameters::new();
    let mut parts = Vec::new();
    for i in 0..layers {
        let input = if i == 0 { size("input_size")? } else { directions * hidden };
        let mut pair = Vec::new();
        for direction in [Direction::Forward, Direction::Reverse].into_iter().take(directions) {
            let suffix = format!("l{i}{}", if direction == Direction::Reverse { "_reverse" } else { "" });
            let layer = layer(case, &mut parameters, cell, &suffix, input, hidden, &mut known)?;
            pair.push(Part { layer, suffix, direction });
        }
        parts.push(pair);
    }
    case.only_inputs(&known.iter().map(String::as_str).collect::<Vec<_>>())?;

    let x = case.input("x")?;
    let time_first = !case.flag("batch_first")?;
    let (sentences, steps) = match (&x.shape[..], time_first) {
        (&[steps, _], _) => (1, steps),
        (&[steps, sentences, _], true) | (&[sentences, steps, _], false) => (sentences, steps),
        (shape, _) => return Err(Stop::fail(format!("x has shape {shape:?}"))),
    };
    let lengths = case.optional("lengths").map_or_else(|| Ok(vec![steps; sentences]), Tensor::usizes)?;
    let batch = Batch::new(&lengths, steps, time_first);
    // A packed batch is unpacked to the length of its longest sentence.
    let unpacked = Batch::new(&lengths, if case.flag("packed")? { batch.layout.steps() } else { steps }, time_first);
    let runner = Stack { cell, hidden, directions, batch, unpacked, parameters, parts };
    runner.run(case)
}

fn cell(case: &Case) -> Result<Cell, Stop> {
    match (case.op.as_str(), case.text("nonlinearity")?) {
        ("torch.gru", None) => Ok(Cell::Gru),
        ("torch.lstm", None) => Ok(Cell::Lstm),
        ("torch.rnn", None | Some("tanh")) => Ok(Cell::Tanh),
        ("torch.rnn", Some("relu")) => Ok(Cell::Relu),
        (op, nonlinearity) => Err(Stop::fail(format!("{op} with nonlinearity {nonlinearity:?} is unknown to this runner"))),
    }
}

fn layer(
    case: &Case,
    parameters: &mut Parameters,
    cell: Cell,
    suffix: &str,
    input: usize,
    hidden: usize,
    known: &mut Vec<String>,
) -> Result<Recurrent, Stop> {
    let rng = &mut ChaCha8Rng::seed_from_u64(0);
    let bias = case.attribute("bias").is_none() || case.flag("bias")?;
    let make = if bias { Recurrent::new } else { Recurrent::without_bias };
    let layer = make(parameters, suffix, cell, input, hidden, rng);
    for (name, parameter) in tensors(&layer, suffix) {
        parameters[parameter].copy_from_slice(&case.input(&name)?.f32s()?);
        known.push(name);
    }
    Ok(layer)
}

/// The layer's tensors by PyTorch's names.
fn tensors(layer: &Recurrent, suffix: &str) -> Vec<(String, heedful_nn::Parameter)> {
    let weights = [("weight_ih", layer.weight_ih), ("weight_hh", layer.weight_hh)];
    let biases = layer.bias.map(|[ih, hh]| [("bias_ih", ih), ("bias_hh", hh)]);
    weights.into_iter().chain(biases.into_iter().flatten()).map(|(name, parameter)| (format!("{name}_{suffix}"), parameter)).collect()
}

struct Stack {
    cell: Cell,
    hidden: usize,
    directions: usize,
    batch: Batch,
    unpacked: Batch,
    parameters: Parameters,
    parts: Vec<Vec<Part>>,
}

/// What a layer read and saved.
struct Pass {
    x: Vec<f32>,
    saved: Vec<recurrent::Saved>,
}

impl Stack {
    fn run(&self, case: &Case) -> Result<Outputs, Stop> {
        let (ws, layout, hidden) = (&mut Workspace::new(), &self.batch.layout, self.hidden);
        let x = case.input("x")?;
        let width = self.directions * hidden;
        let mut initial = self.states(case, ["h0", "c0"])?.into_iter();
        let (mut rows, mut passes, mut lasts) = (self.batch.pack(&x.f32s()?, x.shape[x.shape.len() - 1]), Vec::new(), Vec::new());
        for pair in &self.parts {
            let (mut outputs, mut saved) = (Vec::new(), Vec::new());
            for part in pair {
                let initial = initial.next().expect("one state for each direction of each layer");
                let (output, last, kept) = part.layer.forward(&self.parameters, &rows, layout, part.direction, initial, ws);
                outputs.push(output);
                saved.push(kept);
                lasts.push(last);
            }
            let joined = columns::join(&outputs.iter().map(|output| (&output[..], hidden)).collect::<Vec<_>>(), ws);
            passes.push(Pass { x: std::mem::replace(&mut rows, joined), saved });
        }

        let unbatched = x.shape.len() == 2;
        let mut shape = if self.batch.time_first {
            vec![self.unpacked.steps, self.batch.sentences]
        } else {
            vec![self.batch.sentences, self.unpacked.steps]
        };
        if unbatched {
            shape = vec![self.unpacked.steps];
        }
        shape.push(width);
        let mut outputs = Outputs::new().with("output", Tensor::floats(&shape, self.unpacked.pad(&rows, width)));
        self.insert_states(&mut outputs, ["h_n", "c_n"], &lasts, unbatched);
        if let Some(d_output) = case.optional("d_output") {
            let d_output = self.unpacked.pack(&d_output.f32s()?, width);
            self.backward(case, passes, d_output, &mut outputs, unbatched)?;
        }
        Ok(outputs)
    }

    fn backward(&self, case: &Case, passes: Vec<Pass>, d_output: Vec<f32>, outputs: &mut Outputs, unbatched: bool) -> Result<(), Stop> {
        let (ws, layout, hidden) = (&mut Workspace::new(), &self.batch.layout, self.hidden);
        let mut gradients = self.parameters.gradients();
        let mut d_lasts = self.states(case, ["d_h_n", "d_c_n"])?;
        let mut d_initials = Vec::new();
        let mut d_rows = d_output;
        for (pair, Pass { x, saved }) in self.parts.iter().zip(passes).rev() {
            let mut d_x = vec![0.0; x.len()];
            for ((i, part), saved) in pair.iter().enumerate().zip(saved).rev() {
                let d_last = d_lasts.pop().expect("one state for each direction of each layer");
                let d_output = columns::part(&d_rows, self.directions * hidden, i * hidden..(i + 1) * hidden, ws);
                let (d, d_initial) =
                    part.layer.backward(&self.parameters, &mut gradients, saved, &x, layout, part.direction, &d_output, d_last, ws);
                for (sum, d) in d_x.iter_mut().zip(d) {
                    *sum += d;
                }
                d_initials.insert(0, d_initial);
            }
            d_rows = d_x;
        }
        let x = case.input("x")?;
        outputs.insert("d_x", Tensor::floats(&x.shape, self.batch.pad(&d_rows, x.shape[x.shape.len() - 1])));
        self.insert_states(outputs, ["d_h0", "d_c0"], &d_initials, unbatched);
        self.insert_gradients(outputs, &gradients);
        Ok(())
    }

    fn insert_gradients(&self, outputs: &mut Outputs, gradients: &Gradients) {
        for part in self.parts.iter().flatten() {
            for (name, parameter) in tensors(&part.layer, &part.suffix) {
                let entry = self.parameters.entries().iter().find(|entry| entry.parameter == parameter).expect("an own tensor");
                outputs.insert(&format!("d_{name}"), Tensor::floats(&entry.shape, gradients[parameter].iter().copied()));
            }
        }
    }

    /// `[layers * directions, sentences, hidden]` as one state for each direction of each layer; zeros where the case has none.
    fn states(&self, case: &Case, [h, c]: [&str; 2]) -> Result<Vec<State>, Stop> {
        let len = self.batch.sentences * self.hidden;
        let count = self.parts.len() * self.directions;
        let read = |name: &str| case.optional(name).map_or_else(|| Ok(vec![0.0; count * len]), Tensor::f32s);
        let (h, c) = (read(h)?, read(c)?);
        let sort = |values: &[f32]| self.batch.sort(values, self.hidden);
        Ok((0..count)
            .map(|i| {
                let range = i * len..(i + 1) * len;
                State { hidden: sort(&h[range.clone()]), memory: if self.cell.has_memory() { sort(&c[range]) } else { Vec::new() } }
            })
            .collect())
    }

    fn insert_states(&self, outputs: &mut Outputs, [h, c]: [&str; 2], states: &[State], unbatched: bool) {
        let shape = [states.len(), self.batch.sentences, self.hidden];
        let shape = if unbatched { vec![shape[0], shape[2]] } else { shape.to_vec() };
        let all = |of: fn(&State) -> &Vec<f32>| -> Vec<f32> {
            states.iter().flat_map(|state| self.batch.unsort(of(state), self.hidden)).collect()
        };
        outputs.insert(h, Tensor::floats(&shape, all(|state| &state.hidden)));
        if self.cell.has_memory() {
            outputs.insert(c, Tensor::floats(&shape, all(|state| &state.memory)));
        }
    }
}
