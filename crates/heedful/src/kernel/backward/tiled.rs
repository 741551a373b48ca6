//! A block of keys and values for a block of queries, in tile registers.
//!
//! While the vectors turn the scores of one tile of queries into weights and their gradients, the tile unit multiplies for its neighbours: scores and
//! gradients of weights of the next tile, gradients of queries of the tile before. Gradients of keys and values are sums over queries, which
//! pass through the caches with every addition: they are taken over four tiles at a time, a quarter of the keys beside each tile of the next four.

use std::mem::swap;
use std::ops::Range;

use super::{Block, QueryTile};
use crate::Element;
use crate::kernel::elementary::exp_of_nonpositive;
use crate::kernel::score::{adjust, slope_of_softcap};
use crate::kernel::steps::Step;
use crate::kernel::tile::{KEYS, MOST_LANES, ROWS, Rows, padded, transpose_rows};
use crate::simd::buffer::Buffer;
use crate::simd::tiles::{Beside, Left, PHASES, Product, Registers, Right, TERMS};
use crate::simd::{Isa, Tiles};

/// Tiles of queries over which gradients of keys and values are added up at once.
const GROUP: usize = 4;

/// Numbers times this must be finite: then the sum of products of two of them, over any width, is a number that tile registers take.
const HEADROOM: f32 = (1_u128 << 76) as f32;

/// Buffers that one block leaves to the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    keys: Left,
    values: Left,
    /// The keys, transposed.
    columns: Left,
    rows: Buffer,
    groups: Vec<Group>,
    /// Those of the group that is being filled and of the one before.
    lefts: [GroupScores; 2],
    /// `d_s` of this tile and of the one before.
    d_scores: [Right; 2],
    /// Scores, and gradients of weights, of every second tile; the others have buffers already.
    odd: [Buffer; 2],
}

/// The rows of some tiles of queries. Within a tile, lanes of the first vector are the even terms, and those of the second the odd ones.
#[derive(Debug, Default)]
struct Group {
    queries: Right,
    d_contexts: Right,
}

/// `p` and `d_s` of a group, `[keys][rows of the group]`.
#[derive(Debug, Default)]
struct GroupScores {
    weights: Left,
    d_scores: Left,
}

/// A group all of whose tiles have been seen, and the keys of the block for which its sums are still to be taken.
struct Pending {
    group: usize,
    keys: Range<usize>,
}

impl Scratch {
    /// Lays out a block of queries.
    #[inline(always)]
    pub fn take_queries<I: Isa>(
        &mut self,
        isa: I,
        token: Tiles,
        registers: &Registers,
        [dim, value_dim]: [usize; 2],
        tiles: &mut [QueryTile],
    ) {
        for tile in &mut *tiles {
            let QueryTile { lanes, queries, query_rows, d_contexts, contexts, operands, is_ordinary, delta, .. } = tile;
            *is_ordinary = true;
            for (rows, count, width) in
                [(&*queries, dim, ROWS), (query_rows, lanes.count, padded(dim)), (d_contexts, value_dim, ROWS), (contexts, value_dim, ROWS)]
            {
                let rows = Rows { data: rows, stride: width, column_stride: 1 };
                *is_ordinary &= rows.are_finite_times(isa, HEADROOM, count, width);
            }
            if !*is_ordinary {
                continue;
            }
            operands[0].fill(token, queries, ROWS, ROWS, dim);
            operands[1].fill(token, d_contexts, ROWS, ROWS, value_dim);
            // `D` by the product that the gradients of weights come from, so that the two cancel where one key has all the weight.
            let value_width = padded(value_dim);
            self.rows.resize(ROWS * value_width);
            transpose_rows(isa, contexts, ROWS, [value_dim, ROWS], &mut self.rows, value_width);
            self.values.fill(token, &self.rows, value_width, ROWS, value_dim);
            let mut square = [0.0; ROWS * ROWS];
            let (left, right) = (&self.values, &operands[1]);
            registers.multiply(Product { left, first: [0, 0], right, count: ROWS, out: &mut square, out_stride: ROWS, accumulate: false });
            *delta = std::array::from_fn(|r| square[r * (ROWS + 1)]);
        }
        self.groups.resize_with(self.groups.len().max(tiles.len().div_ceil(GROUP)), Group::default);
        for (group, tiles) in self.groups.iter_mut().zip(tiles.chunks(GROUP)) {
            let rows = &mut self.rows;
            lay_out(token, &mut group.queries, tiles.iter().map(|tile| &tile.query_rows[..]), padded(dim), rows);
            lay_out(token, &mut group.d_contexts, tiles.iter().map(|tile| &tile.d_context_rows[..]), padded(value_dim), rows);
        }
    }

