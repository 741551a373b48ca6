//! Additive and multiplicative attention of encoder-decoder models.

use heedful::mechanism::additive::Additive;
use heedful::mechanism::luong::{Luong, ReadOut};
use heedful::mechanism::{Alignment, Inputs, Projection, Visible};
use heedful_cases::{Case, Outputs, Stop, Tensor};

/// The inputs of a case that its [`Inputs`] borrow.
struct Batch {
    size: usize,
    q_len: usize,
    k_len: usize,
    widths: [usize; 3],
    queries: Vec<f32>,
    memory: Vec<f32>,
    values: Option<Vec<f32>>,
    lengths: Option<Vec<usize>>,
    mask: Option<(Vec<bool>, usize)>,
    /// Whether the queries come without a dimension of length, `[batch, width]`.
    one_step: bool,
}

impl Batch {
    fn of(case: &Case) -> Result<Self, Stop> {
        let (query, memory) = (case.input("query")?, case.input("memory")?);
        let (q_len, one_step) = match query.shape[..] {
            [_, q_len, _] => (q_len, false),
            [_, _] => (1, true),
            _ => return Err(Stop::fail(format!("query has shape {:?}", query.shape))),
        };
        let [batch, k_len, memory_width] = memory.shape[..] else {
            return Err(Stop::fail(format!("memory has shape {:?}", memory.shape)));
        };
        let values = case.optional("values");
        let value_width = values.map_or(memory_width, |values| *values.shape.last().unwrap_or(&0));
        let mask = case.optional("mask").map(|mask| Ok::<_, Stop>((mask.bools()?.to_vec(), mask.shape.len()))).transpose()?;
        Ok(Self {
            size: batch,
            q_len,
            k_len,
            widths: [*query.shape.last().unwrap_or(&0), memory_width, value_width],
            queries: query.f32s()?,
            memory: memory.f32s()?,
            values: values.map(Tensor::f32s).transpose()?,
            lengths: case.optional("lengths").map(Tensor::usizes).transpose()?,
            mask,
            one_step,
        })
    }

    fn inputs(&self) -> Result<Inputs<'_>, Stop> {
        let visible = match (&self.lengths, &self.mask) {
            (None, None) => Visible::All,
            (Some(lengths), None) => Visible::Lengths(lengths),
            (None, Some((mask, 2))) => Visible::Keys(mask),
            (None, Some((mask, 3))) => Visible::Pairs(mask),
            _ => return Err(Stop::fail("lengths and mask together, or a mask that is neither [B, S] nor [B, T, S]")),
        };
        Ok(Inputs { batch: self.size, queries: &self.queries, memory: &self.memory, values: self.values.as_deref(), visible })
    }

    /// `[batch, q_len, width]`, or `[batch, width]` for one step.
    fn query_shape(&self, width: usize) -> Vec<usize> {
        if self.one_step { vec![self.size, width] } else { vec![self.size, self.q_len, width] }
    }

    fn outputs(&self, alignment: &Alignment) -> Outputs {
        Outputs::new()
            .with("weights", Tensor::floats(&self.query_shape(self.k_len), alignment.weights.iter().copied()))
            .with("context", Tensor::floats(&self.query_shape(self.widths[2]), alignment.context.iter().copied()))
    }

    /// Adds the gradients by query, memory and values.
    fn add_gradients(&self, outputs: &mut Outputs, queries: Vec<f32>, memory: Vec<f32>, values: Vec<f32>) {
        outputs.insert("d_query", Tensor::floats(&self.query_shape(self.widths[0]), queries));
        outputs.insert("d_memory", Tensor::floats(&[self.size, self.k_len, self.widths[1]], memory));
        outputs.insert("d_values", Tensor::floats(&[self.size, self.k_len, self.widths[2]], values));
    }

    /// The cotangents of context and weights; the first is 0 where only the second is given.
    fn cotangents(&self, case: &Case) -> Result<Option<Cotangents>, Stop> {
        let d_weights = case.optional("d_weights").map(Tensor::f32s).transpose()?;
        let d_context = case.optional("d_context").map(Tensor::f32s).transpose()?;
        if d_context.is_none() && d_weights.is_none() {
            return Ok(None);
        }
        let zeros = || vec![0.0; self.size * self.q_len * self.widths[2]];
        Ok(Some((d_context.unwrap_or_else(zeros), d_weights)))
    }
}

