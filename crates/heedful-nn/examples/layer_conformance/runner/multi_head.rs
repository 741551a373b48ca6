//! PyTorch's MultiheadAttention: projections by [`Linear`], attention by the engine, weights by its lens.

use heedful::lens::Lens;
use heedful::{Diagonal, Layout, Options, QkvMut, View, ViewMut, attend, attend_backward};
use heedful_cases::{Case, Outputs, Stop, Tensor, Values};
use heedful_nn::{Gradients, Linear, Parameter, Parameters, Workspace};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const ATTRIBUTES: [&str; 13] = [
    "embed_dim",
    "num_heads",
    "kdim",
    "vdim",
    "bias",
    "batch_first",
    "is_causal",
    "need_weights",
    "average_attn_weights",
    "add_bias_kv",
    "add_zero_attn",
    "unbatched",
    "dropout",
];
const INPUTS: [&str; 15] = [
    "query",
    "key",
    "value",
    "in_proj_weight",
    "q_proj_weight",
    "k_proj_weight",
    "v_proj_weight",
    "in_proj_bias",
    "out_proj_weight",
    "out_proj_bias",
    "bias_k",
    "bias_v",
    "attn_mask",
    "key_padding_mask",
    "d_out",
];

/// `[batch, len, width]`, row-major.
struct Sequences {
    rows: Vec<f32>,
    batch: usize,
    len: usize,
    width: usize,
}

/// How an input was laid out, and back to it.
#[derive(Clone, Copy)]
struct Form {
    batch_first: bool,
    unbatched: bool,
}

impl Form {
    fn read(self, tensor: &Tensor) -> Result<Sequences, Stop> {
        let rows = tensor.f32s()?;
        let (batch, len, width) = match (&tensor.shape[..], self.batch_first) {
            (&[len, width], _) if self.unbatched => (1, len, width),
            (&[batch, len, width], true) | (&[len, batch, width], false) => (batch, len, width),
            (shape, _) => return Err(Stop::fail(format!("a sequence of shape {shape:?}"))),
        };
        let rows = if self.batch_first || self.unbatched { rows } else { swap(&rows, [len, batch, width]) };
        Ok(Sequences { rows, batch, len, width })
    }

    fn write(self, [batch, len, width]: [usize; 3], rows: Vec<f32>) -> Tensor {
        if self.unbatched {
            Tensor::floats(&[len, width], rows)
        } else if self.batch_first {
            Tensor::floats(&[batch, len, width], rows)
        } else {
            Tensor::floats(&[len, batch, width], swap(&rows, [batch, len, width]))
        }
    }
}

/// `[a, b, width]` to `[b, a, width]`.
fn swap(rows: &[f32], [a, b, width]: [usize; 3]) -> Vec<f32> {
    (0..b).flat_map(|j| (0..a).flat_map(move |i| rows[(i * b + j) * width..][..width].iter().copied())).collect()
}

/// The layer's weights. The three input projections are matrices of their own, whether PyTorch keeps them in one tensor or not.
struct Layer {
    parameters: Parameters,
    projections: [Linear; 3],
    output: Linear,
}

impl Layer {
    fn read(case: &Case, dim: usize, widths: [usize; 3]) -> Result<Self, Stop> {
        let (mut parameters, rng) = (Parameters::new(), &mut ChaCha8Rng::seed_from_u64(0));
        let bias = case.optional("in_proj_bias");
        let make = if bias.is_some() { Linear::new } else { Linear::without_bias };
        let projections = [0, 1, 2].map(|i| make(&mut parameters, ["q", "k", "v"][i], widths[i], dim, rng));
        let make = if case.optional("out_proj_bias").is_some() { Linear::new } else { Linear::without_bias };
        let output = make(&mut parameters, "out", dim, dim, rng);
        for (i, projection) in projections.iter().enumerate() {
            let (name, skip) = match case.optional("in_proj_weight") {
                Some(_) => ("in_proj_weight", i * dim * dim),
                None => (["q_proj_weight", "k_proj_weight", "v_proj_weight"][i], 0),
            };
            fill(&mut parameters, Some(projection.weight), &case.input(name)?.f32s()?[skip..]);
            if let Some(bias) = bias {
                fill(&mut parameters, projection.bias, &bias.f32s()?[i * dim..]);
            }
        }
        fill(&mut parameters, Some(output.weight), &case.input("out_proj_weight")?.f32s()?);
        if let Some(bias) = case.optional("out_proj_bias") {
            fill(&mut parameters, output.bias, &bias.f32s()?);
        }
        Ok(Self { parameters, projections, output })
    }

