//! Weights times the length of what they fetch.

use std::ops::Range;

use rayon::prelude::*;

use super::Lens;
use crate::kernel::tile::{KEYS, Rows, padded};
use crate::plan::Band;
use crate::problem::{Sequence, shape};
use crate::simd::buffer::Buffer;
use crate::simd::panel::Panel;
use crate::simd::{Isa, Op, dispatch};
use crate::{Element, Error, Result, View};

impl<'a, Q: Element, K: Element> Lens<'a, Q, K> {
    /// The same look with each weight times the norm of what it fetches, `p_ij norms_j` (Kobayashi et al. 2020, section 3.2): a large
    /// weight on a value near 0 does little. `norms` are `[batch, heads, k_len]`, as [`value_norms`] gives them; rows then no longer sum
    /// to 1. [`entropy`](Self::entropy), [`scores`](Self::scores) and [`glance`](Self::glance) go on to speak of the weights themselves.
    ///
    /// # Errors
    /// If there is not one norm for each head and key.
    pub fn with_value_norms(&self, norms: &'a [f32]) -> Result<Self> {
        let ([batch, heads, _, _], k_len) = (self.problem.q.shape(), self.problem.k.shape()[2]);
        if norms.len() != batch * heads * k_len {
            let fix = format!("it must hold [{batch}, {heads}, {k_len}]");
            return Err(Error::Length { operation: "Lens::with_value_norms", operand: "norms", len: norms.len(), fix });
        }
        Ok(Self { factors: Some(norms), ..*self })
    }
}

/// The Euclidean norm of what each head fetches from each key, `|W_h v_j|`, `[batch, heads, k_len]`: the length of the transformed vectors of
/// Kobayashi et al. 2020, section 3.2.
///
/// `output` is the projection of the heads' contexts, row-major `[width, heads * value_dim]` and without its bias, of which `W_h` are the
/// columns of head `h`; without it, the norms are those of the values. `v` is `[batch, kv_heads, k_len, value_dim]`.
///
/// # Errors
/// If `kv_heads` does not divide `heads`, or `output` does not hold whole rows.
///
/// ```
/// use heedful::{View, lens::value_norms};
/// let v = [3.0, 4.0, 0.0, 2.0];
/// let v = View::contiguous(&v, [1, 1, 2, 2])?;
/// assert_eq!(value_norms(v, 1, None)?, [5.0, 2.0]);
/// assert_eq!(value_norms(v, 1, Some(&[2.0, 0.0]))?, [6.0, 0.0]); // a projection that keeps twice the first number
/// # Ok::<(), heedful::Error>(())
/// ```
pub fn value_norms<K: Element>(v: View<'_, K>, heads: usize, output: Option<&[f32]>) -> Result<Vec<f32>> {
    const OPERATION: &str = "value_norms";
    let [batch, kv_heads, k_len, value_dim] = v.shape();
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        return Err(shape(OPERATION, "v", v.shape(), format!("its heads must divide the {heads} heads of the queries")));
    }
    let row = heads * value_dim;
    if let Some(output) = output
        && !output.len().is_multiple_of(row.max(1))
    {
        let fix = format!("it must be [width, heads * value_dim], so a multiple of {row}");
        return Err(Error::Length { operation: OPERATION, operand: "output", len: output.len(), fix });
    }
    let mut norms = vec![0.0; batch * heads * k_len];
    if value_dim == 0 {
        return Ok(norms);
    }
    norms.par_chunks_mut(k_len.max(1)).enumerate().for_each(|(row, norms)| {
        let (batch, head) = (row / heads, row % heads);
        dispatch(Norms { v: &v, place: [batch, head], heads, output, to: norms });
    });
    Ok(norms)
}

/// The norms of one head, `[k_len]`.
struct Norms<'a, 'v, K> {
    v: &'a View<'v, K>,
    /// Entry of the batch and head of the queries.
    place: [usize; 2],
    heads: usize,
    output: Option<&'a [f32]>,
    to: &'a mut [f32],
}

impl<K: Element> Op for Norms<'_, '_, K> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let ([_, kv_heads, k_len, value_dim], [batch, head]) = (self.v.shape(), self.place);
        let kv_head = head / (self.heads / kv_heads);
        let (mut buffer, mut products) = (Buffer::default(), Vec::new());
        let (columns, width) = self.output.map_or((Vec::new(), 0), |output| columns_of(output, self.heads, head, value_dim));
        for (first, norms) in (0..k_len).step_by(KEYS).zip(self.to.chunks_mut(KEYS)) {
            let rows = rows(isa, self.v, [batch, kv_head], first..first + norms.len(), &mut buffer);
            let (vectors, stride) = if self.output.is_some() {
                products.resize(norms.len() * width, 0.0);
                isa.call(Panel {
                    width,
                    depth: value_dim,
                    count: norms.len(),
                    rows: &columns,
                    row_stride: width,
                    scalars: rows.data,
                    scalar_strides: [rows.column_stride, rows.stride],
                    out: &mut products,
                    out_stride: width,
                    accumulate: false,
                });
                (&products[..], width)
            } else {
                (rows.data, rows.stride)
            };
            let width = if self.output.is_some() { width } else { value_dim };
            for (j, norm) in norms.iter_mut().enumerate() {
                let mut sum = isa.splat(0.0);
                for part in vectors[j * stride..][..width].chunks(I::LANES) {
                    let part = isa.load_partial(part, 0.0);
                    sum = isa.fma(part, part, sum);
                }
                *norm = isa.sum(sum).sqrt();
            }
        }
    }
}

/// Values of one head as rows whose numbers lie side by side.
#[inline(always)]
fn rows<'a, I: Isa, K: Element>(
    isa: I,
    v: &View<'a, K>,
    [batch, head]: [usize; 2],
    keys: Range<usize>,
    buffer: &'a mut Buffer,
) -> Rows<'a> {
    let key_count = v.shape()[2];
    let band = Band { keys: 0..key_count, offset: 0, left: None, right: None };
    let sequence = Sequence { index: batch, batch, queries: 0..0, first_key: 0, key_count, band };
    Rows::new(isa, v, &sequence, head, keys, true, buffer)
}

/// The columns of one head of a projection `[width, heads * value_dim]` as rows, `[value_dim][padded width]`, and the padded width.
fn columns_of(output: &[f32], heads: usize, head: usize, value_dim: usize) -> (Vec<f32>, usize) {
    let row = heads * value_dim;
    let width = padded(output.len() / row.max(1));
    let mut columns = vec![0.0; value_dim * width];
    for (i, row) in output.chunks_exact(row.max(1)).enumerate() {
        for (c, &x) in row[head * value_dim..(head + 1) * value_dim].iter().enumerate() {
            columns[c * width + i] = x;
        }
    }
    (columns, width)
}