/// By the contexts, and by the weights if they are used.
type Cotangents = (Vec<f32>, Option<Vec<f32>>);

fn matrix(case: &Case, name: &str) -> Result<(Vec<f32>, usize, usize), Stop> {
    let tensor = case.input(name)?;
    match tensor.shape[..] {
        [outputs, inputs] => Ok((tensor.f32s()?, inputs, outputs)),
        _ => Err(Stop::fail(format!("{name} has shape {:?}, which is not a matrix", tensor.shape))),
    }
}

fn linear(case: &Case, weight: &str, bias: &str) -> Result<Projection, Stop> {
    let (weight, inputs, outputs) = matrix(case, weight)?;
    Ok(Projection::linear(weight, case.optional(bias).map(Tensor::f32s).transpose()?, inputs, outputs)?)
}

/// Adds a gradient in the shape of the input that it belongs to.
fn add_like(case: &Case, outputs: &mut Outputs, name: &str, gradient: Vec<f32>) {
    if let Some(input) = case.optional(name) {
        outputs.insert(&format!("d_{name}"), Tensor::floats(&input.shape, gradient));
    }
}

pub fn additive(case: &Case) -> Result<Outputs, Stop> {
    case.only_attributes(&["bias", "mask", "values"])?;
    case.only_inputs(&["query", "memory", "values", "W", "U", "v", "b", "lengths", "mask", "d_context", "d_weights"])?;
    let batch = Batch::of(case)?;
    let network = Additive::new(linear(case, "W", "b")?, linear(case, "U", "")?, case.input("v")?.f32s()?)?;
    let inputs = batch.inputs()?;
    let alignment = network.forward(&inputs)?;
    let mut outputs = batch.outputs(&alignment);
    if let Some((d_context, d_weights)) = batch.cotangents(case)? {
        let gradients = network.backward(&inputs, &alignment, &d_context, d_weights.as_deref())?;
        for (name, gradient) in
            [("W", gradients.query.weight), ("U", gradients.key.weight), ("v", gradients.energy), ("b", gradients.query.bias)]
        {
            add_like(case, &mut outputs, name, gradient);
        }
        batch.add_gradients(&mut outputs, gradients.query.x, gradients.key.x, gradients.values);
    }
    Ok(outputs)
}

pub fn luong(case: &Case) -> Result<Outputs, Stop> {
    case.only_attributes(&["kind", "mask", "values"])?;
    case.only_inputs(&["query", "memory", "values", "W", "v", "lengths", "mask", "d_context", "d_weights"])?;
    let batch = Batch::of(case)?;
    let [query_width, memory_width, _] = batch.widths;
    let score = match case.text("kind")? {
        Some("dot") => Luong::Dot { width: query_width },
        Some("general") => Luong::General(linear(case, "W", "")?),
        Some("concat") => Luong::concat(&matrix(case, "W")?.0, case.input("v")?.f32s()?, query_width, memory_width)?,
        other => return Err(Stop::fail(format!("kind {other:?} is unknown"))),
    };
    let inputs = batch.inputs()?;
    let alignment = score.forward(&inputs)?;
    let mut outputs = batch.outputs(&alignment);
    if let Some((d_context, d_weights)) = batch.cotangents(case)? {
        let gradients = score.backward(&inputs, &alignment, &d_context, d_weights.as_deref())?;
        add_like(case, &mut outputs, "W", gradients.weight);
        add_like(case, &mut outputs, "v", gradients.energy);
        batch.add_gradients(&mut outputs, gradients.queries, gradients.memory, gradients.values);
    }
    Ok(outputs)
}

