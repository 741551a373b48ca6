//! FlashAttention's functions: `[batch, len, heads, dim]`, bottom-right causal masks, windows, ALiBi, packed sequences, caches.

use heedful::rotary::{Pairing, Rotary};
use heedful::{Cache, Diagonal, Layout, Options, QkvMut, View, attend, attend_backward, attend_packed, attend_packed_backward};
use heedful_cases::{Case, Outputs, Stop, Tensor};

use super::tensor::Laid;

const ATTRIBUTES: [&str; 13] = [
    "causal",
    "window",
    "softcap",
    "scale",
    "seqlen_q",
    "seqlen_k",
    "nheads",
    "nheads_k",
    "d",
    "lse_any_inf",
    "rotary_dim",
    "rotary_interleaved",
    "dropout_p",
];

/// A tensor `[batch, len, heads, dim]` as the engine's `[batch, heads, len, dim]`, where it lies.
fn tokens_first(tensor: &Tensor) -> Result<Laid, Stop> {
    let [batch, len, heads, dim] = tensor.shape[..] else {
        return Err(Stop::fail(format!("shape {:?} where [batch, len, heads, dim] belongs", tensor.shape)));
    };
    let strides = [len * heads * dim, dim, heads * dim, 1];
    Ok(Laid { data: tensor.f32s()?, layout: Layout::strided([batch, heads, len, dim], strides)? })
}

/// A packed tensor `[total, heads, dim]` as the engine's `[1, heads, total, dim]`, where it lies.
fn packed_tokens(tensor: &Tensor) -> Result<Laid, Stop> {
    let [total, heads, dim] = tensor.shape[..] else {
        return Err(Stop::fail(format!("shape {:?} where [total, heads, dim] belongs", tensor.shape)));
    };
    Ok(Laid { data: tensor.f32s()?, layout: Layout::strided([1, heads, total, dim], [total * heads * dim, dim, heads * dim, 1])? })
}

/// One side of the window; negative is no bound.
fn window(case: &Case, side: usize) -> Option<usize> {
    usize::try_from(case.attribute("window")?.get(side)?.as_i64()?).ok()
}

/// The options that all three functions share.
fn options<'a>(case: &Case, slopes: Option<&'a Vec<f32>>) -> Result<Options<'a>, Stop> {
    case.only_attributes(&ATTRIBUTES)?;
    if case.float("dropout_p")?.is_some_and(|p| p != 0.0) {
        return Err(Stop::fail("dropout in the engine"));
    }
    let mut options = Options::new().window(window(case, 0), window(case, 1)).diagonal(Diagonal::BottomRight);
    if case.flag("causal")? {
        options = options.causal(Diagonal::BottomRight);
    }
    if let Some(scale) = case.float("scale")? {
        options = options.scale(scale as f32);
    }
    if let Some(softcap) = case.float("softcap")?.filter(|&softcap| softcap > 0.0) {
        options = options.softcap(softcap as f32);
    }
    if let Some(slopes) = slopes {
        options = options.alibi(slopes);
    }
    Ok(options)
}

fn slopes(case: &Case) -> Result<Option<Vec<f32>>, Stop> {
    case.optional("alibi_slopes").map(Tensor::f32s).transpose()
}

/// `[.., heads, dim]` with the values' width as the last dimension.
fn context_layout(q: &Laid, v: &Laid) -> Result<Layout, Stop> {
    let ([batch, heads, len, _], value_dim) = (q.layout.shape(), v.layout.shape()[3]);
    Ok(Layout::strided([batch, heads, len, value_dim], [len * heads * value_dim, value_dim, heads * value_dim, 1])?)
}