    /// Adds what tiles of queries have to do with a block to the gradients of their queries, and to those of the block's keys and values. Does nothing, and
    /// returns false, if there are numbers that tile registers do not take.
    #[inline(always)]
    pub fn add<I: Isa, Q: Element, K: Element>(
        &mut self,
        isa: I,
        token: Tiles,
        registers: &Registers,
        block: &Block<'_, '_, Q, K>,
        steps: &[Step],
        tiles: &mut [QueryTile],
        [scores, d_weights]: [&mut [f32]; 2],
        bent: &mut Buffer,
        [d_k, d_v]: [&mut [f32]; 2],
    ) -> bool {
        let Block { problem, sequence, k, v, .. } = *block;
        let (count, [dim, value_dim]) = (block.keys.len(), problem.dims());
        let (k_width, v_width) = (padded(dim), padded(value_dim));
        let is_ordinary = k.are_finite_times(isa, HEADROOM, count, k_width)
            && v.are_finite_times(isa, HEADROOM, count, v_width)
            && tiles.iter().all(|tile| tile.is_ordinary);
        if !is_ordinary {
            return false;
        }
        let Self { keys, values, columns, rows, groups, lefts: [filling, full], d_scores: [d_scores, last_d_scores], odd } = self;
        keys.fill(token, k.data, k.stride, count, dim);
        values.fill(token, v.data, v.stride, count, value_dim);
        rows.resize(k_width * KEYS);
        transpose_rows(isa, k.data, k.stride, [count, k_width], rows, KEYS);
        columns.fill(token, rows, KEYS, k_width, count);
        let [next_scores, next_d_weights] = odd;
        next_scores.resize(scores.len());
        next_d_weights.resize(d_weights.len());
        let (mut now, mut next) = ([scores, d_weights], [&mut next_scores[..], &mut next_d_weights[..]]);
        let (mut filling, mut full, mut d_scores, mut last_d_scores) = (filling, full, d_scores, last_d_scores);
        let widths = [k_width, v_width];
        let mut group_keys = 0..0;
        let mut pending: Option<Pending> = None;

        if let Some(first) = steps.first() {
            multiply(registers, products_of_keys([keys, values], first, &tiles[first.tile], &mut now));
        }
        for (n, step) in steps.iter().enumerate() {
            let (group, last) = (step.tile / GROUP, steps[..n].last());
            if last.is_none_or(|last| last.tile / GROUP != group) {
                if let Some(rest) = pending.take() {
                    multiply(registers, full.products(&groups[rest.group], rest.keys, [d_k, d_v], widths));
                }
                swap(&mut filling, &mut full);
                pending = last.map(|last| Pending { group: last.tile / GROUP, keys: group_keys });
                let end = steps.partition_point(|step| step.tile / GROUP <= group);
                group_keys = filling.start(&steps[n..end], group * GROUP..tiles.len().min((group + 1) * GROUP));
            }
            let (before, rest) = tiles.split_at_mut(step.tile);
            let (tile, after) = rest.split_first_mut().expect("a tile of its own for each step");
            let due = pending.as_mut().map(|pending| (pending.group, pending.next()));
            let [of_weights, of_scores] = match due {
                Some((group, keys)) => full.products(&groups[group], keys, [d_k, d_v], widths).map(Some),
                None => [None, None],
            };
            let of_last = last.map(|last| product_of_scores(columns, last, last_d_scores, &mut before[last.tile]));
            let [scores_of_next, d_weights_of_next] = match steps.get(n + 1) {
                Some(step_after) => {
                    products_of_keys([keys, values], step_after, &after[step_after.tile - step.tile - 1], &mut next).map(Some)
                }
                None => [None, None],
            };
            let products = [scores_of_next, d_weights_of_next, of_last, of_weights, of_scores];

            let (count, [scores, d_weights]) = (step.keys.len(), &mut now);
            adjust(isa, problem, sequence, &tile.lanes, step.keys.clone(), step.kind, &mut scores[..count * ROWS], bent);
            let all = count.next_multiple_of(AT_ONCE) * ROWS;
            scores[count * ROWS..all].fill(f32::NEG_INFINITY);
            d_weights[count * ROWS..all].fill(0.0);
            if problem.softcap.is_some() {
                // A NaN of another call may be left there, and 0 times it is not 0.
                bent[count * ROWS..all].fill(0.0);
            }
            d_scores.resize(ROWS, count);
            let mut slopes = Slopes {
                isa,
                token,
                lse: [isa.load(&tile.lse), isa.load(&tile.lse[I::LANES..])],
                delta: [isa.load(&tile.delta), isa.load(&tile.delta[I::LANES..])],
                keys: None,
                scores: scores[..all].as_chunks_mut().0.as_chunks_mut().0,
                d_weights: d_weights[..all].as_chunks_mut().0.as_chunks_mut().0,
                bent: problem.softcap.map(|_| &bent[..all]),
                left: filling,
                block: step.tile % GROUP,
                row: step.skipped,
                right: d_scores,
                pair: 0,
            };
            registers.multiply_beside(products, &mut slopes);
            slopes.finish();
            swap(&mut now, &mut next);
            swap(&mut d_scores, &mut last_d_scores);
        }
        let Some(last) = steps.last() else { return true };
        registers.multiply(product_of_scores(columns, last, last_d_scores, &mut tiles[last.tile]));
        if let Some(rest) = pending {
            multiply(registers, full.products(&groups[rest.group], rest.keys, [d_k, d_v], widths));
        }
        multiply(registers, filling.products(&groups[last.tile / GROUP], group_keys, [d_k, d_v], widths));
        true
    }
}

