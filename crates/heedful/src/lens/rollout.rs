//! Attention through several layers.

use super::{Heads, Lens};
use crate::{Element, Error, Result};

/// How much each token of the input went into token `query` of the last layer's output, `[tokens]`: a row of the attention rollout (Abnar and
/// Zuidema 2020, section 3),
///
/// ```text
/// R = A'_L ... A'_2 A'_1     A'_l = A_l / 2 + I / 2
/// ```
///
/// where `A_l` are the weights of layer `l`, of one head or the mean of several, and `I` stands for the residual connection. Where weights sum
/// to 1, so do the numbers. `layers` come in the order of the computation. Each layer's weights are computed again tile by tile: memory
/// is `O(tokens)`, time that of a layer's scores each.
///
/// # Errors
/// If a layer has no such sequence or heads, or not as many queries and keys as the others, or there is no such query.
///
/// ```
/// use heedful::lens::{Lens, rollout};
/// use heedful::{Options, View, ViewMut, attend};
/// let x = [4.0, 0.0, 0.0, 4.0];
/// let x = View::contiguous(&x, [1, 1, 2, 2])?;
/// let options = Options::new();
/// let (mut out, mut lse) = ([0.0; 4], [0.0; 2]);
/// attend(x, x, x, &options, ViewMut::contiguous(&mut out, [1, 1, 2, 2])?, Some(&mut lse))?;
/// let lens = Lens::new(x, x, &options, &lse)?;
/// let shares = rollout(&[lens, lens, lens], 0, .., 1)?; // three layers that look alike
/// assert!((shares[0] + shares[1] - 1.0).abs() < 1e-6 && shares[1] > 0.99);
/// # Ok::<(), heedful::Error>(())
/// ```
pub fn rollout<Q: Element, K: Element>(
    layers: &[Lens<'_, Q, K>],
    sequence: usize,
    heads: impl Into<Heads>,
    query: usize,
) -> Result<Vec<f32>> {
    let heads = heads.into();
    let mut shares = one_token("rollout", layers, sequence, "query", query)?;
    for layer in layers.iter().rev() {
        let seen = layer.to_keys(sequence, heads.clone(), &shares)?;
        keep_half(&mut shares, &seen);
    }
    Ok(shares)
}

/// How much token `key` of the input went into each token of the last layer's output, `[tokens]`: a column of the attention [`rollout`].
///
/// # Errors
/// As [`rollout`].
pub fn rollout_of<Q: Element, K: Element>(
    layers: &[Lens<'_, Q, K>],
    sequence: usize,
    heads: impl Into<Heads>,
    key: usize,
) -> Result<Vec<f32>> {
    let heads = heads.into();
    let mut shares = one_token("rollout_of", layers, sequence, "key", key)?;
    for layer in layers {
        let seen = layer.to_queries(sequence, heads.clone(), &shares)?;
        keep_half(&mut shares, &seen);
    }
    Ok(shares)
}

/// What went into a layer stays by half.
fn keep_half(shares: &mut [f32], seen: &[f32]) {
    for (share, seen) in shares.iter_mut().zip(seen) {
        *share = (*share + seen) / 2.0;
    }
}

/// 1 at one token of a sequence and 0 at all others.
fn one_token<Q: Element, K: Element>(
    operation: &'static str,
    layers: &[Lens<'_, Q, K>],
    sequence: usize,
    option: &'static str,
    token: usize,
) -> Result<Vec<f32>> {
    let tokens = layers.first().map_or(0, |layer| layer.shape(sequence)[0]);
    for layer in layers {
        if layer.shape(sequence) != [tokens; 2] {
            let fix = format!("each layer must have as many queries and keys as the first has queries, {tokens}");
            return Err(Error::Shape { operation, operand: "layers", shape: layer.shape(sequence).to_vec(), fix });
        }
    }
    if token >= tokens {
        let fix = format!("sequence {sequence} has {tokens} tokens in {} layers", layers.len());
        return Err(Error::Option { operation, option, value: token.to_string(), fix });
    }
    let mut shares = vec![0.0; tokens];
    shares[token] = 1.0;
    Ok(shares)
}