/// `flash_attn_func`
pub fn dense(case: &Case) -> Result<Outputs, Stop> {
    case.only_inputs(&["q", "k", "v", "d_out", "alibi_slopes"])?;
    let [q, k, v] = [tokens_first(case.input("q")?)?, tokens_first(case.input("k")?)?, tokens_first(case.input("v")?)?];
    let slopes = slopes(case)?;
    let options = options(case, slopes.as_ref())?;
    let mut out = Laid::unwritten(context_layout(&q, &v)?)?;
    let [batch, heads, len, value_dim] = out.layout.shape();
    let mut lse = vec![f32::NAN; batch * heads * len];
    attend(q.view(), k.view(), v.view(), &options, out.view_mut(), Some(&mut lse))?;
    let outputs = Outputs::new().with("softmax_lse", Tensor::floats(&[batch, heads, len], lse.iter().copied()));
    let outputs = outputs.with("out", Tensor::floats(&[batch, len, heads, value_dim], out.data.iter().copied()));
    let backward = |d_out: View<'_>, gradients: QkvMut<'_>| {
        attend_backward(q.view(), k.view(), v.view(), &options, out.view(), &lse, d_out, gradients, None)
    };
    gradients(case, outputs, [&q, &k, &v], tokens_first, backward)
}

/// `flash_attn_varlen_func`
pub fn packed(case: &Case) -> Result<Outputs, Stop> {
    case.only_inputs(&["q", "k", "v", "d_out", "alibi_slopes", "cu_seqlens_q", "cu_seqlens_k"])?;
    let [q, k, v] = [packed_tokens(case.input("q")?)?, packed_tokens(case.input("k")?)?, packed_tokens(case.input("v")?)?];
    let [offsets_q, offsets_k] = [case.input("cu_seqlens_q")?.usizes()?, case.input("cu_seqlens_k")?.usizes()?];
    let slopes = slopes(case)?;
    let heads = q.layout.shape()[1];
    let options = options(case, slopes.as_ref())?;
    let mut out = Laid::unwritten(context_layout(&q, &v)?)?;
    let [_, _, total, value_dim] = out.layout.shape();
    let mut lse = vec![f32::NAN; heads * total];
    attend_packed(q.view(), k.view(), v.view(), &offsets_q, &offsets_k, &options, out.view_mut(), Some(&mut lse))?;
    let outputs = Outputs::new().with("softmax_lse", Tensor::floats(&[heads, total], lse.iter().copied()));
    let outputs = outputs.with("out", Tensor::floats(&[total, heads, value_dim], out.data.iter().copied()));
    let backward = |d_out: View<'_>, gradients: QkvMut<'_>| {
        attend_packed_backward(q.view(), k.view(), v.view(), &offsets_q, &offsets_k, &options, out.view(), &lse, d_out, gradients)
    };
    gradients(case, outputs, [&q, &k, &v], packed_tokens, backward)
}

/// Adds `dq`, `dk`, `dv` if the case has a cotangent.
fn gradients(
    case: &Case,
    mut outputs: Outputs,
    operands: [&Laid; 3],
    lay: fn(&Tensor) -> Result<Laid, Stop>,
    backward: impl Fn(View<'_>, QkvMut<'_>) -> heedful::Result<()>,
) -> Result<Outputs, Stop> {
    let Some(d_out) = case.optional("d_out") else { return Ok(outputs) };
    let d_out = lay(d_out)?;
    let [mut d_q, mut d_k, mut d_v] = operands.map(|operand| operand.layout).map(Laid::unwritten);
    let [d_q, d_k, d_v] = [d_q.as_mut(), d_k.as_mut(), d_v.as_mut()].map(|laid| laid.expect("the operand has this layout"));
    backward(d_out.view(), QkvMut::separate(d_q.view_mut(), d_k.view_mut(), d_v.view_mut()))?;
    for (name, like, gradient) in [("dq", "q", d_q), ("dk", "k", d_k), ("dv", "v", d_v)] {
        outputs.insert(name, Tensor::floats(&case.input(like)?.shape, gradient.data.iter().copied()));
    }
    Ok(outputs)
}

