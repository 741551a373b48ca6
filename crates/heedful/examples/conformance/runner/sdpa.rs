//! `torch.nn.functional.scaled_dot_product_attention`: ranks 2 to 5, masks, grouped heads.

use heedful::lens::Lens;
use heedful::{Diagonal, Options, QkvMut, View, ViewMut, attend, attend_backward};
use heedful_cases::{Case, Outputs, Stop, Tensor, Values};

use super::tensor::{Laid, broadcast, common_shape, four, sum_to, with_tail};

pub fn run(case: &Case) -> Result<Outputs, Stop> {
    case.only_attributes(&["causal", "scale", "enable_gqa"])?;
    case.only_inputs(&["q", "k", "v", "attn_mask", "d_out"])?;
    let [q_in, k_in, v_in] = [case.input("q")?, case.input("k")?, case.input("v")?];
    let leading = leading_shape(q_in, k_in, v_in, case.flag("enable_gqa")?)?;
    let [q, k, v] = [(q_in, true), (k_in, false), (v_in, false)].map(|(tensor, is_query)| {
        let heads = if is_query || !case.flag("enable_gqa")? { None } else { tensor.shape.get(tensor.shape.len() - 3) };
        Repeated::new(tensor, &leading, heads.copied())
    });
    let (q, k, v) = (q?, k?, v?);
    let (q_len, k_len) = (q.view().shape()[2], k.view().shape()[2]);
    let mut options = Options::new();
    if let Some(scale) = case.float("scale")? {
        options = options.scale(scale as f32);
    }
    options = match case.text("causal")?.unwrap_or("none") {
        "none" => options,
        "top_left" => options.causal(Diagonal::TopLeft),
        "bottom_right" => options.causal(Diagonal::BottomRight),
        other => return Err(Stop::fail(format!("causal = {other} is unknown"))),
    };
    let scores = [&leading[..], &[q_len, k_len]].concat();
    let (mut mask, mut bias) = (None, None);
    if let Some(tensor) = case.optional("attn_mask") {
        match &tensor.values {
            Values::Bools(values) => mask = Some(mask_as_four(tensor, values, &scores)?),
            _ => bias = Some(mask_as_four(tensor, &tensor.f32s()?, &scores)?),
        }
    }
    if let Some(mask) = &mask {
        options = options.mask(mask.view());
    }
    if let Some(bias) = &bias {
        options = options.bias(bias.view());
    }

    let out_shape = [&leading[..], &[q_len, v.view().shape()[3]]].concat();
    let mut out = Laid::contiguous(vec![f32::NAN; out_shape.iter().product()], four(&out_shape))?;
    let mut lse = vec![f32::NAN; leading.iter().product::<usize>() * q_len];
    attend(q.view(), k.view(), v.view(), &options, out.view_mut(), Some(&mut lse))?;
    let mut outputs = Outputs::new().with("out", Tensor::floats(&out_shape, out.numbers()));

    if case.outputs.contains_key("weights") {
        let lens = Lens::new(q.view(), k.view(), &options, &lse)?;
        let [batch, heads, ..] = q.view().shape();
        let mut weights = Vec::new();
        for b in 0..batch {
            for h in 0..heads {
                weights.extend(lens.tile(b, h, 0..q_len, 0..k_len)?);
            }
        }
        outputs.insert("weights", Tensor::floats(&scores, weights));
    }
    if let Some(d_out) = case.optional("d_out") {
        let d_out = Laid::contiguous(d_out.f32s()?, four(&out_shape))?;
        let [mut d_q, mut d_k, mut d_v] =
            [Laid::unwritten(q.laid.layout)?, Laid::unwritten(k.laid.layout)?, Laid::unwritten(v.laid.layout)?];
        let mut d_bias = bias.as_ref().map(|bias| vec![f32::NAN; bias.layout.shape().iter().product()]);
        let d_bias_view = match (&mut d_bias, &bias) {
            (Some(d_bias), Some(bias)) => Some(ViewMut::contiguous(d_bias, bias.layout.shape())?),
            _ => None,
        };
        let gradients = QkvMut::separate(d_q.view_mut(), d_k.view_mut(), d_v.view_mut());
        attend_backward(q.view(), k.view(), v.view(), &options, out.view(), &lse, d_out.view(), gradients, d_bias_view)?;
        for (name, gradient, repeated) in [("dq", d_q, &q), ("dk", d_k, &k), ("dv", d_v, &v)] {
            outputs.insert(name, Tensor::floats(&repeated.original, sum_to(&gradient.numbers(), &repeated.shape, &repeated.original)));
        }
        if let (Some(d_bias), Some(bias)) = (d_bias, case.optional("attn_mask")) {
            let full = if bias.shape.len() > 4 { with_tail(&scores, &bias.shape[bias.shape.len() - 3..]) } else { bias.shape.clone() };
            outputs.insert("d_attn_mask", Tensor::floats(&bias.shape, sum_to(&d_bias, &full, &bias.shape)));
        }
    }
    Ok(outputs)
}

/// The dimensions before `[len, dim]`, repeated to a common shape; with grouped heads, the query's heads.
fn leading_shape(q: &Tensor, k: &Tensor, v: &Tensor, grouped: bool) -> Result<Vec<usize>, Stop> {
    let cut = |tensor: &Tensor, n: usize| tensor.shape[..tensor.shape.len().saturating_sub(n)].to_vec();
    if grouped {
        let heads = *q.shape.get(q.shape.len().wrapping_sub(3)).ok_or_else(|| Stop::fail("grouped heads without a head dimension"))?;
        let common = common_shape(&[&cut(q, 3), &cut(k, 3), &cut(v, 3)])?;
        return Ok([&common[..], &[heads]].concat());
    }
    common_shape(&[&cut(q, 2), &cut(k, 2), &cut(v, 2)])
}

/// A tensor whose leading dimensions are repeated to those that all operands share.
struct Repeated {
    laid: Laid,
    original: Vec<usize>,
    shape: Vec<usize>,
}

impl Repeated {
    fn new(tensor: &Tensor, leading: &[usize], heads: Option<usize>) -> Result<Self, Stop> {
        let mut leading = leading.to_vec();
        if let (Some(heads), Some(last)) = (heads, leading.last_mut()) {
            *last = heads;
        }
        let shape = [&leading[..], &tensor.shape[tensor.shape.len() - 2..]].concat();
        let numbers = tensor.f32s()?;
        let laid = if shape == tensor.shape {
            Laid::of(tensor, &numbers)?
        } else {
            Laid::contiguous(broadcast(&numbers, &tensor.shape, &shape), four(&shape))?
        };
        Ok(Self { laid, original: tensor.shape.clone(), shape })
    }

    fn view(&self) -> View<'_> {
        self.laid.view()
    }
}

/// A mask as `[batch, heads, q_len, k_len]`, any of them 1. Only where several leading dimensions become one is it repeated.
fn mask_as_four<T: Copy + Default>(mask: &Tensor, values: &[T], scores: &[usize]) -> Result<Laid<T>, Stop> {
    if mask.shape.len() > 4 {
        let full = with_tail(scores, &mask.shape[mask.shape.len() - 3..]);
        return Laid::contiguous(broadcast(values, &mask.shape, &full), four(&full));
    }
    if scores.len() > 4 && mask.shape.len() == 4 && mask.shape[0] != 1 {
        let full = with_tail(scores, &mask.shape[1..]);
        return Laid::contiguous(broadcast(values, &mask.shape, &full), four(&full));
    }
    Laid::of(mask, values)
}
