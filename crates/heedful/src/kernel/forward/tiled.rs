//! A block of keys and values for a block of queries, in tile registers.
//!
//! There the products are so fast that all else would take as long, were it not done beside them: while the vectors turn the scores of one tile of
//! queries into weights, the tile unit adds up the contexts of the tile before and the scores of the next one.
//!
//! Scores are `[keys][width]` as everywhere; contexts are `[value_dim][width]`, so that weights enter the product as they lie.

use std::mem::swap;
use std::ops::Range;

use super::{QueryTile, weigh};
use crate::Element;
use crate::kernel::glance::{TileGlance, Wanted, Watch};
use crate::kernel::score::{adjust, hides, multiply};
use crate::kernel::steps::Step;
use crate::kernel::tile::{KEYS, MOST_LANES, ROWS, Rows, padded, transpose_rows};
use crate::problem::{Problem, Sequence};
use crate::simd::buffer::Buffer;
use crate::simd::tiles::{Beside, Left, PHASES, Product, Registers, Right, TERMS};
use crate::simd::{Isa, Tiles};
use crate::softmax::{Online, Weighing};

/// Buffers that one block leaves to the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    keys: Left,
    /// Transposed.
    values: Left,
    transposed: Buffer,
    /// Those of the tile whose contexts are added up, and those of the next one.
    weights: [Right; 2],
    /// Scores of every second tile; the others have a buffer already.
    scores: Buffer,
}

/// Some keys of a sequence and their values.
pub(super) struct Block<'a, 'p, Q, K> {
    pub problem: &'a Problem<'p, Q, K>,
    pub sequence: &'a Sequence,
    pub keys: Range<usize>,
    pub k: Rows<'a>,
    pub v: Rows<'a>,
}