    fn insert_gradients(&self, case: &Case, gradients: &Gradients, outputs: &mut Outputs) {
        let mut insert = |name: &str, parameters: &[Option<Parameter>]| {
            if let Some(tensor) = case.optional(name) {
                let values: Vec<f32> = parameters.iter().flatten().flat_map(|&p| gradients[p].iter().copied()).collect();
                outputs.insert(&format!("d_{name}"), Tensor::floats(&tensor.shape, values));
            }
        };
        let weights = self.projections.map(|projection| Some(projection.weight));
        insert("in_proj_weight", &weights);
        for (name, weight) in ["q_proj_weight", "k_proj_weight", "v_proj_weight"].into_iter().zip(weights) {
            insert(name, &[weight]);
        }
        insert("in_proj_bias", &self.projections.map(|projection| projection.bias));
        insert("out_proj_weight", &[Some(self.output.weight)]);
        insert("out_proj_bias", &[self.output.bias]);
    }
}

fn fill(parameters: &mut Parameters, parameter: Option<Parameter>, values: &[f32]) {
    if let Some(parameter) = parameter {
        let len = parameter.len();
        parameters[parameter].copy_from_slice(&values[..len]);
    }
}

pub fn run(case: &Case) -> Result<Outputs, Stop> {
    case.only_attributes(&ATTRIBUTES)?;
    case.only_inputs(&INPUTS)?;
    if case.float("dropout")?.unwrap_or(0.0) != 0.0 {
        return Err(Stop::fail("dropout is random"));
    }
    let form = Form { batch_first: case.flag("batch_first")?, unbatched: case.flag("unbatched")? };
    let query = form.read(case.input("query")?)?;
    // Self-attention is recorded without a key, and a key without a value is both.
    let key_name = if case.optional("key").is_some() { "key" } else { "query" };
    let value_name = if case.optional("value").is_some() { "value" } else { key_name };
    let (key, value) = (form.read(case.input(key_name)?)?, form.read(case.input(value_name)?)?);
    let names = ["query", key_name, value_name];
    let inputs = [&query, &key, &value];
    let integer = |name: &str| case.integer(name)?.map(|n| n as usize).ok_or_else(|| Stop::fail(format!("{name} is missing")));
    let (dim, heads) = (integer("embed_dim")?, integer("num_heads")?);
    let layer = Layer::read(case, dim, inputs.map(|input| input.width))?;

    let ws = &mut Workspace::new();
    let [q, k, v] = [0, 1, 2].map(|i| layer.projections[i].forward(&layer.parameters, &inputs[i].rows, ws));
    let batch = query.batch;
    // Rows that are appended to the keys and values of every sentence: the learnt ones, then zeros.
    let learnt = [case.optional("bias_k"), case.optional("bias_v")];
    let zeros = case.flag("add_zero_attn")?;
    let appended = usize::from(learnt[0].is_some()) + usize::from(zeros);
    let append = |rows: &[f32], learnt: Option<&Tensor>| -> Result<Vec<f32>, Stop> {
        let learnt = learnt.map(Tensor::f32s).transpose()?.unwrap_or_default();
        let zeros = vec![0.0; if zeros { dim } else { 0 }];
        Ok(rows.chunks(key.len * dim).flat_map(|rows| [rows, &learnt, &zeros].concat()).collect())
    };
    let (k, v) = (append(&k, learnt[0])?, append(&v, learnt[1])?);
    let k_len = key.len + appended;

    let head_dim = dim / heads;
    let layout = |len: usize| Layout::strided([batch, heads, len, head_dim], [len * dim, head_dim, dim, 1]);
    let (q_layout, k_layout) = (layout(query.len)?, layout(k_len)?);
    let masks = Masks::read(case, [batch, heads, query.len, key.len], k_len)?;
    let mut options = Options::new();
    let mask_shape = [batch, heads, query.len, k_len];
    if let Some(allowed) = &masks.allowed {
        options = options.mask(View::contiguous(allowed, mask_shape)?);
    }
    if let Some(bias) = &masks.bias {
        options = options.bias(View::contiguous(bias, mask_shape)?);
    }
    if case.flag("is_causal")? && case.optional("attn_mask").is_none() {
        options = options.causal(Diagonal::TopLeft);
    }
    let q_view = View::strided(&q, q_layout.shape(), q_layout.strides())?;
    let k_view = View::strided(&k, k_layout.shape(), k_layout.strides())?;
    let v_view = View::strided(&v, k_layout.shape(), k_layout.strides())?;
    let mut context = vec![0.0; q.len()];
    let mut lse = vec![0.0; batch * heads * query.len];
    attend(q_view, k_view, v_view, &options, ViewMut::with_layout(&mut context, q_layout)?, Some(&mut lse))?;
    let out = layer.output.forward(&layer.parameters, &context, ws);
    let mut outputs = Outputs::new().with("out", form.write([batch, query.len, dim], out));

    let lens = Lens::new(q_view, k_view, &options, &lse)?;
    let mut weights = Vec::new();
    for sentence in 0..batch {
        for head in 0..heads {
            weights.extend(lens.tile(sentence, head, 0..query.len, 0..k_len)?);
        }
    }
    let averaged = case.attribute("average_attn_weights").is_none() || case.flag("average_attn_weights")?;
    outputs.insert("attn_weights", weights_tensor(&weights, [batch, heads, query.len, k_len], averaged, form.unbatched));

    let Some(d_out) = case.optional("d_out") else { return Ok(outputs) };
    let d_out = form.read(d_out)?.rows;
    let mut gradients = layer.parameters.gradients();
    let d_context = layer.output.backward(&layer.parameters, &mut gradients, &context, &d_out, ws);
    let (mut d_q, mut d_k, mut d_v) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
    attend_backward(
        q_view,
        k_view,
        v_view,
        &options,
        View::strided(&context, q_layout.shape(), q_layout.strides())?,
        &lse,
        View::strided(&d_context, q_layout.shape(), q_layout.strides())?,
        QkvMut::separate(
            ViewMut::with_layout(&mut d_q, q_layout)?,
            ViewMut::with_layout(&mut d_k, k_layout)?,
            ViewMut::with_layout(&mut d_v, k_layout)?,
        ),
        None,
    )?;
    // The learnt rows of all sentences are one, and the zeros have no gradient.
    for (name, d_rows, learnt) in [("d_bias_k", &d_k, learnt[0]), ("d_bias_v", &d_v, learnt[1])] {
        if let Some(learnt) = learnt {
            let sum = |j: usize| d_rows.chunks(k_len * dim).map(|rows| rows[key.len * dim + j]).sum::<f32>();
            outputs.insert(name, Tensor::floats(&learnt.shape, (0..dim).map(sum)));
        }
    }
    let own = |d_rows: &[f32]| d_rows.chunks(k_len * dim).flat_map(|rows| rows[..key.len * dim].iter().copied()).collect::<Vec<_>>();
    let d_projected = [d_q, own(&d_k), own(&d_v)];
    let mut d_inputs: Vec<(&str, Vec<f32>)> = Vec::new();
    for (i, d) in d_projected.iter().enumerate() {
        let d_x = layer.projections[i].backward(&layer.parameters, &mut gradients, &inputs[i].rows, d, ws);
        match d_inputs.iter_mut().find(|(name, _)| *name == names[i]) {
            Some((_, sum)) => sum.iter_mut().zip(d_x).for_each(|(sum, d)| *sum += d),
            None => d_inputs.push((names[i], d_x)),
        }
    }
    for (name, d) in d_inputs {
        let input = inputs[names.iter().position(|other| *other == name).unwrap_or(0)];
        outputs.insert(&format!("d_{name}"), form.write([batch, input.len, input.width], d));
    }
    layer.insert_gradients(case, &gradients, &mut outputs);
    Ok(outputs)
}

