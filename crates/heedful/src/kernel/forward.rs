//! A block of queries against all the keys they may look at, with or without a glance at the weights on the way.

mod tiled;

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::glance::{Found, TileGlance, Wanted};
use super::lanes::{Scale, elementwise};
use super::score::{hides, score};
use super::steps::{Step, plan, tiles_pay};
use super::tile::{KEYS, Lanes, ROWS, Rows, padded, transpose_rows, write_row};
use crate::problem::{Problem, Sequence};
use crate::simd::buffer::Buffer;
use crate::simd::panel::{Panel, SkipZeros};
use crate::simd::tiles::{Right, TERMS};
use crate::simd::{Isa, Op, Tier};
use crate::softmax::Online;
use crate::{Element, ViewMut};

/// Rows of queries that go through the keys together, so that a tile of keys and values is read once for all of them. In tile registers products
/// are fast enough for the laying out of keys and values to show: it is shared by more rows.
pub(crate) fn block<Q: Element, K: Element>(problem: &Problem<'_, Q, K>) -> usize {
    if problem.tier == Tier::Amx { 16 * ROWS } else { 4 * ROWS }
}

/// Buffers that one block leaves to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    tiles: Vec<QueryTile>,
    glances: Vec<TileGlance>,
    steps: Vec<Step>,
    scores: Buffer,
    bent: Buffer,
    k: Buffer,
    v: Buffer,
    tiled: tiled::Scratch,
    rows: Buffer,
}

/// Queries side by side and what is known of their result so far.
#[derive(Debug, Default)]
struct QueryTile {
    lanes: Lanes,
    /// `[dim][width]`
    queries: Buffer,
    /// The same for tile registers, unless there are numbers that those do not take.
    operand: Right,
    is_ordinary: bool,
    online: Online,
    /// `[count][padded value_dim]`; from tile registers `[padded value_dim][width]`
    contexts: Buffer,
}

/// Turns scores into weights over the largest so far, on the way to which a glance sees both. Returns what the contexts so far must be multiplied by.
#[inline(always)]
fn weigh<I: Isa>(
    isa: I,
    online: &mut Online,
    scores: &mut [f32],
    sequence: &Sequence,
    lanes: &Lanes,
    keys: Range<usize>,
    glance: Option<(&Wanted<'_>, &mut TileGlance)>,
) -> [f32; ROWS] {
    let Some((wanted, glance)) = glance else {
        return online.push::<I, false>(isa, lanes.width, scores);
    };
    glance.see_scores(isa, wanted, lanes.width, keys.start, scores);
    let factors = online.push::<I, true>(isa, lanes.width, scores);
    glance.see_weights(isa, wanted, sequence, lanes, keys, scores, &factors);
    factors
}

/// Where results go: contexts, and log-sum-exps `[batch, heads, q_len]`.
pub(crate) type Target<'a> = (ViewMut<'a>, Option<&'a mut [f32]>);

/// Computes contexts and log-sum-exps of up to [`BLOCK`] rows of a sequence, a row being a query of one of the heads that share a key/value
/// head.
pub(crate) struct Forward<'a, 'p, Q, K> {
    pub problem: &'a Problem<'p, Q, K>,
    pub sequence: &'a Sequence,
    pub kv_head: usize,
    pub rows: Range<usize>,
    pub scratch: &'a mut Scratch,
    pub target: &'a Mutex<Target<'p>>,
}

impl<Q: Element, K: Element> Op for Forward<'_, '_, Q, K> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        self.attend(isa, None);
    }
}

/// [`Forward`], and what is wanted to be known of the weights.
pub(crate) struct ForwardWithGlance<'a, 'p, Q, K> {
    pub forward: Forward<'a, 'p, Q, K>,
    pub wanted: Wanted<'a>,
    pub found: &'a Mutex<Found<'p>>,
}

impl<Q: Element, K: Element> Op for ForwardWithGlance<'_, '_, Q, K> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        self.forward.attend(isa, Some((&self.wanted, self.found)));
    }
}