impl<Q: Element, K: Element> Block<'_, '_, Q, K> {
    /// Adds what the block has for each tile of queries.
    #[inline(always)]
    pub fn attend<I: Isa>(
        &self,
        isa: I,
        token: Tiles,
        registers: &Registers,
        scratch: &mut Scratch,
        steps: &[Step],
        tiles: &mut [QueryTile],
        mut glances: Option<(&Wanted<'_>, &mut [TileGlance])>,
        scores: &mut [f32],
        bent: &mut Buffer,
    ) {
        let Self { problem, sequence, .. } = *self;
        let Scratch { keys, values, transposed, weights: [even_weights, odd_weights], scores: odd_scores } = scratch;
        let [dim, value_dim] = problem.dims();
        let (count, value_width) = (self.keys.len(), padded(value_dim));
        let is_ordinary = self.k.are_ordinary(isa, count, padded(dim))
            && self.v.are_ordinary(isa, count, value_width)
            && steps.iter().all(|step| tiles[step.tile].is_ordinary);
        if !is_ordinary {
            for step in steps {
                let glance = glances.as_mut().map(|(wanted, glances)| (*wanted, &mut glances[step.tile]));
                self.attend_in_vectors(isa, step, &mut tiles[step.tile], glance, scores, bent);
            }
            return;
        }
        keys.fill(token, self.k.data, self.k.stride, count, dim);
        transposed.resize(value_width * KEYS);
        transpose_rows(isa, self.v.data, self.v.stride, [count, value_width], transposed, KEYS);
        values.fill(token, transposed, KEYS, value_width, count);
        odd_scores.resize(scores.len());
        let (mut scores, mut next_scores) = (scores, &mut odd_scores[..]);
        let (mut weights, mut last_weights) = (even_weights, odd_weights);

        if let Some(first) = steps.first() {
            registers.multiply(product_of_keys(keys, first, &tiles[first.tile], scores));
        }
        for (n, step) in steps.iter().enumerate() {
            let (before, rest) = tiles.split_at_mut(step.tile);
            let (tile, after) = rest.split_first_mut().expect("a tile of its own for each step");
            let last = steps[..n].last();
            let contexts = last.map(|last| product_of_values(values, last, &mut before[last.tile], last_weights));
            let next = steps.get(n + 1);
            let next = next.map(|next| product_of_keys(keys, next, &after[next.tile - step.tile - 1], next_scores));

            let QueryTile { lanes, online, contexts: own_contexts, .. } = tile;
            let (width, count, keys) = (lanes.width, step.keys.len(), step.keys.clone());
            adjust(isa, problem, sequence, lanes, keys.clone(), step.kind, &mut scores[..count * width], bent);
            let (tile_unit, products) = ((token, registers), [next, contexts]);
            let factors = if let Some((wanted, glances)) = &mut glances {
                let (wanted, glance) = (*wanted, &mut glances[step.tile]);
                let looking = Some((wanted, &mut *glance, keys.start));
                let factors = weigh_beside::<I, true>(isa, tile_unit, products, online, scores, [count, width], weights, looking);
                glance.see_weights(isa, wanted, sequence, lanes, keys, &scores[..count * width], &factors);
                factors
            } else {
                weigh_beside::<I, false>(isa, tile_unit, products, online, scores, [count, width], weights, None)
            };
            scale_lanes(isa, own_contexts, width, &factors);
            swap(&mut scores, &mut next_scores);
            swap(&mut weights, &mut last_weights);
        }
        if let Some(last) = steps.last() {
            registers.multiply(product_of_values(values, last, &mut tiles[last.tile], last_weights));
        }
    }

    /// The same for one tile without tile registers, which would make NaN of an infinity.
    #[inline(always)]
    fn attend_in_vectors<I: Isa>(
        &self,
        isa: I,
        step: &Step,
        tile: &mut QueryTile,
        glance: Option<(&Wanted<'_>, &mut TileGlance)>,
        scores: &mut [f32],
        bent: &mut Buffer,
    ) {
        let Self { problem, sequence, .. } = *self;
        let QueryTile { lanes, queries, online, contexts, .. } = tile;
        let (count, width) = (step.keys.len(), lanes.width);
        let scores = &mut scores[..count * width];
        multiply(isa, problem, lanes, queries, self.k.skip(step.skipped), count, scores);
        adjust(isa, problem, sequence, lanes, step.keys.clone(), step.kind, scores, bent);
        let factors = weigh(isa, online, scores, sequence, lanes, step.keys.clone(), glance);
        scale_lanes(isa, contexts, width, &factors);
        // contexts[c][lane] += sum_j weights[j][lane] v[j][c], where a weight of 0 may be that of a value that nobody may look at.
        let (v, skip_zeros) = (self.v.skip(step.skipped), hides(problem, step.kind));
        for (c, context) in contexts.chunks_exact_mut(width).enumerate() {
            for lane in (0..width).step_by(I::LANES) {
                let mut sum = isa.load(&context[lane..]);
                for j in 0..count {
                    let weight = isa.load(&scores[j * width + lane..]);
                    let next = isa.fma(weight, isa.splat(v.data[j * v.stride + c]), sum);
                    sum = if skip_zeros { isa.select(isa.eq(weight, isa.splat(0.0)), sum, next) } else { next };
                }
                isa.store(sum, &mut context[lane..]);
            }
        }
    }
}

/// Keys that a round of turns takes in.
const AT_ONCE: usize = 8;
/// Scores of so many keys.
type Keys = [[f32; ROWS]; AT_ONCE];

/// What the vectors do beside the products: a tile of scores, two vectors wide, becomes weights, and these an operand.
struct Softmax<'a, I: Isa, const SPREAD: bool> {
    isa: I,
    token: Tiles,
    weighing: [Weighing<I, SPREAD>; 2],
    /// With `SPREAD`, those who see the scores before.
    watches: Option<[Watch<'a, I>; 2]>,
    first_key: usize,
    /// Those whose turn it is, and those that are to come.
    keys: Option<&'a mut Keys>,
    rest: &'a mut [Keys],
    weights: &'a mut Right,
    /// Of the first of `keys`.
    first_pair: usize,
}

impl<I: Isa, const SPREAD: bool> Softmax<'_, I, SPREAD> {
    /// Of two of the keys.
    #[inline(always)]
    fn weigh(&mut self, pair: usize) {
        let (isa, Some(keys)) = (self.isa, &mut self.keys) else { return };
        for key in [2 * pair, 2 * pair + 1] {
            for i in 0..2 {
                let scores = &mut keys[key][i * I::LANES..];
                if SPREAD && let Some(watches) = &mut self.watches {
                    watches[i].see(isa, scores, self.first_key + 2 * self.first_pair + key);
                }
                self.weighing[i].take(isa, scores);
            }
        }
    }

    #[inline(always)]
    fn put(&mut self, pair: usize) {
        let Some(keys) = &self.keys else { return };
        let ((even, _), (odd, _)) = (keys[2 * pair].as_chunks(), keys[2 * pair + 1].as_chunks());
        for i in 0..2 {
            self.weights.put(self.first_pair + pair, i, self.token.split(&even[i]), self.token.split(&odd[i]));
        }
    }

    /// Whatever is left to do.
    #[inline(always)]
    fn finish(&mut self) {
        while !self.rest.is_empty() {
            for phase in 0..PHASES {
                self.turn(phase);
            }
        }
    }
}

impl<I: Isa, const SPREAD: bool> Beside for Softmax<'_, I, SPREAD> {
    #[inline(always)]
    fn turn(&mut self, phase: usize) {
        match phase {
            0 => {
                self.keys = self.rest.split_off_first_mut();
                self.weigh(0);
            }
            1 => self.weigh(1),
            2 => {
                self.put(0);
                self.put(1);
            }
            3 => self.weigh(2),
            4 => self.weigh(3),
            _ => {
                self.put(2);
                self.put(3);
                self.first_pair += AT_ONCE / 2;
            }
        }
    }
}

