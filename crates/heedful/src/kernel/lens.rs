//! Scores and weights of any rectangle, tile by tile.

use std::ops::Range;

use super::dots::{dots, gather_queries};
use super::elementary::exp_of_nonpositive;
use super::score::{adjust, score};
use super::tile::{KEYS, Lanes, ROWS, Rows, padded, prefetch_row};
use crate::Element;
use crate::plan::Tile;
use crate::problem::{Problem, Sequence};
use crate::simd::buffer::Buffer;
use crate::simd::{Isa, Op};

/// Queries that go through the keys together, so that a tile of keys is read once for all of them.
pub(crate) const BLOCK: usize = 4 * ROWS;

/// Up to this many queries are multiplied with keys along the width of a head, where lanes of queries would be idle.
const FEW: usize = 4;
/// Keys by which a key is asked for before it is multiplied with a few queries.
const AHEAD: usize = 32;

/// Fills `out[queries][keys]` with scores; cells that no query may look at are left as they are.
pub(crate) struct Scores<'a, 'p, Q, K> {
    pub problem: &'a Problem<'p, Q, K>,
    pub sequence: &'a Sequence,
    pub head: usize,
    pub queries: Range<usize>,
    pub keys: Range<usize>,
    pub out: &'a mut [f32],
}

impl<Q: Element, K: Element> Op for Scores<'_, '_, Q, K> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { problem, sequence, head, queries, keys, out } = self;
        let (mut q, mut bent, mut buffer) = (Buffer::default(), Buffer::default(), Buffer::default());
        let (mut scores, mut lanes) = ([0.0; KEYS * ROWS], Lanes::default());
        for first in queries.clone().step_by(ROWS) {
            lanes.take_head(problem, sequence, head, first..queries.end);
            lanes.transpose(isa, &problem.q, sequence, problem.query_factor, &mut q);
            let reach = sequence.band.reach(lanes.queries());
            let (mut start, end) = (reach.start.max(keys.start), reach.end.min(keys.end));
            while start < end {
                let part = start..(start + KEYS).min(end);
                start = part.end;
                let tile = sequence.band.classify(lanes.queries(), part.clone());
                if tile == Tile::Empty {
                    continue;
                }
                let scores = &mut scores[..part.len() * lanes.width];
                let k = Rows::new(isa, &problem.k, sequence, head / problem.group(), part.clone(), false, &mut buffer);
                score(isa, problem, sequence, &lanes, &q, k, part.clone(), tile, scores, &mut bent);
                for r in 0..lanes.count {
                    let row = (lanes.queries[r] - queries.start) * keys.len();
                    for (j, scores) in part.clone().zip(scores.chunks_exact(lanes.width)) {
                        out[row + j - keys.start] = scores[r];
                    }
                }
            }
        }
    }
}

/// Some weights: those of consecutive queries, side by side in the lanes, over consecutive keys.
pub(crate) struct WeightTile<'a> {
    /// One in each lane in use.
    pub queries: Range<usize>,
    pub keys: Range<usize>,
    /// From one key's weights to the next key's: a multiple of the tier's lanes.
    pub width: usize,
    /// `[keys][width]`; 0 in idle lanes and where a query may not look.
    pub weights: &'a [f32],
}

