//! What a forward pass learns of its weights on the way, for each query of a tile: the heaviest keys and sums over all of them.

use std::ops::Range;

use super::elementary::exp_of_nonpositive;
use super::tile::{Lanes, MOST_LANES, ROWS};
use crate::problem::Sequence;
use crate::simd::{Isa, Op};
use crate::softmax::Online;

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// How many of the heaviest keys.
    pub top: usize,
    /// Whether to know the mean distance from a query's place to the keys.
    pub distance: bool,
    /// The keys whose weights are added up; ascending.
    pub marked: &'a [usize],
}

/// Where it is written, for all queries `[batch, heads, q_len]`; what is not wanted is empty.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub entropies: &'a mut [f32],
    pub distances: &'a mut [f32],
    pub masses: &'a mut [f32],
    /// `[queries, top]`, heaviest first; [`NO_KEY`] from the first one without weight on.
    pub keys: &'a mut [u32],
    /// `[queries, top]`
    pub weights: &'a mut [f32],
}

/// Stands where there is no key.
pub(crate) const NO_KEY: u32 = u32::MAX;

/// A key for each query of a vector. They are read soon after they were written, which is slow across the lines of the cache.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Rank {
    /// `-inf` where there is no key yet, `+inf` in idle lanes, which nothing enters.
    scores: [f32; MOST_LANES],
    /// As the bits of a number.
    keys: [f32; MOST_LANES],
}

/// What is known so far of the queries of a tile.
#[derive(Debug, Default)]
pub(crate) struct TileGlance {
    /// The keys with the highest scores for the queries of each vector, `[vectors][top]`, descending.
    ranks: Vec<Rank>,
    /// `sum e^(s - m) |place - key|`
    distance: [f32; ROWS],
    /// `sum e^(s - m)` over marked keys
    mass: [f32; ROWS],
}

impl TileGlance {
    /// Forgets what was known of other queries.
    #[inline(always)]
    pub fn start<I: Isa>(&mut self, _: I, wanted: &Wanted<'_>, lanes: &Lanes) {
        self.ranks.clear();
        for lane in (0..lanes.width).step_by(I::LANES) {
            let mut scores = [f32::INFINITY; MOST_LANES];
            scores[..lanes.count.saturating_sub(lane).min(I::LANES)].fill(f32::NEG_INFINITY);
            self.ranks.resize(self.ranks.len() + wanted.top, Rank { scores, keys: [0.0; MOST_LANES] });
        }
        (self.distance, self.mass) = ([0.0; ROWS], [0.0; ROWS]);
    }

    /// Takes in the scores `[keys][width]` of further keys. Of equal scores, the earlier key counts as the higher.
    #[inline(always)]
    pub fn see_scores<I: Isa>(&mut self, isa: I, wanted: &Wanted<'_>, width: usize, first_key: usize, scores: &[f32]) {
        if wanted.top == 0 {
            return;
        }
        for (lane, ranks) in (0..width).step_by(I::LANES).zip(self.ranks.chunks_exact_mut(wanted.top)) {
            let mut watch = Watch::new(isa, ranks);
            for (j, scores) in scores.chunks_exact(width).enumerate() {
                watch.see(isa, &scores[lane..], first_key + j);
            }
        }
    }

    /// To see the scores of a tile two vectors wide key by key, if heavy keys are wanted.
    #[inline(always)]
    pub fn watch<I: Isa>(&mut self, isa: I, wanted: &Wanted<'_>) -> Option<[Watch<'_, I>; 2]> {
        let (low, high) = self.ranks.split_at_mut(wanted.top);
        if wanted.top == 0 { None } else { Some([Watch::new(isa, low), Watch::new(isa, high)]) }
    }

