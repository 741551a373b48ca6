//! Simplified self-attention: nothing to train. Each token looks at all tokens, itself among them, and becomes their mean, weighted by
//! how alike they are.
//!
//! `context_i = sum_j softmax_j(x_i . x_j) x_j`, with `x` `[tokens, dim]`; the scores are not scaled.

use super::{Head, Steps, plain, rows};
use crate::Result;

/// The contexts `[tokens, dim]` of `x`, `[tokens, dim]`.
///
/// ```
/// let x = [
///     0.43, 0.15, 0.89, // Your
///     0.55, 0.87, 0.66, // journey
///     0.57, 0.85, 0.64, // starts
///     0.22, 0.58, 0.33, // with
///     0.77, 0.25, 0.10, // one
///     0.05, 0.80, 0.55, // step
/// ];
/// let context = heedful::mechanism::simplified::forward(&x, 3)?;
/// assert!((context[3] - 0.4419).abs() < 5e-5); // "journey", first number
/// # Ok::<(), heedful::Error>(())
/// ```
///
/// # Errors
/// If `x` does not consist of whole rows.
pub fn forward(x: &[f32], dim: usize) -> Result<Vec<f32>> {
    Ok(head(x, dim)?.attend(&plain().scale(1.0))?.0)
}

/// The numbers on the way.
///
/// # Errors
/// If `x` does not consist of whole rows.
pub fn steps(x: &[f32], dim: usize) -> Result<Steps> {
    head(x, dim)?.steps(&plain().scale(1.0))
}

fn head(x: &[f32], dim: usize) -> Result<Head> {
    rows("simplified", "x", x.len(), dim)?;
    Ok(Head { queries: x.to_vec(), keys: x.to_vec(), values: x.to_vec(), dim, value_dim: dim })
}