impl Pending {
    /// The next keys, as many as a tile of sums has.
    fn next(&mut self) -> Range<usize> {
        let next = self.keys.start..(self.keys.start + ROWS).min(self.keys.end);
        self.keys.start = next.end;
        next
    }
}

impl GroupScores {
    /// Makes room for the steps of a group, with 0 where one of its tiles does not look. Returns the keys of the block that some tile looks at.
    fn start(&mut self, steps: &[Step], tiles: Range<usize>) -> Range<usize> {
        let keys_of = |step: &Step| step.skipped..step.skipped + step.keys.len();
        let start = steps.iter().map(|step| step.skipped).min().unwrap_or(0);
        let end = steps.iter().map(|step| keys_of(step).end).max().unwrap_or(0);
        for left in [&mut self.weights, &mut self.d_scores] {
            left.resize(KEYS, GROUP * ROWS);
            for tile in tiles.clone() {
                let keys = steps.iter().find(|step| step.tile == tile).map_or(end..end, keys_of);
                left.clear(start..keys.start, tile % GROUP);
                left.clear(keys.end..end, tile % GROUP);
            }
        }
        start..end
    }

    /// `d_k[j][c] += sum_r d_s[j][r] q[r][c]` and `d_v[j][c] += sum_r p[j][r] d_out[r][c]` for some keys of the block.
    fn products<'a>(
        &'a self,
        group: &'a Group,
        keys: Range<usize>,
        [d_k, d_v]: [&'a mut [f32]; 2],
        [k_width, v_width]: [usize; 2],
    ) -> [Product<'a>; 2] {
        let first = [keys.start / MOST_LANES, 0];
        [(&self.d_scores, &group.queries, d_k, k_width), (&self.weights, &group.d_contexts, d_v, v_width)].map(
            |(left, right, out, width)| Product {
                left,
                first,
                right,
                count: keys.len(),
                out: &mut out[keys.start * width..],
                out_stride: width,
                accumulate: true,
            },
        )
    }
}

/// Lays out the rows of some tiles of queries, which are as many as there are lanes but for the last one.
#[inline(always)]
fn lay_out<'a>(token: Tiles, to: &mut Right, tiles: impl ExactSizeIterator<Item = &'a [f32]>, width: usize, buffer: &mut Buffer) {
    let count = tiles.len() * ROWS;
    buffer.zero(count * width);
    for (rows, to) in tiles.zip(buffer.chunks_exact_mut(ROWS * width)) {
        for (r, row) in rows.chunks_exact(width).enumerate() {
            let term = 2 * (r % MOST_LANES) + r / MOST_LANES;
            to[term * width..][..width].copy_from_slice(row);
        }
    }
    to.fill(token, buffer, width, width, count);
}

fn multiply(registers: &Registers, products: [Product<'_>; 2]) {
    for product in products {
        registers.multiply(product);
    }
}

/// `s[j][lane] = sum_c k[j][c] q[lane][c]` and `d_p[j][lane] = sum_c v[j][c] d_out[lane][c]`
fn products_of_keys<'a>(lefts: [&'a Left; 2], step: &Step, tile: &'a QueryTile, outs: &'a mut [&mut [f32]; 2]) -> [Product<'a>; 2] {
    let ([k, v], [queries, d_contexts], [scores, d_weights]) = (lefts, &tile.operands, outs);
    [(k, queries, scores), (v, d_contexts, d_weights)].map(|(left, right, out)| Product {
        left,
        first: [step.skipped / MOST_LANES, 0],
        right,
        count: step.keys.len(),
        out,
        out_stride: ROWS,
        accumulate: false,
    })
}

