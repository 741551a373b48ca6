//! ONNX `Attention` (opsets 23 to 25) and `FlexAttention`.

use half::{bf16, f16};
use heedful::lens::Lens;
use heedful::{Cache, Diagonal, Element, Layout, Options, attend};
use heedful_cases::{Case, Outputs, Stop, Tensor, Values};

use super::tensor::{Laid, four, stored, with_tail};

/// ONNX `Attention` in the storage that the case has.
pub fn attention(case: &Case) -> Result<Outputs, Stop> {
    case.only_attributes(&[
        "opset",
        "scale",
        "is_causal",
        "softcap",
        "qk_matmul_output_mode",
        "q_num_heads",
        "kv_num_heads",
        "left_window_size",
        "right_window_size",
        // The softmax is f32 whatever the storage, which is what the attribute asks for at least.
        "softmax_precision",
    ])?;
    case.only_inputs(&["Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen"])?;
    match case.input("Q")?.dtype.as_str() {
        "F16" => attention_in::<f16>(case),
        "BF16" => attention_in::<bf16>(case),
        _ => attention_in::<f32>(case),
    }
}

/// `[batch, heads, len, dim]`, or `[batch, len, heads * dim]` seen as such.
fn heads_of<T: Element>(case: &Case, name: &str, heads: Option<i64>) -> Result<Laid<T>, Stop> {
    let tensor = case.input(name)?;
    match (&tensor.shape[..], heads) {
        (&[batch, heads, len, dim], _) => Laid::contiguous(stored(tensor)?, [batch, heads, len, dim]),
        (&[batch, len, width], Some(heads)) => {
            let (heads, dim) = (heads as usize, width / heads as usize);
            Ok(Laid { data: stored(tensor)?, layout: Layout::strided([batch, heads, len, dim], [len * width, dim, width, 1])? })
        }
        (shape, _) => Err(Stop::fail(format!("{name} has shape {shape:?} and no head count"))),
    }
}

fn attention_in<T: Element>(case: &Case) -> Result<Outputs, Stop> {
    let q = heads_of::<T>(case, "Q", case.integer("q_num_heads")?)?;
    let [k, v] = ["K", "V"].map(|name| heads_of::<T>(case, name, case.integer("kv_num_heads")?));
    let (k, v) = (k?, v?);
    let ([batch, heads, q_len, dim], [_, kv_heads, new_len, value_dim]) = (q.layout.shape(), v.layout.shape());

    // What was there before goes into a cache with what is new.
    let mut cache = Cache::<T>::new([batch, kv_heads, new_len, dim], value_dim)?;
    let past_len = match (case.optional("past_key"), case.optional("past_value")) {
        (Some(past_k), Some(past_v)) => {
            let [past_k, past_v] = [past_k, past_v].map(|past| Laid::contiguous(stored::<T>(past)?, four(&past.shape)));
            let (past_k, past_v) = (past_k?, past_v?);
            cache.append(past_k.view(), past_v.view(), None)?;
            past_k.layout.shape()[2]
        }
        (None, None) => 0,
        _ => return Err(Stop::fail("past_key and past_value come together")),
    };
    cache.append(k.view(), v.view(), None)?;
    let k_len = past_len + new_len;

    let lengths = case.optional("nonpad_kv_seqlen").map(Tensor::usizes).transpose()?;
    let diagonal = if lengths.is_some() && past_len == 0 { Diagonal::BottomRight } else { Diagonal::Offset(past_len as isize) };
    let side = |name| -> Result<Option<usize>, Stop> { Ok(usize::try_from(case.integer(name)?.unwrap_or(-1)).ok()) };
    let scaled = case.float("scale")?.map_or(Options::new(), |scale| Options::new().scale(scale as f32));
    let softcap = case.float("softcap")?.filter(|&softcap| softcap > 0.0);
    let capped = softcap.map_or(scaled, |softcap| scaled.softcap(softcap as f32));
    let mut options = capped.window(side("left_window_size")?, side("right_window_size")?).diagonal(diagonal);
    if case.flag("is_causal")? {
        options = options.causal(diagonal);
    }
    if let Some(lengths) = &lengths {
        options = options.key_lengths(lengths);
    }
    let (mut mask, mut bias) = (None, None);
    if let Some(tensor) = case.optional("attn_mask") {
        match &tensor.values {
            Values::Bools(values) => mask = Some(padded(tensor, values, k_len, false)?),
            _ => bias = Some(padded(tensor, &tensor.f32s()?, k_len, f32::NEG_INFINITY)?),
        }
    }
    if let Some(mask) = &mask {
        options = options.mask(mask.view());
    }
    if let Some(bias) = &bias {
        options = options.bias(bias.view());
    }

    let strides = if case.input("Q")?.shape.len() == 3 {
        [q_len * heads * value_dim, value_dim, heads * value_dim, 1]
    } else {
        [heads * q_len * value_dim, q_len * value_dim, value_dim, 1]
    };
    let mut out = Laid::unwritten(Layout::strided([batch, heads, q_len, value_dim], strides)?)?;
    let mut lse = vec![f32::NAN; batch * heads * q_len];
    attend(q.view(), cache.keys(), cache.values(), &options, out.view_mut(), Some(&mut lse))?;

    let y_shape =
        if case.input("Q")?.shape.len() == 3 { vec![batch, q_len, heads * value_dim] } else { vec![batch, heads, q_len, value_dim] };
    let mut outputs = Outputs::new().with("Y", Tensor::floats(&y_shape, out.data.iter().copied()));
    for (name, present, width) in [("present_key", cache.keys(), dim), ("present_value", cache.values(), value_dim)] {
        let number = |index: usize| {
            let (b, h, j, c) =
                (index / (kv_heads * k_len * width), index / (k_len * width) % kv_heads, index / width % k_len, index % width);
            present.at([b, h, j, c]).to_f32()
        };
        let shape = [batch, kv_heads, k_len, width];
        outputs.insert(name, Tensor::floats(&shape, (0..shape.iter().product()).map(number)));
    }
    if case.outputs.contains_key("qk_matmul_output") {
        let (seen, weights) = match case.integer("qk_matmul_output_mode")?.unwrap_or(0) {
            0 => (scaled, false),
            1 => (capped, false),
            2 => (options, false),
            3 => (options, true),
            other => return Err(Stop::fail(format!("qk_matmul_output_mode {other} is unknown"))),
        };
        let lens = Lens::new(q.view(), cache.keys(), &seen, &lse)?;
        let mut numbers = Vec::new();
        for b in 0..batch {
            for h in 0..heads {
                numbers.extend(if weights { lens.tile(b, h, 0..q_len, 0..k_len)? } else { lens.scores(b, h, 0..q_len, 0..k_len)? });
            }
        }
        outputs.insert("qk_matmul_output", Tensor::floats(&[batch, heads, q_len, k_len], numbers));
    }
    Ok(outputs)
}