impl<Q: Element, K: Element> Forward<'_, '_, Q, K> {
    #[inline(always)]
    fn attend<I: Isa>(self, isa: I, glance: Option<(&Wanted<'_>, &Mutex<Found<'_>>)>) {
        let Self { problem, sequence, kv_head, rows, .. } = self;
        let Scratch { tiles, glances, steps, scores, bent, k, v, tiled, rows: context_rows } = self.scratch;
        let (band, [dim, value_dim]) = (&sequence.band, problem.dims());
        let value_width = padded(value_dim);
        let registers = isa.tiles().filter(|_| tiles_pay(problem, sequence)).map(|tiles| (tiles, tiles.open()));
        tiles.resize_with(tiles.len().max(rows.len().div_ceil(ROWS)), QueryTile::default);
        let tiles = &mut tiles[..rows.len().div_ceil(ROWS)];
        for (tile, first) in tiles.iter_mut().zip(rows.clone().step_by(ROWS)) {
            tile.lanes.take_rows(problem, sequence, kv_head, first..rows.end);
            tile.lanes.transpose(isa, &problem.q, sequence, problem.query_factor, &mut tile.queries);
            tile.online = Online::default();
            let width = tile.lanes.width;
            tile.contexts.resize(width * value_width);
            if let Some((tiles, _)) = registers {
                tile.is_ordinary = Rows { data: &tile.queries, stride: width, column_stride: 1 }.are_ordinary(isa, dim, width);
                tile.operand.fill(tiles, &tile.queries, width, width, dim);
                tile.contexts.fill(0.0);
            }
        }
        scores.resize(KEYS * ROWS);
        if let Some((wanted, _)) = glance {
            glances.resize_with(glances.len().max(tiles.len()), TileGlance::default);
            for (glance, tile) in glances.iter_mut().zip(&*tiles) {
                glance.start(isa, wanted, &tile.lanes);
            }
        }

        let group = problem.group();
        let reach = band.reach(rows.start / group..(rows.end - 1) / group + 1);
        let mut start = reach.start;
        while start < reach.end {
            let block_keys = start..(start + KEYS).min(reach.end);
            start = block_keys.end;
            let block_k = Rows::new(isa, &problem.k, sequence, kv_head, block_keys.clone(), registers.is_some(), k);
            let block_v = Rows::new(isa, &problem.v, sequence, kv_head, block_keys.clone(), true, v);
            let whole = if registers.is_some() { TERMS } else { 1 };
            plan(steps, problem, sequence, block_keys.clone(), whole, tiles.iter().map(|tile| &tile.lanes));
            if let Some((token, registers)) = &registers {
                let block = tiled::Block { problem, sequence, keys: block_keys, k: block_k, v: block_v };
                let glances = glance.map(|(wanted, _)| (wanted, &mut glances[..]));
                block.attend(isa, *token, registers, tiled, steps, tiles, glances, scores, bent);
                continue;
            }
            let mut is_ordinary = None;
            for Step { tile, keys, skipped, kind } in &*steps {
                let QueryTile { lanes, queries, online, contexts, .. } = &mut tiles[*tile];
                let (k, v) = (block_k.skip(*skipped), block_v.skip(*skipped));
                let width = lanes.width;
                let scores = &mut scores[..keys.len() * width];
                score(isa, problem, sequence, lanes, queries, k, keys.clone(), *kind, scores, bent);
                let is_first = online.is_empty();
                let factors =
                    weigh(isa, online, scores, sequence, lanes, keys.clone(), glance.map(|(wanted, _)| (wanted, &mut glances[*tile])));
                if !is_first {
                    for (context, factor) in contexts.chunks_exact_mut(value_width.max(1)).zip(factors) {
                        if factor != 1.0 {
                            elementwise(isa, [], [context], &Scale(factor));
                        }
                    }
                }
                let product = Panel {
                    width: value_width,
                    depth: keys.len(),
                    count: lanes.count,
                    rows: v.data,
                    row_stride: v.stride,
                    scalars: scores,
                    scalar_strides: [width, 1],
                    out: contexts,
                    out_stride: value_width,
                    accumulate: !is_first,
                };
                if hides(problem, *kind) && !*is_ordinary.get_or_insert_with(|| block_v.are_ordinary(isa, block_keys.len(), value_width)) {
                    isa.call(SkipZeros(product));
                } else {
                    isa.call(product);
                }
            }
        }

        let [_, heads, q_len, _] = problem.q.shape();
        if let Some((wanted, found)) = glance {
            let found = &mut *found.lock().unwrap_or_else(PoisonError::into_inner);
            for (tile, glance) in tiles.iter().zip(glances) {
                let row =
                    |r: usize| (sequence.batch * heads + tile.lanes.heads[r]) * q_len + sequence.queries.start + tile.lanes.queries[r];
                glance.finish(isa, wanted, &tile.lanes, &tile.online, row, found);
            }
        }
        let (out, out_lse) = &mut *self.target.lock().unwrap_or_else(PoisonError::into_inner);
        for tile in tiles {
            if tile.online.is_empty() {
                tile.contexts.fill(0.0);
            }
            if registers.is_some() {
                let width = tile.lanes.width;
                context_rows.resize(width * value_width);
                transpose_rows(isa, &tile.contexts, width, [value_width, width], context_rows, value_width);
                std::mem::swap(context_rows, &mut tile.contexts);
            }
            let (factors, lse) = tile.online.finish(isa, tile.lanes.width);
            for r in 0..tile.lanes.count {
                let (head, position) = (tile.lanes.heads[r], sequence.queries.start + tile.lanes.queries[r]);
                write_row(isa, out, [sequence.batch, head, position], factors[r], &tile.contexts[r * value_width..]);
                if let Some(out_lse) = out_lse {
                    out_lse[(sequence.batch * heads + head) * q_len + position] = lse[r];
                }
            }
        }
    }
}