/// `d_q[c][lane] += sum_j k[j][c] d_s[j][lane]`
fn product_of_scores<'a>(columns: &'a Left, step: &Step, d_scores: &'a Right, tile: &'a mut QueryTile) -> Product<'a> {
    Product {
        left: columns,
        first: [0, step.skipped / TERMS],
        right: d_scores,
        count: tile.d_queries.len() / ROWS,
        out: &mut tile.d_queries,
        out_stride: ROWS,
        accumulate: true,
    }
}

/// Keys that a round of turns takes in.
const AT_ONCE: usize = 4;
/// Scores of so many keys, or gradients of their weights.
type Keys = [[f32; ROWS]; AT_ONCE];

/// What the vectors do beside the products: of a tile of scores and gradients of weights become weights and gradients of scores, and these operands.
struct Slopes<'a, I: Isa> {
    isa: I,
    token: Tiles,
    lse: [I::Vector; 2],
    delta: [I::Vector; 2],
    /// Those whose turn it is.
    keys: Option<(&'a mut Keys, &'a mut Keys)>,
    /// Those that are to come.
    scores: &'a mut [Keys],
    d_weights: &'a mut [Keys],
    /// With a softcap, from the first key on.
    bent: Option<&'a [f32]>,
    left: &'a mut GroupScores,
    /// Place of the tile in its group.
    block: usize,
    /// The first of `keys` in the block, and in the step, by two.
    row: usize,
    pair: usize,
    right: &'a mut Right,
}

impl<I: Isa> Slopes<'_, I> {
    /// Computes weights, and the gradients of scores, of two of the keys.
    #[inline(always)]
    fn compute(&mut self, pair: usize) {
        let (isa, Some((scores, d_weights))) = (self.isa, &mut self.keys) else { return };
        for key in [2 * pair, 2 * pair + 1] {
            for i in 0..2 {
                let (p, d) = (&mut scores[key][i * I::LANES..], &mut d_weights[key][i * I::LANES..]);
                let weight = exp_of_nonpositive(isa, isa.sub(isa.load(p), self.lse[i]));
                let mut slope = isa.mul(weight, isa.sub(isa.load(d), self.delta[i]));
                if let Some(bent) = self.bent {
                    slope = isa.mul(slope, slope_of_softcap(isa, &bent[(2 * self.pair + key) * ROWS + i * I::LANES..]));
                }
                isa.store(weight, p);
                isa.store(slope, d);
            }
        }
    }

    #[inline(always)]
    fn put_weights(&mut self, pair: usize) {
        let Some((weights, _)) = &self.keys else { return };
        for key in [2 * pair, 2 * pair + 1] {
            let (vectors, _) = weights[key].as_chunks();
            self.left.weights.put(self.row + key, self.block, self.token.split(&vectors[0]), self.token.split(&vectors[1]));
        }
    }

    #[inline(always)]
    fn put_d_scores(&mut self, pair: usize) {
        let Some((_, d_scores)) = &self.keys else { return };
        let (even, odd) = (2 * pair, 2 * pair + 1);
        let ((even_vectors, _), (odd_vectors, _)) = (d_scores[even].as_chunks(), d_scores[odd].as_chunks());
        let even_splits = [self.token.split(&even_vectors[0]), self.token.split(&even_vectors[1])];
        let odd_splits = [self.token.split(&odd_vectors[0]), self.token.split(&odd_vectors[1])];
        self.left.d_scores.put(self.row + even, self.block, even_splits[0], even_splits[1]);
        self.left.d_scores.put(self.row + odd, self.block, odd_splits[0], odd_splits[1]);
        for i in 0..2 {
            self.right.put(self.pair + pair, i, even_splits[i], odd_splits[i]);
        }
    }

    /// Whatever is left to do.
    #[inline(always)]
    fn finish(&mut self) {
        while !self.scores.is_empty() {
            for phase in 0..PHASES {
                self.turn(phase);
            }
        }
    }
}

impl<I: Isa> Beside for Slopes<'_, I> {
    #[inline(always)]
    fn turn(&mut self, phase: usize) {
        match phase {
            0 => {
                self.keys = self.scores.split_off_first_mut().zip(self.d_weights.split_off_first_mut());
                self.compute(0);
            }
            1 => self.put_weights(0),
            2 => self.put_d_scores(0),
            3 => self.compute(1),
            4 => self.put_weights(1),
            _ => {
                self.put_d_scores(1);
                (self.row, self.pair) = (self.row + AT_ONCE, self.pair + AT_ONCE / 2);
            }
        }
    }
}