/// A mask as `[batch, heads, q_len, k_len]`, any but the last of them 1; keys that it does not cover get `forbidden`.
fn padded<T: Copy + Default>(mask: &Tensor, values: &[T], k_len: usize, forbidden: T) -> Result<Laid<T>, Stop> {
    let width = *mask.shape.last().ok_or_else(|| Stop::fail("attn_mask is a scalar"))?;
    if width >= k_len {
        return Laid::contiguous(values.to_vec(), four(&mask.shape));
    }
    let row = |row: &[T]| row.iter().copied().chain(std::iter::repeat_n(forbidden, k_len - width)).collect::<Vec<T>>();
    Laid::contiguous(values.chunks(width).flat_map(row).collect(), four(&with_tail(&mask.shape, &[k_len])))
}

/// ONNX `FlexAttention`, without functions of the user's own inside.
pub fn flex_attention(case: &Case) -> Result<Outputs, Stop> {
    case.only_attributes(&["opset", "scale", "score_mod", "prob_mod", "softmax_precision"])?;
    case.only_inputs(&["Q", "K", "V"])?;
    for name in ["score_mod", "prob_mod"] {
        if case.attribute(name).is_some() {
            return Err(Stop::skip(format!("{name} is a graph of its own, which an attention engine cannot run")));
        }
    }
    let [q, k, v] = ["Q", "K", "V"].map(|name| heads_of::<f32>(case, name, None));
    let (q, k, v) = (q?, k?, v?);
    let ([batch, heads, q_len, _], value_dim) = (q.layout.shape(), v.layout.shape()[3]);
    let options = case.float("scale")?.map_or(Options::new(), |scale| Options::new().scale(scale as f32));
    let shape = [batch, heads, q_len, value_dim];
    let mut out = Laid::unwritten(Layout::contiguous(shape)?)?;
    attend(q.view(), k.view(), v.view(), &options, out.view_mut(), None)?;
    Ok(Outputs::new().with("Y", Tensor::floats(&shape, out.data)))
}
