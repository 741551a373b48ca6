//! The scores of a tile, with every option applied: the one place that forward, backward and lenses share.
//!
//! Scores are in base e, although base 2 would save the softmax an operation: the log-sum-exp that leaves the engine is in base e, and where
//! one score outweighs all others, it then equals that score exactly and the backward pass finds the weight 1 again, however large it is.

use std::ops::Range;

use super::elementary::tanh;
use super::tile::{KEYS, Lanes, ROWS, Rows};
use crate::plan::Tile;
use crate::problem::{Problem, Sequence};
use crate::simd::Isa;
use crate::simd::buffer::Buffer;
use crate::simd::panel::Panel;
use crate::{Element, View};

/// What positions and the mask leave of a tile. A mask is read up to the first query that it leaves something.
#[inline(always)]
pub(crate) fn classify<Q: Element, K: Element>(
    problem: &Problem<'_, Q, K>,
    sequence: &Sequence,
    lanes: &Lanes,
    keys: Range<usize>,
) -> Tile {
    let tile = sequence.band.classify(lanes.queries(), keys.clone());
    match &problem.mask {
        Some(mask) if tile != Tile::Empty && !leaves_any(mask, sequence, lanes, keys) => Tile::Empty,
        _ => tile,
    }
}

/// Whether the mask leaves some cell of a tile.
fn leaves_any(mask: &View<'_, bool>, sequence: &Sequence, lanes: &Lanes, keys: Range<usize>) -> bool {
    mask_rows(mask, sequence, lanes, keys).any(|(row, stride)| fold(row, stride, false, |any, cell| any | cell))
}

/// Whether the mask leaves all cells of a tile.
fn leaves_all(mask: &View<'_, bool>, sequence: &Sequence, lanes: &Lanes, keys: Range<usize>) -> bool {
    mask_rows(mask, sequence, lanes, keys).all(|(row, stride)| fold(row, stride, true, |all, cell| all & cell))
}

/// For each query of a tile, the mask from its first key to its last, and how far apart keys are.
fn mask_rows<'a>(
    mask: &View<'a, bool>,
    sequence: &Sequence,
    lanes: &Lanes,
    keys: Range<usize>,
) -> impl Iterator<Item = (&'a [bool], usize)> {
    let stride = mask.layout().strides()[3];
    (0..lanes.count).map(move |r| {
        let row = lanes.row(mask, sequence, r);
        (&mask.data()[row + keys.start * stride..=row + (keys.end - 1) * stride], stride.max(1))
    })
}

/// Without a way out in the midst of a row, so that the compiler reads many cells at a time.
fn fold(row: &[bool], stride: usize, start: bool, join: impl Fn(bool, bool) -> bool) -> bool {
    if stride == 1 {
        row.iter().fold(start, |so_far, &cell| join(so_far, cell))
    } else {
        row.iter().step_by(stride).fold(start, |so_far, &cell| join(so_far, cell))
    }
}

/// Whether weights of 0 in a tile may stand for values that a query may not look at.
pub(crate) fn hides<Q, K>(problem: &Problem<'_, Q, K>, tile: Tile) -> bool {
    tile != Tile::Full || problem.mask.is_some() || problem.bias.is_some()
}

/// Fills `scores[j][r]` for the tile of `keys` with scores as the softmax sees them; idle lanes hold whatever. With a softcap, `bent`
/// receives `tanh(s / softcap)`.
///
/// `queries` are `[dim][width]`, times [`Problem::query_factor`].
#[inline(always)]
pub(crate) fn score<I: Isa, Q: Element, K: Element>(
    isa: I,
    problem: &Problem<'_, Q, K>,
    sequence: &Sequence,
    lanes: &Lanes,
    queries: &[f32],
    k: Rows<'_>,
    keys: Range<usize>,
    tile: Tile,
    scores: &mut [f32],
    bent: &mut Buffer,
) {
    multiply(isa, problem, lanes, queries, k, keys.len(), scores);
    adjust(isa, problem, sequence, lanes, keys, tile, scores, bent);
}

/// The products of queries and keys alone, `scores[j][r]`, of the first `count` keys; see [`score`].
#[inline(always)]
pub(crate) fn multiply<I: Isa, Q: Element, K: Element>(
    isa: I,
    problem: &Problem<'_, Q, K>,
    lanes: &Lanes,
    queries: &[f32],
    k: Rows<'_>,
    count: usize,
    scores: &mut [f32],
) {
    isa.call(Panel {
        width: lanes.width,
        depth: problem.dims()[0],
        count,
        rows: queries,
        row_stride: lanes.width,
        scalars: k.data,
        scalar_strides: [k.column_stride, k.stride],
        out: scores,
        out_stride: lanes.width,
        accumulate: false,
    });
}