/// Turns the scores of `count` keys into weights, and these into an operand, beside some products, while somebody may be looking at the scores from a
/// first key on. Returns what the contexts so far must be multiplied by.
#[inline(always)]
fn weigh_beside<I: Isa, const SPREAD: bool>(
    isa: I,
    (token, registers): (Tiles, &Registers),
    products: [Option<Product<'_>>; 2],
    online: &mut Online,
    scores: &mut [f32],
    [count, width]: [usize; 2],
    weights: &mut Right,
    looking: Option<(&Wanted<'_>, &mut TileGlance, usize)>,
) -> [f32; ROWS] {
    if width != 2 * I::LANES {
        for product in products.into_iter().flatten() {
            registers.multiply(product);
        }
        if let Some((wanted, glance, first_key)) = looking {
            glance.see_scores(isa, wanted, width, first_key, &scores[..count * width]);
        }
        let factors = online.push::<I, SPREAD>(isa, width, &mut scores[..count * width]);
        weights.fill(token, scores, width, width, count);
        return factors;
    }
    weights.resize(width, count);
    let scores = &mut scores[..count.next_multiple_of(AT_ONCE) * width];
    scores[count * width..].fill(f32::NEG_INFINITY);
    let weighing: [Weighing<I, SPREAD>; 2] = [online.weigh(isa, width, 0, scores), online.weigh(isa, width, I::LANES, scores)];
    let first_key = looking.as_ref().map_or(0, |(.., first_key)| *first_key);
    let watches = looking.and_then(|(wanted, glance, _)| glance.watch(isa, wanted));
    let (rest, _) = scores.as_chunks_mut().0.as_chunks_mut();
    let mut softmax = Softmax { isa, token, weighing, watches, first_key, keys: None, rest, weights, first_pair: 0 };
    registers.multiply_beside(products, &mut softmax);
    softmax.finish();
    let mut factors = [1.0; ROWS];
    for (i, weighing) in softmax.weighing.into_iter().enumerate() {
        isa.store(online.took(isa, i * I::LANES, weighing), &mut factors[i * I::LANES..]);
    }
    factors
}

/// `scores[j][lane] = sum_c k[j][c] q[lane][c]`
fn product_of_keys<'a>(keys: &'a Left, step: &Step, tile: &'a QueryTile, scores: &'a mut [f32]) -> Product<'a> {
    Product {
        left: keys,
        first: [step.skipped / MOST_LANES, 0],
        right: &tile.operand,
        count: step.keys.len(),
        out: scores,
        out_stride: tile.lanes.width,
        accumulate: false,
    }
}

/// `contexts[c][lane] += sum_j weights[j][lane] v[j][c]`
fn product_of_values<'a>(values: &'a Left, step: &Step, tile: &'a mut QueryTile, weights: &'a Right) -> Product<'a> {
    let width = tile.lanes.width;
    Product {
        left: values,
        first: [0, step.skipped / TERMS],
        right: weights,
        count: tile.contexts.len() / width,
        out: &mut tile.contexts,
        out_stride: width,
        accumulate: true,
    }
}

/// Multiplies each lane of `rows [..][width]` with its factor.
#[inline(always)]
fn scale_lanes<I: Isa>(isa: I, rows: &mut [f32], width: usize, factors: &[f32; ROWS]) {
    if factors[..width].iter().all(|&factor| factor == 1.0) {
        return;
    }
    for row in rows.chunks_exact_mut(width) {
        for lane in (0..width).step_by(I::LANES) {
            isa.store(isa.mul(isa.load(&row[lane..]), isa.load(&factors[lane..])), &mut row[lane..]);
        }
    }
}
