//! ONNX's operators GRU, LSTM and RNN: through the layers where those have the operator's form, and by the definition where they do not.

use heedful_cases::{Case, Outputs, Stop, Tensor};
use heedful_nn::reference::{Activation, Reference};
use heedful_nn::{Cell, Direction, Parameters, Recurrent, State, Workspace};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::batch::Batch;

const ATTRIBUTES: [&str; 10] = [
    "opset",
    "hidden_size",
    "layout",
    "direction",
    "activations",
    "activation_alpha",
    "activation_beta",
    "clip",
    "linear_before_reset",
    "input_forget",
];
const INPUTS: [&str; 8] = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"];

/// The weights of one direction, gates in the layers' order.
struct Weights {
    input: Vec<f64>,
    state: Vec<f64>,
    /// Both empty if there are none.
    biases: [Vec<f64>; 2],
    /// For the gates i, f, o, or empty.
    peepholes: Vec<f64>,
}

pub fn run(case: &Case) -> Result<Outputs, Stop> {
    case.only_attributes(&ATTRIBUTES)?;
    case.only_inputs(&INPUTS)?;
    // For each gate of the layers' order, its place in ONNX's.
    let (cell, order): (Cell, &[usize]) = match case.op.as_str() {
        "onnx.GRU" => (Cell::Gru, &[1, 0, 2]),
        "onnx.LSTM" => (Cell::Lstm, &[0, 2, 3, 1]),
        _ => (Cell::Tanh, &[0]),
    };
    let (x, weight) = (case.input("X")?, case.input("W")?);
    let &[directions, rows, input] = &weight.shape[..] else { return Err(Stop::fail(format!("W has shape {:?}", weight.shape))) };
    let hidden = rows / order.len();
    if case.integer("hidden_size")?.is_some_and(|size| size != hidden as i64) {
        return Err(Stop::fail("hidden_size does not fit W"));
    }
    let batch_first = case.flag("layout")?;
    let (sentences, steps) = if batch_first { (x.shape[0], x.shape[1]) } else { (x.shape[1], x.shape[0]) };
    let lengths = case.optional("sequence_lens").map_or_else(|| Ok(vec![steps; sentences]), Tensor::usizes)?;
    let batch = Batch::new(&lengths, steps, !batch_first);
    let read: &[Direction] = match case.text("direction")?.unwrap_or("forward") {
        "forward" => &[Direction::Forward],
        "reverse" => &[Direction::Reverse],
        "bidirectional" => &[Direction::Forward, Direction::Reverse],
        other => return Err(Stop::fail(format!("direction {other}"))),
    };
    if read.len() != directions {
        return Err(Stop::fail(format!("W has {directions} directions")));
    }
    let activations = activations(case, cell, directions)?;

    let rows = batch.pack(&x.f32s()?, input);
    let (mut outputs, mut lasts) = (Vec::new(), Vec::new());
    for (d, (&direction, activations)) in read.iter().zip(activations).enumerate() {
        let weights = weights(case, d, order, hidden)?;
        let initial = State {
            hidden: initial(case, "initial_h", &batch, d, directions, hidden)?,
            memory: if cell.has_memory() { initial(case, "initial_c", &batch, d, directions, hidden)? } else { Vec::new() },
        };
        let reference = Reference {
            activations,
            clip: case.float("clip")?,
            reset_before_product: cell == Cell::Gru && !case.flag("linear_before_reset")?,
            peepholes: &weights.peepholes,
            coupled_gates: case.flag("input_forget")?,
            ..Reference::new(cell, hidden, &weights.input, &weights.state, &weights.biases[0], &weights.biases[1])
        };
        let (output, last) = match as_layer(&reference) {
            Some(cell) => by_layer(cell, &weights, &rows, &batch, direction, initial, [input, hidden]),
            None => by_definition(&reference, &rows, &batch, direction, initial, input),
        };
        outputs.push(output);
        lasts.push(last);
    }
    Ok(collect(&batch, hidden, &outputs, &lasts))
}

/// The layer that has this form.
fn as_layer(reference: &Reference<'_>) -> Option<Cell> {
    let cell = match reference.activations[0] {
        Activation::Relu if reference.cell == Cell::Tanh => Cell::Relu,
        _ => reference.cell,
    };
    let usual = Reference::new(cell, 0, &[], &[], &[], &[]).activations;
    let used = if cell == Cell::Gru {
        2
    } else if cell == Cell::Lstm {
        3
    } else {
        1
    };
    let plain = reference.clip.is_none() && !reference.reset_before_product && reference.peepholes.is_empty() && !reference.coupled_gates;
    (plain && reference.activations[..used] == usual[..used]).then_some(cell)
}