fn transposed(weight: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|c| (0..rows).map(move |r| weight[r * columns + c])).collect()
}

/// OpenNMT-py's `GlobalAttention`: a score, then `linear_out([context; query])`, bounded by tanh except after additive scores.
pub fn global_attention(case: &Case) -> Result<Outputs, Stop> {
    case.only_attributes(&["attn_type", "dim", "one_step"])?;
    let batch = Batch::of(case)?;
    let inputs = batch.inputs()?;
    let [query_width, memory_width, _] = batch.widths;
    let kind = case.text("attn_type")?.unwrap_or("dot");
    let read_out = ReadOut { projection: linear(case, "linear_out.weight", "linear_out.bias")?, tanh: kind != "mlp" };
    let d_states = case.optional("d_attn_h").map(Tensor::f32s).transpose()?;
    let d_weights = case.optional("d_align").map(Tensor::f32s).transpose()?;

    let finish = |alignment: &Alignment| -> Result<(Outputs, Option<heedful::mechanism::luong::ReadOutGradients>), Stop> {
        let states = read_out.forward(&alignment.context, inputs.queries, memory_width)?;
        let mut outputs = Outputs::new()
            .with("attn_h", Tensor::floats(&batch.query_shape(read_out.projection.outputs()), states.iter().copied()))
            .with("align", Tensor::floats(&batch.query_shape(batch.k_len), alignment.weights.iter().copied()));
        let Some(d_states) = &d_states else { return Ok((outputs, None)) };
        let gradients = read_out.backward(&alignment.context, inputs.queries, memory_width, &states, d_states)?;
        add_like(case, &mut outputs, "linear_out.weight", gradients.weight.clone());
        add_like(case, &mut outputs, "linear_out.bias", gradients.bias.clone());
        Ok((outputs, Some(gradients)))
    };
    let sum = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<f32>>();

    if kind == "mlp" {
        let query = linear(case, "linear_query.weight", "linear_query.bias")?;
        let network = Additive::new(query, linear(case, "linear_context.weight", "")?, case.input("v.weight")?.f32s()?)?;
        let alignment = network.forward(&inputs)?;
        let (mut outputs, read) = finish(&alignment)?;
        if let Some(read) = read {
            let gradients = network.backward(&inputs, &alignment, &read.context, d_weights.as_deref())?;
            for (name, gradient) in [
                ("linear_query.weight", gradients.query.weight),
                ("linear_query.bias", gradients.query.bias),
                ("linear_context.weight", gradients.key.weight),
                ("v.weight", gradients.energy),
            ] {
                add_like(case, &mut outputs, name, gradient);
            }
            batch.add_gradients(&mut outputs, sum(&gradients.query.x, &read.queries), gradients.key.x, gradients.values);
        }
        return Ok(outputs);
    }
    let score = match kind {
        "dot" => Luong::Dot { width: query_width },
        // (W q) . h = q . W^T h
        "general" => {
            let (weight, inputs, outputs) = matrix(case, "linear_in.weight")?;
            Luong::General(Projection::linear(transposed(&weight, outputs, inputs), None, outputs, inputs)?)
        }
        other => return Err(Stop::fail(format!("attn_type {other} is unknown"))),
    };
    let alignment = score.forward(&inputs)?;
    let (mut outputs, read) = finish(&alignment)?;
    if let Some(read) = read {
        let gradients = score.backward(&inputs, &alignment, &read.context, d_weights.as_deref())?;
        if kind == "general" {
            add_like(case, &mut outputs, "linear_in.weight", transposed(&gradients.weight, query_width, memory_width));
        }
        batch.add_gradients(&mut outputs, sum(&gradients.queries, &read.queries), gradients.memory, gradients.values);
    }
    Ok(outputs)
}
