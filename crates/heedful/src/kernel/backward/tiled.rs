//! A block of keys and values for a block of queries, in tile registers.
//!
//! While the vectors turn the scores of one tile of queries into weights and their gradients, the tile unit multiplies for its neighbours: scores and
//! gradients of weights of the next tile, gradients of queries of the tile before. Gradients of keys and values are sums over queries, which
//! pass through the caches with every addition: they are taken over four tiles at a time, a quarter of the keys beside each tile of the next four.

use std::mem::swap;
use std::ops::Range;

use super::{Block, QueryTile, slope_of_softcap};
use crate::Element;
use crate::kernel::elementary::exp_of_nonpositive;
use crate::kernel::score::adjust;
use crate::kernel::steps::{Pace, Step};
use crate::kernel::tile::{KEYS, MOST_LANES, ROWS, Rows, padded, transpose_rows};
use crate::simd::buffer::Buffer;
use crate::simd::tiles::{Beside, Left, Product, Registers, Right, TERMS};
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
            let are_ordinary = |rows: &[f32], count: usize, width: usize| {
                Rows { data: rows, stride: width, column_stride: 1 }.are_finite_times(isa, HEADROOM, count, width)
            };
            *is_ordinary = are_ordinary(queries, dim, ROWS)
                && are_ordinary(query_rows, lanes.count, padded(dim))
                && are_ordinary(d_contexts, value_dim, ROWS)
                && are_ordinary(contexts, value_dim, ROWS);
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
            for (to, width, is_query) in [(&mut group.queries, padded(dim), true), (&mut group.d_contexts, padded(value_dim), false)] {
                self.rows.zero(tiles.len() * ROWS * width);
                for (tile, to) in tiles.iter().zip(self.rows.chunks_exact_mut(ROWS * width)) {
                    let rows = if is_query { &tile.query_rows } else { &tile.d_context_rows };
                    for (r, row) in rows.chunks_exact(width).enumerate() {
                        to[(2 * (r % MOST_LANES) + r / MOST_LANES) * width..][..width].copy_from_slice(row);
                    }
                }
                to.fill(token, &self.rows, width, width, tiles.len() * ROWS);
            }
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
            && steps.iter().all(|step| tiles[step.tile].is_ordinary);
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
            products_of_keys([keys, values], first, &tiles[first.tile], &mut now)
                .into_iter()
                .for_each(|product| registers.multiply(product));
        }
        for (n, step) in steps.iter().enumerate() {
            let (group, last) = (step.tile / GROUP, steps[..n].last());
            if last.is_none_or(|last| last.tile / GROUP != group) {
                if let Some(rest) = pending.take() {
                    full.products(&groups[rest.group], rest.keys, [d_k, d_v], widths)
                        .into_iter()
                        .for_each(|product| registers.multiply(product));
                }
                swap(&mut filling, &mut full);
                pending = last.map(|last| Pending { group: last.tile / GROUP, keys: group_keys });
                let members = steps[n..].iter().take_while(|step| step.tile / GROUP == group);
                group_keys = filling.start(members, group, tiles.len());
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
            let products = [of_weights, of_scores, of_last, scores_of_next, d_weights_of_next];

            let (pairs, [scores, d_weights]) = (step.keys.len().div_ceil(2), &mut now);
            let (used, all) = (step.keys.len() * ROWS, 2 * pairs * ROWS);
            adjust(isa, problem, sequence, &tile.lanes, step.keys.clone(), step.kind, &mut scores[..used], bent);
            scores[used..all].fill(f32::NEG_INFINITY);
            d_weights[used..all].fill(0.0);
            d_scores.resize(ROWS, step.keys.len());
            let lanes = |numbers: &[f32; ROWS]| [isa.load(numbers), isa.load(&numbers[I::LANES..])];
            let mut slopes = Slopes {
                isa,
                token,
                lse: lanes(&tile.lse),
                delta: lanes(&tile.delta),
                scores: &mut scores[..all],
                d_weights: &mut d_weights[..all],
                bent: problem.softcap.map(|_| &bent[..all]),
                left: filling,
                block: step.tile % GROUP,
                first_row: step.skipped,
                right: d_scores,
                pair: 0,
                pace: Pace::new(pairs, &products),
            };
            registers.multiply_beside(products, &mut slopes);
            slopes.take_until(pairs);
            swap(&mut now, &mut next);
            swap(&mut d_scores, &mut last_d_scores);
        }
        let Some(last) = steps.last() else { return true };
        registers.multiply(product_of_scores(columns, last, last_d_scores, &mut tiles[last.tile]));
        if let Some(rest) = pending {
            full.products(&groups[rest.group], rest.keys, [d_k, d_v], widths).into_iter().for_each(|product| registers.multiply(product));
        }
        filling
            .products(&groups[last.tile / GROUP], group_keys, [d_k, d_v], widths)
            .into_iter()
            .for_each(|product| registers.multiply(product));
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
    /// Makes room for the steps of a group, with 0 where a tile does not look. Returns the keys of the block that some tile looks at.
    fn start<'a>(&mut self, steps: impl Iterator<Item = &'a Step> + Clone, group: usize, tiles: usize) -> Range<usize> {
        let keys_of = |step: &Step| step.skipped..step.skipped + step.keys.len();
        let start = steps.clone().map(|step| keys_of(step).start).min().unwrap_or(0);
        let end = steps.clone().map(|step| keys_of(step).end).max().unwrap_or(0);
        for left in [&mut self.weights, &mut self.d_scores] {
            left.resize(KEYS, GROUP * ROWS);
            for tile in (group * GROUP..tiles).take(GROUP) {
                let keys = steps.clone().find(|step| step.tile == tile).map_or(end..end, keys_of);
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

/// What the vectors do beside the products: of a tile of scores and gradients of weights become weights and gradients of scores, and these operands.
struct Slopes<'a, I: Isa> {
    isa: I,
    token: Tiles,
    lse: [I::Vector; 2],
    delta: [I::Vector; 2],
    /// `[keys][2 LANES]`
    scores: &'a mut [f32],
    d_weights: &'a mut [f32],
    /// With a softcap.
    bent: Option<&'a [f32]>,
    left: &'a mut GroupScores,
    /// Place of the tile in its group.
    block: usize,
    /// Keys of the block before the first.
    first_row: usize,
    right: &'a mut Right,
    /// The next two keys.
    pair: usize,
    pace: Pace,
}

impl<I: Isa> Slopes<'_, I> {
    #[inline(always)]
    fn take_until(&mut self, end: usize) {
        let isa = self.isa;
        while self.pair < end {
            let at = self.pair * 4 * I::LANES;
            let (p, d) = (&mut self.scores[at..][..4 * I::LANES], &mut self.d_weights[at..][..4 * I::LANES]);
            for i in 0..4 {
                let (p, d) = (&mut p[i * I::LANES..], &mut d[i * I::LANES..]);
                let weight = exp_of_nonpositive(isa, isa.sub(isa.load(p), self.lse[i % 2]));
                let mut slope = isa.mul(weight, isa.sub(isa.load(d), self.delta[i % 2]));
                if let Some(bent) = self.bent {
                    slope = isa.mul(slope, slope_of_softcap(isa, &bent[at + i * I::LANES..]));
                }
                isa.store(weight, p);
                isa.store(slope, d);
            }
            for i in 0..2 {
                let row = self.first_row + 2 * self.pair + i;
                for (left, numbers) in [(&mut self.left.weights, &*p), (&mut self.left.d_scores, &*d)] {
                    let (low, high) = (&numbers[2 * i * I::LANES..], &numbers[(2 * i + 1) * I::LANES..]);
                    if let (Some(low), Some(high)) = (low.first_chunk(), high.first_chunk()) {
                        left.put(self.token, row, self.block, low, high);
                    }
                }
                let (even, odd) = (&d[i * I::LANES..], &d[(2 + i) * I::LANES..]);
                if let (Some(even), Some(odd)) = (even.first_chunk(), odd.first_chunk()) {
                    self.right.put(self.token, self.pair, i, even, odd);
                }
            }
            self.pair += 1;
        }
    }
}

impl<I: Isa> Beside for Slopes<'_, I> {
    #[inline(always)]
    fn turn(&mut self) {
        let end = self.pace.next();
        self.take_until(end);
    }
}