fn by_layer(
    cell: Cell,
    weights: &Weights,
    rows: &[f32],
    batch: &Batch,
    direction: Direction,
    initial: State,
    [input, hidden]: [usize; 2],
) -> (Vec<f32>, State) {
    let (mut parameters, rng) = (Parameters::new(), &mut ChaCha8Rng::seed_from_u64(0));
    let layer = Recurrent::new(&mut parameters, "layer", cell, input, hidden, rng);
    let [bias_ih, bias_hh] = layer.bias.expect("made with a bias");
    let [ih, hh] = &weights.biases;
    for (parameter, values) in [(layer.weight_ih, &weights.input), (layer.weight_hh, &weights.state), (bias_ih, ih), (bias_hh, hh)] {
        parameters[parameter].fill(0.0);
        for (to, &from) in parameters[parameter].iter_mut().zip(values) {
            *to = from as f32;
        }
    }
    let (output, last, _) = layer.forward(&parameters, rows, &batch.layout, direction, initial, &mut Workspace::new());
    (output, last)
}

fn by_definition(
    reference: &Reference<'_>,
    rows: &[f32],
    batch: &Batch,
    direction: Direction,
    initial: State,
    input: usize,
) -> (Vec<f32>, State) {
    let hidden = reference.hidden;
    let mut output = vec![0.0; batch.layout.total() * hidden];
    let mut last = initial;
    let double = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    for position in 0..batch.sentences {
        let range = position * hidden..(position + 1) * hidden;
        let mut h = double(&last.hidden[range.clone()]);
        let mut c = last.memory.get(range.clone()).map_or_else(Vec::new, double);
        let mut tokens: Vec<usize> = batch.layout.sentence_rows(position).collect();
        if direction == Direction::Reverse {
            tokens.reverse();
        }
        for row in tokens {
            reference.step(&double(&rows[row * input..][..input]), &mut h, &mut c);
            for (to, &from) in output[row * hidden..][..hidden].iter_mut().zip(&h) {
                *to = from as f32;
            }
        }
        for (to, &from) in last.hidden[range.clone()].iter_mut().zip(&h) {
            *to = from as f32;
        }
        for (to, &from) in last.memory.iter_mut().skip(range.start).zip(&c) {
            *to = from as f32;
        }
    }
    (output, last)
}

/// `Y [steps, directions, sentences, hidden]` and the last states `[directions, sentences, hidden]`; with `layout` 1 the sentences come first.
fn collect(batch: &Batch, hidden: usize, outputs: &[Vec<f32>], lasts: &[State]) -> Outputs {
    let (directions, sentences, steps) = (outputs.len(), batch.sentences, batch.steps);
    let padded: Vec<Vec<f32>> = outputs.iter().map(|rows| batch.pad(rows, hidden)).collect();
    let mut y = Vec::new();
    let mut push = |d: usize, t: usize, sentence: usize| {
        let row = if batch.time_first { t * sentences + sentence } else { sentence * steps + t };
        y.extend_from_slice(&padded[d][row * hidden..][..hidden]);
    };
    let shape = if batch.time_first {
        (0..steps).for_each(|t| (0..directions).for_each(|d| (0..sentences).for_each(|sentence| push(d, t, sentence))));
        [steps, directions, sentences, hidden]
    } else {
        (0..sentences).for_each(|sentence| (0..steps).for_each(|t| (0..directions).for_each(|d| push(d, t, sentence))));
        [sentences, steps, directions, hidden]
    };
    let state = |of: fn(&State) -> &Vec<f32>| {
        let by_direction: Vec<f32> = lasts.iter().flat_map(|last| batch.unsort(of(last), hidden)).collect();
        if batch.time_first {
            return Tensor::floats(&[directions, sentences, hidden], by_direction);
        }
        let places = (0..sentences).flat_map(|sentence| (0..directions).map(move |d| (d * sentences + sentence) * hidden));
        let by_sentence: Vec<f32> = places.flat_map(|at| by_direction[at..at + hidden].iter().copied()).collect();
        Tensor::floats(&[sentences, directions, hidden], by_sentence)
    };
    let mut all = Outputs::new().with("Y", Tensor::floats(&shape, y)).with("Y_h", state(|last| &last.hidden));
    if lasts.iter().any(|last| !last.memory.is_empty()) {
        all.insert("Y_c", state(|last| &last.memory));
    }
    all
}

