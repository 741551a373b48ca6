//! The scores of a tile, with every option applied: the one place that forward, backward and lenses share.

use std::ops::Range;

use super::elementary::tanh;
use super::products::{ROWS, Rows, times};
use crate::plan::Tile;
use crate::problem::{Problem, Sequence};
use crate::simd::Isa;
use crate::{Element, View};

/// Keys in a tile.
pub(crate) const KEYS: usize = 64;

/// Which queries the lanes of a tile hold. The query heads that share a key/value head are stacked: lane `r` holds row `first + r` of
/// `[group * q_len]`.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {
    pub count: usize,
    /// Head of each lane.
    pub heads: [usize; ROWS],
    /// Query of each lane, counted in its sequence.
    pub queries: [usize; ROWS],
    slopes: [f32; ROWS],
    /// Every query in the lanes lies in this range.
    pub reach: Range<usize>,
}

impl Lanes {
    /// The lanes of the tile whose first row is `first`.
    pub fn new<Q: Element, K: Element>(problem: &Problem<'_, Q, K>, sequence: &Sequence, kv_head: usize, first: usize) -> Self {
        let q_len = sequence.queries.len();
        let group = problem.group();
        let mut place = (kv_head * group + first / q_len, first % q_len);
        let places = std::iter::from_fn(|| {
            let (head, query) = place;
            place = if query + 1 == q_len { (head + 1, 0) } else { (head, query + 1) };
            Some((head, query))
        });
        Self::of(problem, sequence, places.take(group * q_len - first))
    }

    /// The first queries of `queries` in one head.
    pub fn of_head<Q: Element, K: Element>(problem: &Problem<'_, Q, K>, sequence: &Sequence, head: usize, queries: Range<usize>) -> Self {
        Self::of(problem, sequence, queries.map(|query| (head, query)))
    }

    fn of<Q: Element, K: Element>(problem: &Problem<'_, Q, K>, sequence: &Sequence, places: impl Iterator<Item = (usize, usize)>) -> Self {
        let mut lanes = Self { count: 0, heads: [0; ROWS], queries: [0; ROWS], slopes: [0.0; ROWS], reach: 0..0 };
        for (r, (head, query)) in places.take(ROWS).enumerate() {
            lanes.count = r + 1;
            lanes.heads[r] = head;
            lanes.queries[r] = query;
            lanes.slopes[r] = problem.slope(sequence.batch, head);
            let start = if r == 0 { query } else { lanes.reach.start.min(query) };
            lanes.reach = start..lanes.reach.end.max(query + 1);
        }
        lanes
    }

    /// Copies the lanes' rows of a tensor `[batch, heads, len, dim]` into `out[c][r]`, times `factor`. Idle lanes are 0.
    pub fn load_transposed<T: Element>(&self, tensor: &View<'_, T>, sequence: &Sequence, factor: f32, out: &mut Vec<f32>) {
        let [_, _, _, dim] = tensor.shape();
        out.clear();
        out.resize(dim * ROWS, 0.0);
        let stride = tensor.layout().strides()[3];
        for r in 0..self.count {
            let row = tensor.layout().row(sequence.batch, self.heads[r], sequence.queries.start + self.queries[r]);
            for c in 0..dim {
                out[c * ROWS + r] = tensor.data()[row + c * stride].to_f32() * factor;
            }
        }
    }
}

/// Key or value rows of one head, in place if they are f32 side by side, and else copied to `buffer`.
pub(crate) fn rows<'a, T: Element>(
    tensor: &View<'a, T>,
    sequence: &Sequence,
    head: usize,
    keys: Range<usize>,
    buffer: &'a mut Vec<f32>,
) -> Rows<'a> {
    let [_, _, row_stride, stride] = tensor.layout().strides();
    let width = tensor.shape()[3];
    let start = tensor.layout().row(sequence.batch, head, sequence.first_key + keys.start);
    if stride == 1
        && let Some(data) = T::as_f32s(tensor.data())
    {
        return Rows { data: &data[start.min(data.len())..], stride: row_stride, width };
    }
    buffer.clear();
    for j in 0..keys.len() {
        let row = start + j * row_stride;
        buffer.extend((0..width).map(|c| tensor.data()[row + c * stride].to_f32()));
    }
    Rows { data: buffer, stride: width, width }
}

