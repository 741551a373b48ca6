//! The definition: attention as the textbook writes it, in f64, with every weight in memory. Everything else is tested against it.
//!
//! For batch `b`, head `h`, query `i` and key `j` (Vaswani et al. 2017, section 3.2.1, and the options in their order):
//!
//! ```text
//! s_ij   = scale * sum_c q_ic k_jc
//! s_ij   = softcap * tanh(s_ij / softcap)
//! s_ij  += bias_ij - slope_h |i + offset - j|
//! s_ij   = -inf                                where i may not look at j
//! lse_i  = ln sum_j e^s_ij
//! p_ij   = e^(s_ij - lse_i)
//! out_ic = sum_j p_ij v_jc
//! ```
//!
//! and backwards, from `d_out`:
//!
//! ```text
//! dp_ij   = sum_c d_out_ic v_jc
//! ds_ij   = p_ij (dp_ij - sum_j' p_ij' dp_ij')
//! dbias_ij = ds_ij
//! dr_ij   = ds_ij (1 - tanh(r_ij / softcap)^2)     r: the score before the softcap
//! dq_ic   = scale * sum_j dr_ij k_jc
//! dk_jc   = scale * sum_i dr_ij q_ic
//! dv_jc   = sum_i p_ij d_out_ic
//! ```

use crate::{Diagonal, Element, Options, Result, View, problem::Problem};

/// The result of [`attention`]; row-major.
#[derive(Clone, Debug)]
pub struct Attention {
    /// `[batch, heads, q_len, value_dim]`
    pub out: Vec<f64>,
    /// `[batch, heads, q_len]`
    pub lse: Vec<f64>,
    /// The scores after every option, `[batch, heads, q_len, k_len]`.
    pub scores: Vec<f64>,
    /// `[batch, heads, q_len, k_len]`; each row sums to 1, or to 0 where a query may look at nothing.
    pub weights: Vec<f64>,
    /// `1 - tanh(r / softcap)^2` of each score; 1 without a softcap.
    slopes: Vec<f64>,
}

/// The result of [`backward`]; row-major, each of its operand's shape.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// By the queries.
    pub q: Vec<f64>,
    /// By the keys.
    pub k: Vec<f64>,
    /// By the values.
    pub v: Vec<f64>,
    /// By the scores where the bias is added, `[batch, heads, q_len, k_len]`.
    pub scores: Vec<f64>,
}

/// Attention with every weight.
///
/// # Errors
/// If shapes, lengths or options do not fit each other.
pub fn attention<Q: Element, K: Element>(q: View<'_, Q>, k: View<'_, K>, v: View<'_, K>, options: &Options<'_>) -> Result<Attention> {
    let problem = Problem::new("reference::attention", q, k, v, options)?;
    let ([batch, heads, q_len, dim], k_len, value_dim) = (q.shape(), k.shape()[2], v.shape()[3]);
    let group = problem.group();
    let scale = options.scale.map_or(1.0 / (dim.max(1) as f64).sqrt(), f64::from);
    let mut result = Attention { out: Vec::new(), lse: Vec::new(), scores: Vec::new(), weights: Vec::new(), slopes: Vec::new() };
    for (b, h, i) in indices([batch, heads, q_len]) {
        let row = result.scores.len();
        for j in 0..k_len {
            let dot: f64 = (0..dim).map(|c| number(&q, [b, h, i, c]) * number(&k, [b, h / group, j, c])).sum();
            let mut s = scale * dot;
            let mut slope = 1.0;
            if let Some(softcap) = options.softcap.map(f64::from) {
                let t = (s / softcap).tanh();
                (s, slope) = (softcap * t, 1.0 - t * t);
            }
            s += problem.bias.map_or(0.0, |bias| f64::from(bias.at([b, h, i, j])));
            if problem.alibi.is_some() {
                s -= f64::from(problem.slope(b, h)) * (distance(options, b, i, j, q_len, k_len) as f64).abs();
            }
            let seen = may_look(options, b, i, j, q_len, k_len) && problem.mask.is_none_or(|mask| mask.at([b, h, i, j]));
            result.scores.push(if seen { s } else { f64::NEG_INFINITY });
            result.slopes.push(slope);
        }
        let scores = &result.scores[row..];
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shift = if max == f64::NEG_INFINITY { 0.0 } else { max };
        let sum: f64 = scores.iter().map(|s| (s - shift).exp()).sum();
        result.lse.push(shift + sum.ln());
        let weight = |s: &f64| if sum == 0.0 { 0.0 } else { (s - shift).exp() / sum };
        result.weights.extend(scores.iter().map(weight));
        for c in 0..value_dim {
            // A key that gets no weight is not looked at, whatever its value holds.
            let seen = (0..k_len).filter(|&j| result.weights[row + j] != 0.0);
            result.out.push(seen.map(|j| result.weights[row + j] * number(&v, [b, h / group, j, c])).sum());
        }
    }
    Ok(result)
}