/// Turns products of queries and keys, `scores[j][r]`, into scores as the softmax sees them; see [`score`].
#[inline(always)]
pub(crate) fn adjust<I: Isa, Q: Element, K: Element>(
    isa: I,
    problem: &Problem<'_, Q, K>,
    sequence: &Sequence,
    lanes: &Lanes,
    keys: Range<usize>,
    tile: Tile,
    scores: &mut [f32],
    bent: &mut Buffer,
) {
    if keys.is_empty() {
        return;
    }
    let width = lanes.width;
    if let Some(softcap) = problem.softcap {
        bent.resize(KEYS * ROWS);
        for (s, bent) in scores.chunks_exact_mut(I::LANES).zip(bent.chunks_exact_mut(I::LANES)) {
            let t = tanh(isa, isa.load(s));
            isa.store(t, bent);
            isa.store(isa.mul(t, isa.splat(softcap)), s);
        }
    }
    if problem.alibi.is_some() {
        // Distances are taken from the tile's first key, where small integers are exact in f32.
        let place = |r: usize| (lanes.queries[r] as isize).saturating_add(sequence.band.offset).saturating_sub(keys.start as isize) as f32;
        let places: [f32; ROWS] = std::array::from_fn(place);
        let slopes = lanes.slopes();
        for (j, s) in scores.chunks_exact_mut(width).enumerate() {
            for lane in (0..width).step_by(I::LANES) {
                let distance = isa.abs(isa.sub(isa.load(&places[lane..]), isa.splat(j as f32)));
                let sum = isa.neg_fma(isa.load(&slopes[lane..]), distance, isa.load(&s[lane..]));
                isa.store(sum, &mut s[lane..]);
            }
        }
    }
    if let Some(bias) = &problem.bias {
        each_cell(bias, sequence, lanes, keys.clone(), scores, |s, bias| *s += bias);
    }
    if let Some(mask) = &problem.mask
        && !leaves_all(mask, sequence, lanes, keys.clone())
    {
        each_cell(mask, sequence, lanes, keys.clone(), scores, |s, seen| *s = if seen { *s } else { f32::NEG_INFINITY });
    }
    if tile != Tile::Full {
        hide(isa, sequence, lanes, keys, scores);
    }
}

/// The derivative of `softcap tanh(s / softcap)` by `s`, from what [`score`] left of the hyperbolic tangent.
#[inline(always)]
pub(crate) fn slope_of_softcap<I: Isa>(isa: I, bent: &[f32]) -> I::Vector {
    let t = isa.load(bent);
    isa.neg_fma(t, t, isa.splat(1.0))
}

/// The largest of the scores `[keys][width]` of each lane from `lane` on; `-inf` if there are none. NaN is passed over.
#[inline(always)]
pub(crate) fn largest<I: Isa>(isa: I, scores: &[f32], width: usize, lane: usize) -> I::Vector {
    // Four at a time side by side, for the sake of latency.
    let mut most = [isa.splat(f32::NEG_INFINITY); 4];
    let mut fours = scores.chunks_exact(4 * width);
    for four in fours.by_ref() {
        for i in 0..4 {
            most[i] = isa.max(isa.load(&four[i * width + lane..]), most[i]);
        }
    }
    for scores in fours.remainder().chunks_exact(width) {
        most[0] = isa.max(isa.load(&scores[lane..]), most[0]);
    }
    isa.max(isa.max(most[0], most[1]), isa.max(most[2], most[3]))
}

/// Sets the scores outside of the band to -inf.
#[inline(always)]
fn hide<I: Isa>(isa: I, sequence: &Sequence, lanes: &Lanes, keys: Range<usize>, scores: &mut [f32]) {
    /// Outside of any tile.
    const FAR: isize = 1 << 20;
    // Bounds relative to the tile: integers so small that they are exact in f32, and so are their sums with the steps from query to query.
    let relative = |key: isize| key.saturating_sub(keys.start as isize).clamp(-FAR, FAR);
    let band = &sequence.band;
    let [first_key, end_of_keys] = [band.keys.start, band.keys.end].map(|key| relative(key as isize));
    let [left, right] = band.sides(lanes.queries[0]).map(|side| side.map(relative));
    let steps = lanes.queries.map(|query| query.wrapping_sub(lanes.queries[0]) as i32 as f32);
    let (mut starts, mut ends) = ([first_key as f32; ROWS], [end_of_keys as f32; ROWS]);
    for lane in (0..lanes.width).step_by(I::LANES) {
        let steps = isa.load(&steps[lane..]);
        if let Some(left) = left {
            let start = isa.max(isa.add(steps, isa.splat(left as f32)), isa.load(&starts[lane..]));
            isa.store(start, &mut starts[lane..]);
        }
        if let Some(right) = right {
            let end = isa.min(isa.add(steps, isa.splat(right as f32)), isa.load(&ends[lane..]));
            isa.store(end, &mut ends[lane..]);
        }
    }
    // The keys that all lanes see.
    let last = (lanes.queries[lanes.count - 1] - lanes.queries[0]) as isize;
    let last_start = left.map_or(first_key, |left| first_key.max(left + last));
    let first_end = right.map_or(end_of_keys, |right| end_of_keys.min(right));
    let lowest = isa.splat(f32::NEG_INFINITY);
    for (j, s) in scores.chunks_exact_mut(lanes.width).enumerate() {
        if (last_start..first_end).contains(&(j as isize)) {
            continue;
        }
        let j = isa.splat(j as i32 as f32);
        for lane in (0..lanes.width).step_by(I::LANES) {
            let seen = isa.and(isa.le(isa.load(&starts[lane..]), j), isa.lt(j, isa.load(&ends[lane..])));
            isa.store(isa.select(seen, isa.load(&s[lane..]), lowest), &mut s[lane..]);
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
        let row = lanes.row(tensor, sequence, r) + keys.start * stride;
        for (j, s) in scores.chunks_exact_mut(lanes.width).enumerate() {
            apply(&mut s[r], tensor.data()[row + j * stride]);
        }
    }
}