/// `[batch, heads, q_len, k_len]`, or the mean over the heads.
fn weights_tensor(weights: &[f32], [batch, heads, q_len, k_len]: [usize; 4], averaged: bool, unbatched: bool) -> Tensor {
    let (mut shape, values) = if averaged {
        let plane = q_len * k_len;
        let mean =
            |sentence: usize, i: usize| (0..heads).map(|head| weights[(sentence * heads + head) * plane + i]).sum::<f32>() / heads as f32;
        (
            vec![batch, q_len, k_len],
            (0..batch).flat_map(|sentence| (0..plane).map(move |i| (sentence, i))).map(|(s, i)| mean(s, i)).collect(),
        )
    } else {
        (vec![batch, heads, q_len, k_len], weights.to_vec())
    };
    if unbatched {
        shape.remove(0);
    }
    Tensor::floats(&shape, values)
}

/// Both masks of a case over `[batch, heads, q_len, k_len]`: truth values as one, numbers as the other.
struct Masks {
    /// True = may look; PyTorch says it the other way round.
    allowed: Option<Vec<bool>>,
    bias: Option<Vec<f32>>,
}

impl Masks {
    /// `k_len` counts the appended keys too, which no mask forbids.
    fn read(case: &Case, [batch, heads, q_len, own_keys]: [usize; 4], k_len: usize) -> Result<Self, Stop> {
        let (mut allowed, mut bias) = (None, None);
        let places = |b: usize, h: usize, i: usize, j: usize| ((b * heads + h) * q_len + i) * k_len + j;
        for name in ["attn_mask", "key_padding_mask"] {
            let Some(mask) = case.optional(name) else { continue };
            let index: Box<dyn Fn(usize, usize, usize, usize) -> usize> = match (name, mask.shape.len()) {
                ("attn_mask", 2) => Box::new(|_, _, i, j| i * own_keys + j),
                ("attn_mask", 3) => Box::new(|b, h, i, j| ((b * heads + h) * q_len + i) * own_keys + j),
                ("key_padding_mask", 1 | 2) => Box::new(|b, _, _, j| b * own_keys + j),
                _ => return Err(Stop::fail(format!("{name} has shape {:?}", mask.shape))),
            };
            let each = |mut visit: Box<dyn FnMut(usize, usize) + '_>| {
                for b in 0..batch {
                    for h in 0..heads {
                        for i in 0..q_len {
                            for j in 0..own_keys {
                                visit(places(b, h, i, j), index(b, h, i, j));
                            }
                        }
                    }
                }
            };
            let len = batch * heads * q_len * k_len;
            match &mask.values {
                Values::Bools(forbidden) => {
                    let allowed = allowed.get_or_insert_with(|| vec![true; len]);
                    each(Box::new(|to, from| allowed[to] &= !forbidden[from]));
                }
                Values::Floats(values) => {
                    let bias = bias.get_or_insert_with(|| vec![0.0; len]);
                    each(Box::new(|to, from| bias[to] += values[from] as f32));
                }
                Values::Integers(_) => return Err(Stop::fail(format!("{name} holds integers"))),
            }
        }
        Ok(Self { allowed, bias })
    }
}