/// The initial state of one direction, `[sentences, hidden]` in the layout's order; zeros if the case has none.
fn initial(case: &Case, name: &str, batch: &Batch, d: usize, directions: usize, hidden: usize) -> Result<Vec<f32>, Stop> {
    let Some(tensor) = case.optional(name) else { return Ok(vec![0.0; batch.sentences * hidden]) };
    let values = tensor.f32s()?;
    let row = |sentence: usize| if batch.time_first { d * batch.sentences + sentence } else { sentence * directions + d };
    let rows: Vec<f32> = (0..batch.sentences).flat_map(|sentence| values[row(sentence) * hidden..][..hidden].iter().copied()).collect();
    Ok(batch.sort(&rows, hidden))
}

fn weights(case: &Case, d: usize, order: &[usize], hidden: usize) -> Result<Weights, Stop> {
    // The blocks of one direction in the layers' order, each `hidden` rows of `width`.
    let blocks = |values: &[f64], width: usize, first: usize, blocks: usize, order: &[usize]| -> Vec<f64> {
        let start = (d * blocks + first) * hidden * width;
        order.iter().flat_map(|&gate| values[start + gate * hidden * width..][..hidden * width].iter().copied()).collect()
    };
    let gates = order.len();
    let (w, r) = (case.input("W")?, case.input("R")?);
    let biases = match case.optional("B") {
        Some(b) => [blocks(b.f64s()?, 1, 0, 2 * gates, order), blocks(b.f64s()?, 1, gates, 2 * gates, order)],
        None => [Vec::new(), Vec::new()],
    };
    // ONNX: i, o, f.
    let peepholes = case.optional("P").map_or_else(|| Ok(Vec::new()), |p| Ok::<_, Stop>(blocks(p.f64s()?, 1, 0, 3, &[0, 2, 1])))?;
    Ok(Weights {
        input: blocks(w.f64s()?, w.shape[2], 0, gates, order),
        state: blocks(r.f64s()?, hidden, 0, gates, order),
        biases,
        peepholes,
    })
}

/// The activation functions of each direction. `activation_alpha` and `activation_beta` are consumed in order by those that take them.
fn activations(case: &Case, cell: Cell, directions: usize) -> Result<Vec<[Activation; 3]>, Stop> {
    let count = match cell {
        Cell::Gru => 2,
        Cell::Lstm => 3,
        Cell::Tanh | Cell::Relu => 1,
    };
    let list = |name: &str| -> Result<Vec<f64>, Stop> {
        let Some(values) = case.attribute(name) else { return Ok(Vec::new()) };
        serde_json::from_value(values.clone()).map_err(|error| Stop::fail(format!("attribute {name}: {error}")))
    };
    let (mut alphas, mut betas) = (list("activation_alpha")?.into_iter(), list("activation_beta")?.into_iter());
    let usual = Reference::new(cell, 0, &[], &[], &[], &[]).activations;
    let Some(names) = case.attribute("activations") else { return Ok(vec![usual; directions]) };
    let names: Vec<String> =
        serde_json::from_value(names.clone()).map_err(|error| Stop::fail(format!("attribute activations: {error}")))?;
    if names.len() != count * directions {
        return Err(Stop::fail(format!("{} activations for {directions} directions", names.len())));
    }
    let mut all = vec![usual; directions];
    for (i, name) in names.iter().enumerate() {
        let mut alpha = |default| alphas.next().unwrap_or(default);
        let mut beta = |default| betas.next().unwrap_or(default);
        all[i / count][i % count] = match name.to_lowercase().as_str() {
            "sigmoid" => Activation::Sigmoid,
            "tanh" => Activation::Tanh,
            "relu" => Activation::Relu,
            "affine" => Activation::Affine(alpha(1.0), beta(0.0)),
            "leakyrelu" => Activation::LeakyRelu(alpha(0.01)),
            "thresholdedrelu" => Activation::ThresholdedRelu(alpha(1.0)),
            "scaledtanh" => Activation::ScaledTanh(alpha(1.0), beta(1.0)),
            "hardsigmoid" => Activation::HardSigmoid(alpha(0.2), beta(0.5)),
            "elu" => Activation::Elu(alpha(1.0)),
            "softsign" => Activation::Softsign,
            "softplus" => Activation::Softplus,
            other => return Err(Stop::fail(format!("activation {other}"))),
        };
    }
    Ok(all)
}
