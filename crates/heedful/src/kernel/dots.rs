//! Products of a few queries with many keys, with sums that run over the width of a head: there are fewer queries than lanes.

use super::lanes::{Scale, elementwise};
use super::tile::{Lanes, Rows, padded};
use crate::Element;
use crate::problem::{Problem, Sequence};
use crate::simd::buffer::Buffer;
use crate::simd::{Isa, Op};

/// Sums that are taken side by side, and then added up across their lanes together.
const SUMS: usize = 16;

/// The queries of a tile, times [`Problem::query_factor`], as [`dots`] reads them: `[rows][padded dim]`, with rows of 0 up to a power of two.
#[inline(always)]
pub(crate) fn gather_queries<I: Isa, Q: Element, K: Element>(
    isa: I,
    problem: &Problem<'_, Q, K>,
    sequence: &Sequence,
    lanes: &Lanes,
    to: &mut Buffer,
) {
    to.zero(lanes.count.next_power_of_two() * padded(problem.dims()[0]));
    lanes.gather(isa, &problem.q, sequence, to);
    elementwise(isa, [], [to], &Scale(problem.query_factor));
}

/// `out[j][r] = queries[r] . k[j]` for `count` queries of `width` numbers, as [`gather_queries`] leaves them, and keys that were made to be read
/// as vectors. From one key's products to the next's are `stride` numbers. `ahead` is called with each key before it is multiplied.
#[inline(always)]
pub(crate) fn dots<I: Isa>(
    isa: I,
    queries: &[f32],
    count: usize,
    k: Rows<'_>,
    width: usize,
    out: &mut [f32],
    stride: usize,
    ahead: impl Fn(usize),
) {
    for first in (0..count).step_by(4) {
        let (out, queries) = (&mut out[first..], &queries[first * width..]);
        let product = Dots { queries, k, width, out, stride, ahead: (first == 0).then_some(&ahead) };
        match count - first {
            1 => isa.call(Of::<1, _>(product)),
            2 => isa.call(Of::<2, _>(product)),
            _ => isa.call(Of::<4, _>(product)),
        }
    }
}

/// The operands of [`dots`].
struct Dots<'a, F> {
    /// `[rows][width]`
    queries: &'a [f32],
    k: Rows<'a>,
    width: usize,
    /// `[keys][stride]`
    out: &'a mut [f32],
    stride: usize,
    ahead: Option<&'a F>,
}

/// The products of `ROWS` queries: 1, 2 or 4.
struct Of<'a, const ROWS: usize, F>(Dots<'a, F>);

impl<const ROWS: usize, F: Fn(usize)> Op for Of<'_, ROWS, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Dots { queries, k, width, out, stride, ahead } = self.0;
        let count = out.len().div_ceil(stride);
        let together = SUMS / ROWS;
        for first in (0..count).step_by(together) {
            if let Some(ahead) = ahead {
                (first..(first + together).min(count)).for_each(ahead);
            }
            let mut sums = [isa.splat(0.0); SUMS];
            // Past the last key, it is read again.
            let mut keys = [0; SUMS];
            for (j, key) in keys.iter_mut().enumerate() {
                *key = (first + j).min(count - 1) * k.stride;
            }
            for c in (0..width).step_by(I::LANES) {
                for j in 0..SUMS / ROWS {
                    let key = isa.load(&k.data[keys[j] + c..]);
                    for r in 0..ROWS {
                        sums[j * ROWS + r] = isa.fma(key, isa.load(&queries[r * width + c..]), sums[j * ROWS + r]);
                    }
                }
            }
            let mut dots = [0.0; SUMS];
            add_across(isa, &mut sums);
            for i in 0..SUMS / I::LANES {
                isa.store(sums[i], &mut dots[i * I::LANES..]);
            }
            for (out, dots) in out[first * stride..].chunks_mut(stride).zip(dots.chunks_exact(ROWS)) {
                let rows = ROWS.min(out.len());
                out[..rows].copy_from_slice(&dots[..rows]);
            }
        }
    }
}

/// The sum of the lanes of each vector, in the order of the vectors, as the lanes of the first few.
#[inline(always)]
fn add_across<I: Isa>(isa: I, sums: &mut [I::Vector; SUMS]) {
    let mut left = SUMS;
    // Each round adds the upper half of every sum's lanes to the lower, and puts two sums into one vector.
    for _ in 0..I::LANES.ilog2() {
        left /= 2;
        for i in 0..left {
            let (low, high) = isa.interleave(sums[i], sums[i + left]);
            sums[i] = isa.add(low, high);
        }
    }
    // What is left are 16 / LANES vectors, with the sums in turn.
    if left == 2 {
        (sums[0], sums[1]) = isa.interleave(sums[0], sums[1]);
    }
}