/// Fills `scores[j][r]` for the tile of `keys` with scores as the softmax sees them; idle lanes hold whatever. With a softcap, `bent`
/// receives `tanh(s / softcap)`.
#[inline(always)]
pub(crate) fn score<I: Isa, Q: Element, K: Element>(
    isa: I,
    problem: &Problem<'_, Q, K>,
    sequence: &Sequence,
    lanes: &Lanes,
    q_transposed: &[f32],
    k: Rows<'_>,
    keys: Range<usize>,
    tile: Tile,
    scores: &mut [f32],
    bent: &mut Vec<f32>,
) {
    times(isa, k, q_transposed, scores);
    if let Some(softcap) = problem.softcap {
        let (softcap, inverse) = (isa.splat(softcap), isa.splat(1.0 / softcap));
        bent.resize(KEYS * ROWS, 0.0);
        for (s, bent) in scores.chunks_exact_mut(I::LANES).zip(bent.chunks_exact_mut(I::LANES)) {
            let t = tanh(isa, isa.mul(isa.load(s), inverse));
            isa.store(t, bent);
            isa.store(isa.mul(t, softcap), s);
        }
    }
    if problem.alibi.is_some() {
        // Distances are taken from the tile's first key, where small integers are exact in f32.
        let place = |r: usize| (lanes.queries[r] as isize + sequence.band.offset - keys.start as isize) as f32;
        let places: [f32; ROWS] = std::array::from_fn(place);
        for (j, s) in scores.chunks_exact_mut(ROWS).enumerate() {
            for lane in (0..ROWS).step_by(I::LANES) {
                let distance = isa.abs(isa.sub(isa.load(&places[lane..]), isa.splat(j as f32)));
                let sum = isa.neg_fma(isa.load(&lanes.slopes[lane..]), distance, isa.load(&s[lane..]));
                isa.store(sum, &mut s[lane..]);
            }
        }
    }
    if let Some(bias) = &problem.bias {
        each_cell(bias, sequence, lanes, keys.clone(), scores, |s, bias| *s += bias);
    }
    if let Some(mask) = &problem.mask {
        each_cell(mask, sequence, lanes, keys.clone(), scores, |s, seen| *s = if seen { *s } else { f32::NEG_INFINITY });
    }
    if tile != Tile::Full {
        // Bounds relative to the tile: small integers, exact in f32.
        let mut bounds = [[0.0; ROWS]; 2];
        for r in 0..lanes.count {
            let visible = sequence.band.visible(lanes.queries[r]);
            bounds[0][r] = visible.start.clamp(keys.start, keys.end) as f32 - keys.start as f32;
            bounds[1][r] = visible.end.clamp(keys.start, keys.end) as f32 - keys.start as f32;
        }
        let lowest = isa.splat(f32::NEG_INFINITY);
        for (j, s) in scores.chunks_exact_mut(ROWS).enumerate() {
            let j = isa.splat(j as f32);
            for lane in (0..ROWS).step_by(I::LANES) {
                let seen = isa.and(isa.le(isa.load(&bounds[0][lane..]), j), isa.lt(j, isa.load(&bounds[1][lane..])));
                isa.store(isa.select(seen, isa.load(&s[lane..]), lowest), &mut s[lane..]);
            }
        }
    }
}

/// Calls `apply` for each score with the element of `tensor`, which is broadcast to the scores' shape, that belongs to it.
#[inline(always)]
fn each_cell<T: Copy>(
    tensor: &View<'_, T>,
    sequence: &Sequence,
    lanes: &Lanes,
    keys: Range<usize>,
    scores: &mut [f32],
    apply: impl Fn(&mut f32, T),
) {
    let stride = tensor.layout().strides()[3];
    for r in 0..lanes.count {
        let row = tensor.layout().row(sequence.batch, lanes.heads[r], sequence.queries.start + lanes.queries[r]) + keys.start * stride;
        for (j, s) in scores.chunks_exact_mut(ROWS).enumerate() {
            apply(&mut s[r], tensor.data()[row + j * stride]);
        }
    }
}