    /// Takes in the weights `e^(s - m)` of further keys, `[keys][width]`; `factors` is what all before must be multiplied by.
    #[inline(always)]
    pub fn see_weights<I: Isa>(
        &mut self,
        isa: I,
        wanted: &Wanted<'_>,
        sequence: &Sequence,
        lanes: &Lanes,
        keys: Range<usize>,
        weights: &[f32],
        factors: &[f32; ROWS],
    ) {
        let width = lanes.width;
        if wanted.distance {
            let mut places = [0.0; ROWS];
            for (place, query) in places.iter_mut().zip(&lanes.queries[..lanes.count]) {
                *place = (*query as isize).saturating_add(sequence.band.offset).saturating_sub(keys.start as isize) as f32;
            }
            for lane in (0..width).step_by(I::LANES) {
                let place = isa.load(&places[lane..]);
                let mut sum = isa.mul(isa.load(&self.distance[lane..]), isa.load(&factors[lane..]));
                for (j, weights) in weights.chunks_exact(width).enumerate() {
                    sum = isa.fma(isa.load(&weights[lane..]), isa.abs(isa.sub(place, isa.splat(j as f32))), sum);
                }
                isa.store(sum, &mut self.distance[lane..]);
            }
        }
        if !wanted.marked.is_empty() {
            let from = wanted.marked.partition_point(|&key| key < keys.start);
            let here = wanted.marked[from..].iter().take_while(|&&key| key < keys.end);
            for lane in (0..width).step_by(I::LANES) {
                let mut sum = isa.mul(isa.load(&self.mass[lane..]), isa.load(&factors[lane..]));
                for key in here.clone() {
                    sum = isa.add(sum, isa.load(&weights[(key - keys.start) * width + lane..]));
                }
                isa.store(sum, &mut self.mass[lane..]);
            }
        }
    }

    /// Writes what is known, now that all keys have been seen. `row` is the place of a lane's query among all queries.
    #[inline(always)]
    pub fn finish<I: Isa>(
        &mut self,
        isa: I,
        wanted: &Wanted<'_>,
        lanes: &Lanes,
        online: &Online,
        row: impl Fn(usize) -> usize,
        found: &mut Found<'_>,
    ) {
        let (factors, lse) = online.finish(isa, lanes.width);
        let entropies = online.entropies(isa, lanes.width);
        for (i, Rank { scores, .. }) in self.ranks.iter_mut().enumerate() {
            let lse = isa.load(&lse[i / wanted.top * I::LANES..]);
            isa.store(exp_of_nonpositive(isa, isa.sub(isa.load(scores), lse)), scores);
        }
        for r in 0..lanes.count {
            let row = row(r);
            if let Some(to) = found.entropies.get_mut(row) {
                *to = entropies[r];
            }
            if let Some(to) = found.distances.get_mut(row) {
                *to = self.distance[r] * factors[r];
            }
            if let Some(to) = found.masses.get_mut(row) {
                *to = self.mass[r] * factors[r];
            }
            for rank in 0..wanted.top {
                // Without any key, -inf - -inf makes it NaN.
                let Rank { scores: weights, keys } = &self.ranks[r / I::LANES * wanted.top + rank];
                let weight = weights[r % I::LANES];
                let (key, weight) = if weight > 0.0 { (keys[r % I::LANES].to_bits(), weight) } else { (NO_KEY, 0.0) };
                (found.keys[row * wanted.top + rank], found.weights[row * wanted.top + rank]) = (key, weight);
            }
        }
    }
}

/// The ranks of a vector of queries, at least one for each, and the lowest scores among them.
pub(crate) struct Watch<'a, I: Isa> {
    ranks: &'a mut [Rank],
    threshold: I::Vector,
}

impl<'a, I: Isa> Watch<'a, I> {
    #[inline(always)]
    fn new(isa: I, ranks: &'a mut [Rank]) -> Self {
        let threshold = isa.load(&ranks[ranks.len() - 1].scores);
        Self { ranks, threshold }
    }

    /// Takes in the scores of a further key.
    #[inline(always)]
    pub fn see(&mut self, isa: I, scores: &[f32], key: usize) {
        if isa.any(isa.lt(self.threshold, isa.load(scores))) {
            isa.call(Insert { ranks: self.ranks, scores, key: key as u32 });
            self.threshold = isa.load(&self.ranks[self.ranks.len() - 1].scores);
        }
    }
}

struct Insert<'a> {
    ranks: &'a mut [Rank],
    scores: &'a [f32],
    key: u32,
}

impl Op for Insert<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        insert(isa, self.ranks, isa.load(self.scores), self.key);
    }
}

/// Lets scores enter the ranks, each in its own lane, if they are higher than what is there.
#[inline(always)]
fn insert<I: Isa>(isa: I, ranks: &mut [Rank], score: I::Vector, key: u32) {
    let (mut moved, mut moved_key) = (score, isa.splat(f32::from_bits(key)));
    for Rank { scores, keys } in ranks {
        let (here, key_here) = (isa.load(scores), isa.load(keys));
        // Below the rank that the score takes, everything moves down by one.
        let moves = isa.lt(here, score);
        isa.store(isa.select(moves, moved, here), scores);
        isa.store(isa.select(moves, moved_key, key_here), keys);
        (moved, moved_key) = (isa.select(moves, here, moved), isa.select(moves, key_here, moved_key));
    }
}
