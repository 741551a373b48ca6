//! Sequences whose keys fit into one tile: what training on sentences uses.
//!
//! All scores of a query are there at once. So nothing is rescaled, weights are normalised before they meet the values, and results are
//! written where they belong.

pub(crate) mod backward;
pub(crate) mod forward;

use std::ops::Range;

use super::tile::{KEYS, Lanes, write_row};
use crate::Element;
use crate::output::Output;
use crate::plan::Band;
use crate::problem::{Problem, Sequence};
use crate::simd::Isa;
use crate::simd::buffer::Buffer;
use crate::simd::panel::{Panel, SkipZeros};
use crate::view::Tensors;

/// Most queries in a tile.
const WIDTH: usize = 32;
/// The same where positions decide who sees whom: the lanes of the largest tier, so that tiles hold little that is hidden.
const BANDED_WIDTH: usize = 16;
/// Most rows of queries, over the heads that share a key/value head.
const ROWS: usize = 128;

/// Whether a sequence is short. This depends on the sequence alone, so that its results do not depend on what else a call holds.
pub(crate) fn is_short<Q: Element, K: Element>(problem: &Problem<'_, Q, K>, sequence: &Sequence) -> bool {
    sequence.band.keys.len() <= KEYS && problem.group() * sequence.queries.len() <= ROWS
}

/// Where the row of lane `r` lies in a tensor: `[batch, head, position]`.
#[inline(always)]
fn place_of(sequence: &Sequence, lanes: &Lanes, r: usize) -> [usize; 3] {
    [sequence.batch, lanes.heads[r], sequence.queries.start + lanes.queries[r]]
}

/// Queries in a tile: two vectors ask for fewer loads than one. Each query's results are the same.
fn tile_width(band: &Band) -> usize {
    if band.is_unlimited() { WIDTH } else { BANDED_WIDTH }
}

/// The ranges of rows of the tiles of so many queries.
fn tile_rows(rows: usize, width: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows).step_by(width).map(move |first| first..(first + width).min(rows))
}

#[inline(always)]
fn multiply<I: Isa>(isa: I, product: Panel<'_>, skip_zeros: bool) {
    if skip_zeros {
        isa.call(SkipZeros(product));
    } else {
        isa.call(product);
    }
}

/// Computes rows of a tensor: where they lie if vectors fit there and no one waits for it, and else by way of `buffer`.
///
/// `product` has everything but `out`. Row `r` belongs to `place(r)`; rows that are `consecutive` are at consecutive positions of one head.
#[inline(always)]
fn write_product<I: Isa, T: Tensors>(
    isa: I,
    product: &Panel<'_>,
    skip_zeros: bool,
    target: &mut Output<'_, T>,
    which: usize,
    consecutive: bool,
    buffer: &mut Buffer,
    place: impl Fn(usize) -> [usize; 3],
) {
    let Panel { width, count, .. } = *product;
    if consecutive && let Some(tensors) = target.own() {
        let mut tensor = tensors.part(which);
        if tensor.shape()[3] == width
            && let Some((out, out_stride)) = tensor.rows_mut(place(0))
        {
            return multiply(isa, Panel { out, out_stride, ..*product }, skip_zeros);
        }
    }
    buffer.resize(count * width);
    multiply(isa, Panel { out: buffer, out_stride: width, ..*product }, skip_zeros);
    let mut tensors = target.access();
    let mut tensor = tensors.part(which);
    let dim = tensor.shape()[3];
    if consecutive && let Some((out, out_stride)) = tensor.rows_mut(place(0)) {
        for (r, row) in buffer.chunks_exact(width).enumerate() {
            let out = &mut out[r * out_stride..][..dim];
            for (to, from) in out.chunks_mut(I::LANES).zip(row.chunks_exact(I::LANES)) {
                isa.store_partial(isa.load(from), to);
            }
        }
        return;
    }
    for r in 0..count {
        write_row(isa, &mut tensor, place(r), 1.0, &buffer[r * width..]);
    }
}
