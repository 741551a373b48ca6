//! The one operation: queries look at keys and fetch a mixture of values. Forward, backward, and over packed sequences.

use crate::kernel::backward::Saved;
use crate::problem::{Problem, shape};
use crate::schedule::{backward, forward};
use crate::{Element, Options, QkvMut, Result, View, ViewMut};

/// Attention (Vaswani et al. 2017, section 3.2.1): `out = softmax(scale q k^T + ...) v`, one softmax for each query over the keys.
///
/// | operand | shape |
/// |---|---|
/// | `q` | `[batch, heads, q_len, dim]` |
/// | `k` | `[batch, kv_heads, k_len, dim]`; `kv_heads` divides `heads`, and query head `h` looks at key head `h / (heads / kv_heads)` |
/// | `v` | `[batch, kv_heads, k_len, value_dim]` |
/// | `out` | `[batch, heads, q_len, value_dim]` |
/// | `lse` | `[batch, heads, q_len]`: the log-sum-exp of each query's scores, in natural logarithm |
///
/// What [`Options`] may add, and in which order, is told there. Scores are never held for more than a tile: memory beyond the operands
/// does not grow with the lengths. `lse` is what [`attend_backward`] and the [lenses](crate::lens) need.
///
/// A query without a key to look at gets 0 and a log-sum-exp of `-inf`. With a `dim` of 0 every score is 0 before bias and mask. A NaN in a
/// query or in a key or value that it looks at makes its row NaN; what lies where mask, positions and lengths do
/// not let it look does nothing. The result does not depend on
/// the number of threads.
///
/// # Errors
/// If shapes, lengths or options do not fit each other.
///
/// ```
/// use heedful::{Options, View, ViewMut, attend};
///
/// // One query, two keys: the key that points the query's way gets more weight.
/// let (q, k, v) = ([1.0, 0.0], [1.0, 0.0, 0.0, 1.0], [10.0, 20.0]);
/// let mut out = [0.0];
/// attend(
///     View::contiguous(&q, [1, 1, 1, 2])?,
///     View::contiguous(&k, [1, 1, 2, 2])?,
///     View::contiguous(&v, [1, 1, 2, 1])?,
///     &Options::new(),
///     ViewMut::contiguous(&mut out, [1, 1, 1, 1])?,
///     None,
/// )?;
/// assert!((out[0] - 13.302).abs() < 1e-3);
/// # Ok::<(), heedful::Error>(())
/// ```
pub fn attend<Q: Element, K: Element>(
    q: View<'_, Q>,
    k: View<'_, K>,
    v: View<'_, K>,
    options: &Options<'_>,
    out: ViewMut<'_>,
    lse: Option<&mut [f32]>,
) -> Result<()> {
    forward("attend", &Problem::new("attend", q, k, v, options)?, options.parallelism, out, lse)
}

/// [`attend`] within each of several sequences that lie one after the other, of any lengths, without padding.
///
/// Sequence `i` has the queries `offsets_q[i]..offsets_q[i + 1]` and the keys `offsets_k[i]..offsets_k[i + 1]`; causal masks, windows and
/// ALiBi count from its own first query and key.
///
/// | operand | shape |
/// |---|---|
/// | `q` | `[1, heads, q_total, dim]` |
/// | `k`, `v` | `[1, kv_heads, k_total, dim]`, `[1, kv_heads, k_total, value_dim]` |
/// | `out` | `[1, heads, q_total, value_dim]` |
/// | `lse` | `[heads, q_total]` |
///
/// # Errors
/// As [`attend`]; also if offsets do not ascend from 0 to the total, or if a mask, a bias, key lengths or key starts are set.
pub fn attend_packed<Q: Element, K: Element>(
    q: View<'_, Q>,
    k: View<'_, K>,
    v: View<'_, K>,
    offsets_q: &[usize],
    offsets_k: &[usize],
    options: &Options<'_>,
    out: ViewMut<'_>,
    lse: Option<&mut [f32]>,
) -> Result<()> {
    let problem = Problem::packed("attend_packed", q, k, v, [offsets_q, offsets_k], options)?;
    forward("attend_packed", &problem, options.parallelism, out, lse)
}

/// The gradients of [`attend`]: from `d_out`, the derivative of a loss by `out`, those by queries, keys, values and bias.
///
/// `out` and `lse` are what [`attend`] gave for the same operands and options. `gradients` are overwritten. `d_bias` has the shape of the
/// bias, before it was repeated, and receives the sum over whatever it was repeated along; asking for it makes the call serial.
/// A NaN or infinity in a value that is hidden from a query does nothing; one in a hidden key or in a query can reach other gradients.
///
/// # Errors
/// If shapes, lengths or options do not fit each other, or `d_bias` is given without a bias.
pub fn attend_backward<Q: Element, K: Element>(
    q: View<'_, Q>,
    k: View<'_, K>,
    v: View<'_, K>,
    options: &Options<'_>,
    out: View<'_>,
    lse: &[f32],
    d_out: View<'_>,
    gradients: QkvMut<'_>,
    d_bias: Option<ViewMut<'_>>,
) -> Result<()> {
    const OPERATION: &str = "attend_backward";
    let problem = Problem::new(OPERATION, q, k, v, options)?;
    if let Some(d_bias) = &d_bias {
        let Some(bias) = &options.bias else {
            return Err(shape(OPERATION, "d_bias", d_bias.shape(), "the options hold no bias: set it, or pass None"));
        };
        if d_bias.shape() != bias.shape() {
            return Err(shape(OPERATION, "d_bias", d_bias.shape(), format!("it must be that of the bias, {:?}", bias.shape())));
        }
    }
    backward(OPERATION, &problem, options.parallelism, Saved { out, lse, d_out }, gradients, d_bias)
}

/// The gradients of [`attend_packed`]; see [`attend_backward`].
///
/// # Errors
/// As [`attend_packed`].
pub fn attend_packed_backward<Q: Element, K: Element>(
    q: View<'_, Q>,
    k: View<'_, K>,
    v: View<'_, K>,
    offsets_q: &[usize],
    offsets_k: &[usize],
    options: &Options<'_>,
    out: View<'_>,
    lse: &[f32],
    d_out: View<'_>,
    gradients: QkvMut<'_>,
) -> Result<()> {
    const OPERATION: &str = "attend_packed_backward";
    let problem = Problem::packed(OPERATION, q, k, v, [offsets_q, offsets_k], options)?;
    backward(OPERATION, &problem, options.parallelism, Saved { out, lse, d_out }, gradients, None)
}
