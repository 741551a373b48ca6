//! The ONNX operators around attention: softmax, log-sum-exp and rotary embedding.

use heedful::rotary::{Pairing, Rotary};
use heedful::softmax::{log_softmax, log_sum_exp, softmax as softmax_row};
use heedful::{Layout, ViewMut};
use heedful_cases::{Case, Outputs, Stop, Tensor};

/// An axis that may count from the end.
fn axis(value: i64, rank: usize) -> Result<usize, Stop> {
    let axis = if value < 0 { value + rank as i64 } else { value };
    usize::try_from(axis).ok().filter(|&axis| axis < rank).ok_or_else(|| Stop::fail(format!("axis {value} of rank {rank}")))
}

/// `Softmax` and `LogSoftmax` along one axis (opset 13 on).
pub fn softmax(case: &Case) -> Result<Outputs, Stop> {
    case.only_attributes(&["opset", "axis"])?;
    let input = case.input("input")?;
    if case.integer("opset")?.is_some_and(|opset| opset < 13) {
        return Err(Stop::fail("before opset 13 the axis meant something else"));
    }
    let axis = axis(case.integer("axis")?.unwrap_or(-1), input.shape.len())?;
    let (n, inner) = (input.shape[axis], input.shape[axis + 1..].iter().product::<usize>());
    let mut numbers = input.f32s()?;
    for block in numbers.chunks_mut((n * inner).max(1)) {
        for i in 0..inner {
            let mut row: Vec<f32> = block.iter().skip(i).step_by(inner).copied().collect();
            if case.op == "onnx.Softmax" {
                softmax_row(&mut row)
            } else {
                log_softmax(&mut row)
            };
            for (to, x) in block.iter_mut().skip(i).step_by(inner).zip(row) {
                *to = x;
            }
        }
    }
    Ok(Outputs::new().with("output", Tensor::floats(&input.shape, numbers)))
}

/// `ReduceLogSumExp` over some axes, or over all of them.
pub fn reduce_log_sum_exp(case: &Case) -> Result<Outputs, Stop> {
    case.only_attributes(&["opset", "keepdims", "noop_with_empty_axes", "axes"])?;
    let data = case.input("data")?;
    let rank = data.shape.len();
    let axes: Vec<i64> = match (case.optional("axes"), case.attribute("axes")) {
        (Some(axes), _) => axes.integers()?.to_vec(),
        (None, Some(axes)) => serde_json::from_value(axes.clone()).map_err(|error| Stop::fail(format!("attribute axes: {error}")))?,
        (None, None) => Vec::new(),
    };
    if axes.is_empty() && case.flag("noop_with_empty_axes")? {
        return Ok(Outputs::new().with("reduced", data.clone()));
    }
    let mut reduced = vec![axes.is_empty(); rank];
    for value in axes {
        reduced[axis(value, rank)?] = true;
    }
    let kept: Vec<usize> = (0..rank).map(|i| if reduced[i] { 1 } else { data.shape[i] }).collect();
    let mut rows = vec![Vec::new(); kept.iter().product()];
    for (index, &x) in data.f64s()?.iter().enumerate() {
        let (mut rest, mut place, mut step) = (index, 0, 1);
        for i in (0..rank).rev() {
            let coordinate = rest % data.shape[i];
            rest /= data.shape[i];
            place += if reduced[i] { 0 } else { coordinate * step };
            step *= kept[i];
        }
        rows[place].push(x as f32);
    }
    let keep = case.attribute("keepdims").is_none() || case.flag("keepdims")?;
    let shape: Vec<usize> = if keep { kept } else { (0..rank).filter(|&i| !reduced[i]).map(|i| data.shape[i]).collect() };
    Ok(Outputs::new().with("reduced", Tensor::floats(&shape, rows.iter().map(|row| log_sum_exp(row)))))
}

/// `RotaryEmbedding` of `[batch, heads, len, dim]`, or of `[batch, len, heads * dim]`.
pub fn rotary_embedding(case: &Case) -> Result<Outputs, Stop> {
    case.only_attributes(&["opset", "interleaved", "num_heads", "rotary_embedding_dim"])?;
    case.only_inputs(&["X", "cos_cache", "sin_cache", "position_ids"])?;
    let x = case.input("X")?;
    let layout = match (&x.shape[..], case.integer("num_heads")?) {
        (&[batch, heads, len, dim], _) => Layout::contiguous([batch, heads, len, dim])?,
        (&[batch, len, width], Some(heads)) => {
            let heads = heads as usize;
            Layout::strided([batch, heads, len, width / heads], [len * width, width / heads, width, 1])?
        }
        (shape, _) => return Err(Stop::fail(format!("X has shape {shape:?} and no head count"))),
    };
    let [batch, _, len, _] = layout.shape();
    let (cos, sin) = (case.input("cos_cache")?, case.input("sin_cache")?);
    let half = *cos.shape.last().unwrap_or(&0);
    if case.integer("rotary_embedding_dim")?.is_some_and(|dim| dim != 0 && dim != 2 * half as i64) {
        return Err(Stop::fail(format!("rotary_embedding_dim is not twice the tables' width {half}")));
    }
    // Without positions the tables hold one row for each token.
    let positions = case.optional("position_ids").map_or_else(|| Ok((0..batch * len).collect()), Tensor::usizes)?;
    let pairing = if case.flag("interleaved")? { Pairing::Neighbours } else { Pairing::Halves };
    let rotary = Rotary::from_tables(cos.f32s()?, sin.f32s()?, half, pairing)?;
    let mut numbers = x.f32s()?;
    rotary.apply(ViewMut::with_layout(&mut numbers, layout)?, &positions)?;
    Ok(Outputs::new().with("Y", Tensor::floats(&x.shape, numbers)))
}