/// What is done with the weights of a rectangle. Each of its cells that may be other than 0 comes once; keys ascend for each query.
pub(crate) trait Take {
    fn take<I: Isa>(&mut self, isa: I, tile: &WeightTile<'_>);
}

/// Hands the weights of a rectangle over, tile by tile: of several heads, their mean.
pub(crate) struct Weigh<'a, 'p, Q, K, T> {
    pub problem: &'a Problem<'p, Q, K>,
    pub sequence: &'a Sequence,
    /// `[batch, heads, q_len]`
    pub lse: &'a [f32],
    /// Multiplies the weights of each key, `[batch, heads, k_len]`.
    pub factors: Option<&'a [f32]>,
    pub heads: Range<usize>,
    pub queries: Range<usize>,
    pub keys: Range<usize>,
    pub to: &'a mut T,
}

/// Queries of one head, side by side.
#[derive(Default)]
struct QueryTile {
    lanes: Lanes,
    /// `[dim][width]`, or, of a few, `[queries][padded dim]`.
    queries: Buffer,
    /// `+inf`, which makes every weight 0, in idle lanes and for queries without keys.
    lse: Vec<f32>,
}

impl<Q: Element, K: Element, T: Take> Op for Weigh<'_, '_, Q, K, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { problem, sequence, lse, factors, heads, queries, keys, to } = self;
        let (count, band) = (heads.len(), &sequence.band);
        let mut tiles: Vec<QueryTile> = Vec::new();
        let (mut weights, mut bent, mut buffer) = (Buffer::default(), Buffer::default(), Buffer::default());
        weights.resize(KEYS * ROWS);
        // The mean over several heads, of each tile of a block.
        let mut means = vec![0.0; if count > 1 { KEYS * BLOCK } else { 0 }];
        for block in queries.clone().step_by(BLOCK) {
            let block = block..(block + BLOCK).min(queries.end);
            let reach = band.reach(block.clone());
            let (mut start, end) = (reach.start.max(keys.start), reach.end.min(keys.end));
            if start >= end {
                continue;
            }
            let few = block.len() <= FEW;
            let across = block.len().div_ceil(ROWS);
            tiles.resize_with(tiles.len().max(across * count), QueryTile::default);
            for (i, tile) in tiles[..across * count].iter_mut().enumerate() {
                tile.fill(isa, problem, sequence, lse, heads.start + i % count, block.start + i / count * ROWS..block.end, few);
            }
            while start < end {
                let part = start..(start + KEYS).min(end);
                start = part.end;
                for (h, head) in heads.clone().enumerate() {
                    let k = Rows::new(isa, &problem.k, sequence, head / problem.group(), part.clone(), few, &mut buffer);
                    for (t, tile) in tiles.iter().skip(h).step_by(count).take(across).enumerate() {
                        let queries = tile.lanes.queries();
                        let reach = band.reach(queries.clone());
                        let keys = part.start.max(reach.start)..part.end.min(reach.end);
                        let kind = band.classify(queries.clone(), keys.clone());
                        if kind == Tile::Empty {
                            continue;
                        }
                        let (k, width) = (k.skip(keys.start - part.start), tile.lanes.width);
                        let weights = &mut weights[..keys.len() * width];
                        if few {
                            let ahead = |j: usize| {
                                if keys.start + j + AHEAD < end {
                                    let key = sequence.first_key + keys.start + j + AHEAD;
                                    prefetch_row(isa, &problem.k, [sequence.batch, head / problem.group(), key]);
                                }
                            };
                            dots(isa, &tile.queries, tile.lanes.count, k, padded(problem.dims()[0]), weights, width, ahead);
                            adjust(isa, problem, sequence, &tile.lanes, keys.clone(), kind, weights, &mut bent);
                        } else {
                            score(isa, problem, sequence, &tile.lanes, &tile.queries, k, keys.clone(), kind, weights, &mut bent);
                        }
                        tile.weigh(isa, weights);
                        if let Some(factors) = factors {
                            let [_, heads, _, _] = problem.q.shape();
                            let first = (sequence.batch * heads + head) * problem.k.shape()[2] + sequence.first_key;
                            scale_keys(isa, &factors[first + keys.start..first + keys.end], width, weights);
                        }
                        if count == 1 {
                            to.take(isa, &WeightTile { queries, keys, width, weights });
                            continue;
                        }
                        let mean = &mut means[t * KEYS * ROWS..][..keys.len() * width];
                        add_part(isa, h == 0, 1.0 / count as f32, weights, mean);
                        if h + 1 == count {
                            to.take(isa, &WeightTile { queries, keys, width, weights: mean });
                        }
                    }
                }
            }
        }
    }
}

impl QueryTile {
    #[inline(always)]
    fn fill<I: Isa, Q: Element, K: Element>(
        &mut self,
        isa: I,
        problem: &Problem<'_, Q, K>,
        sequence: &Sequence,
        lse: &[f32],
        head: usize,
        queries: Range<usize>,
        few: bool,
    ) {
        self.lanes.take_head(problem, sequence, head, queries);
        if few {
            gather_queries(isa, problem, sequence, &self.lanes, &mut self.queries);
        } else {
            self.lanes.transpose(isa, &problem.q, sequence, problem.query_factor, &mut self.queries);
        }
        let [_, heads, q_len, _] = problem.q.shape();
        let first = (sequence.batch * heads + head) * q_len + sequence.queries.start + self.lanes.queries[0];
        self.lse.clear();
        self.lse.resize(self.lanes.width, f32::INFINITY);
        for (to, &lse) in self.lse.iter_mut().zip(&lse[first..first + self.lanes.count]) {
            if lse != f32::NEG_INFINITY {
                *to = lse;
            }
        }
    }

    /// Turns scores `[keys][width]` into weights.
    #[inline(always)]
    fn weigh<I: Isa>(&self, isa: I, scores: &mut [f32]) {
        for lane in (0..self.lanes.width).step_by(I::LANES) {
            let lse = isa.load(&self.lse[lane..]);
            for s in scores.chunks_exact_mut(self.lanes.width) {
                let weight = exp_of_nonpositive(isa, isa.sub(isa.load(&s[lane..]), lse));
                isa.store(weight, &mut s[lane..]);
            }
        }
    }
}

#[inline(always)]
fn scale_keys<I: Isa>(isa: I, factors: &[f32], width: usize, weights: &mut [f32]) {
    for (row, &factor) in weights.chunks_exact_mut(width).zip(factors) {
        let factor = isa.splat(factor);
        for w in row.chunks_exact_mut(I::LANES) {
            isa.store(isa.mul(isa.load(w), factor), w);
        }
    }
}

/// `sum (+)= part * weights`
#[inline(always)]
fn add_part<I: Isa>(isa: I, is_first: bool, part: f32, weights: &[f32], sum: &mut [f32]) {
    let part = isa.splat(part);
    for (w, sum) in weights.chunks_exact(I::LANES).zip(sum.chunks_exact_mut(I::LANES)) {
        let so_far = if is_first { isa.splat(0.0) } else { isa.load(sum) };
        isa.store(isa.fma(isa.load(w), part, so_far), sum);
    }
}