/// `flash_attn_with_kvcache`: new keys and values are turned and appended, then the queries look at everything up to there.
pub fn cached(case: &Case) -> Result<Outputs, Stop> {
    case.only_inputs(&[
        "q",
        "k_cache",
        "v_cache",
        "k_new",
        "v_new",
        "cache_seqlens",
        "rotary_cos",
        "rotary_sin",
        "alibi_slopes",
        "cache_leftpad",
        "cache_batch_idx",
    ])?;
    let mut q = tokens_first(case.input("q")?)?;
    let [stored_k, stored_v] = [tokens_first(case.input("k_cache")?)?, tokens_first(case.input("v_cache")?)?];
    let [batch, heads, q_len, _] = q.layout.shape();
    let [entries, kv_heads, capacity, dim] = stored_k.layout.shape();
    let value_dim = stored_v.layout.shape()[3];
    let entry: Vec<usize> = case.optional("cache_batch_idx").map_or_else(|| Ok((0..batch).collect()), Tensor::usizes)?;
    if entry.len() != batch || entry.iter().any(|&entry| entry >= entries) {
        return Err(Stop::fail("cache_batch_idx does not fit the cache"));
    }
    let lengths = case.input("cache_seqlens")?.usizes()?;
    // One length may stand for the whole batch.
    let lengths: Vec<usize> = (0..batch).map(|b| lengths[b.min(lengths.len() - 1)]).collect();
    let mut all = Cache::<f32>::new([entries, kv_heads, capacity, dim], value_dim)?;
    all.append(stored_k.view(), stored_v.view(), None)?;
    all.select(&entry)?;
    let mut cache = Cache::<f32>::new([batch, kv_heads, capacity, dim], value_dim)?;
    cache.append(all.keys(), all.values(), Some(&lengths))?;

    let slopes = slopes(case)?;
    let starts = case.optional("cache_leftpad").map(Tensor::usizes).transpose()?;
    let mut options = options(case, slopes.as_ref())?;
    if let Some(starts) = &starts {
        options = options.key_starts(starts);
    }
    let mut new = match (case.optional("k_new"), case.optional("v_new")) {
        (Some(k), Some(v)) => Some((tokens_first(k)?, tokens_first(v)?)),
        (None, None) => None,
        _ => return Err(Stop::fail("k_new and v_new come together")),
    };
    if let (Some(cos), Some(sin)) = (case.optional("rotary_cos"), case.optional("rotary_sin")) {
        let half = *cos.shape.last().unwrap_or(&0);
        if case.integer("rotary_dim")?.is_some_and(|dim| dim != 2 * half as i64) {
            return Err(Stop::fail(format!("rotary_dim is not twice the tables' width {half}")));
        }
        let pairing = if case.flag("rotary_interleaved")? { Pairing::Neighbours } else { Pairing::Halves };
        let rotary = Rotary::from_tables(cos.f32s()?, sin.f32s()?, half, pairing)?;
        // Without an order among the queries all of them stand at the first new place.
        let ordered = case.flag("causal")? || window(case, 0).or(window(case, 1)).is_some();
        let places = |len: usize, step: usize| -> Vec<usize> {
            lengths.iter().flat_map(|&length| (0..len).map(move |i| length + i * step)).collect()
        };
        rotary.apply(q.view_mut(), &places(q_len, usize::from(ordered)))?;
        if let Some((k, _)) = &mut new {
            let len = k.layout.shape()[2];
            rotary.apply(k.view_mut(), &places(len, 1))?;
        }
    }
    let mut outputs = Outputs::new();
    if let Some((k, v)) = &new {
        cache.append(k.view(), v.view(), None)?;
        // Read back from the cache, `[batch, len, heads, dim]`.
        let len = k.layout.shape()[2];
        let written = (0..batch * len * kv_heads * dim).map(|index| {
            let (b, i, h, c) = (index / (len * kv_heads * dim), index / (kv_heads * dim) % len, index / dim % kv_heads, index % dim);
            cache.keys().at([b, h, lengths[b] + i, c])
        });
        outputs.insert("k_written", Tensor::floats(&[batch, len, kv_heads, dim], written));
    }
    let mut out =
        Laid::unwritten(Layout::strided([batch, heads, q_len, value_dim], [q_len * heads * value_dim, value_dim, heads * value_dim, 1])?)?;
    let mut lse = vec![f32::NAN; batch * heads * q_len];
    cache.attend(q.view(), &options, out.view_mut(), Some(&mut lse))?;
    outputs.insert("softmax_lse", Tensor::floats(&[batch, heads, q_len], lse));
    outputs.insert("out", Tensor::floats(&[batch, q_len, heads, value_dim], out.data));
    Ok(outputs)
}