/// The gradients of [`attention`] from `d_out`, `[batch, heads, q_len, value_dim]`.
///
/// # Errors
/// If shapes, lengths or options do not fit each other.
pub fn backward<Q: Element, K: Element>(
    q: View<'_, Q>,
    k: View<'_, K>,
    v: View<'_, K>,
    options: &Options<'_>,
    d_out: View<'_>,
) -> Result<Gradients> {
    const OPERATION: &str = "reference::backward";
    let problem = Problem::new(OPERATION, q, k, v, options)?;
    problem.check_context(OPERATION, "d_out", d_out.shape())?;
    let Attention { weights, slopes, .. } = attention(q, k, v, options)?;
    let ([batch, heads, q_len, dim], [_, kv_heads, k_len, value_dim]) = (q.shape(), v.shape());
    let group = problem.group();
    let scale = options.scale.map_or(1.0 / (dim.max(1) as f64).sqrt(), f64::from);
    let zeros = |shape: [usize; 4]| vec![0.0; shape.iter().product()];
    let mut gradients =
        Gradients { q: zeros(q.shape()), k: zeros(k.shape()), v: zeros(v.shape()), scores: zeros([batch, heads, q_len, k_len]) };
    for (b, h, i) in indices([batch, heads, q_len]) {
        let query = (b * heads + h) * q_len + i;
        let row = query * k_len;
        let d_weights: Vec<f64> =
            (0..k_len).map(|j| (0..value_dim).map(|c| number(&d_out, [b, h, i, c]) * number(&v, [b, h / group, j, c])).sum()).collect();
        let mean: f64 = (0..k_len).map(|j| weights[row + j] * d_weights[j]).sum();
        for j in 0..k_len {
            let key = (b * kv_heads + h / group) * k_len + j;
            let d_score = weights[row + j] * (d_weights[j] - mean);
            gradients.scores[row + j] = d_score;
            let d_raw = scale * d_score * slopes[row + j];
            for c in 0..dim {
                gradients.q[query * dim + c] += d_raw * number(&k, [b, h / group, j, c]);
                gradients.k[key * dim + c] += d_raw * number(&q, [b, h, i, c]);
            }
            for c in 0..value_dim {
                gradients.v[key * value_dim + c] += weights[row + j] * number(&d_out, [b, h, i, c]);
            }
        }
    }
    Ok(gradients)
}

fn number<T: Element>(view: &View<'_, T>, index: [usize; 4]) -> f64 {
    view.at(index).to_f32().into()
}

fn indices([a, b, c]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}

/// How far key `j` lies right of the place of query `i`.
fn distance(options: &Options<'_>, batch: usize, i: usize, j: usize, q_len: usize, k_len: usize) -> i128 {
    let end = options.key_lengths.map_or(k_len, |lengths| lengths[batch]);
    let offset = match options.diagonal {
        Diagonal::TopLeft => 0,
        Diagonal::BottomRight => end as i128 - q_len as i128,
        Diagonal::Offset(offset) => offset as i128,
    };
    j as i128 - (i as i128 + offset)
}

fn may_look(options: &Options<'_>, batch: usize, i: usize, j: usize, q_len: usize, k_len: usize) -> bool {
    let distance = distance(options, batch, i, j, q_len, k_len);
    options.key_lengths.is_none_or(|lengths| j < lengths[batch])
        && options.key_starts.is_none_or(|starts| j >= starts[batch])
        && !(options.causal && distance > 0)
        && options.left.is_none_or(|left| -distance <= left as i128)
        && options.right.is_none_or(|right| distance <= right as i128)
}
