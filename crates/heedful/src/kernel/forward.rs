//! One tile of queries against all the keys they may look at.

use super::products::{ROWS, add_transposed_times};
use super::score::{KEYS, Lanes, rows, score};
use crate::Element;
use crate::plan::Tile;
use crate::problem::{Problem, Sequence};
use crate::simd::{Isa, Op};
use crate::softmax::Online;

/// Buffers that one tile leaves to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    q: Vec<f32>,
    scores: Vec<f32>,
    bent: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    /// The contexts, `[value_dim][ROWS]`.
    pub out: Vec<f32>,
    /// The log-sum-exps.
    pub lse: [f32; ROWS],
}

/// Computes [`Scratch::out`] and [`Scratch::lse`] of one tile of queries.
pub(crate) struct Forward<'a, 'p, Q, K> {
    pub problem: &'a Problem<'p, Q, K>,
    pub sequence: &'a Sequence,
    pub kv_head: usize,
    pub lanes: &'a Lanes,
    pub scratch: &'a mut Scratch,
}

impl<Q: Element, K: Element> Op for Forward<'_, '_, Q, K> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { problem, sequence, kv_head, lanes, scratch } = self;
        let [_, value_dim] = problem.dims();
        lanes.load_transposed(&problem.q, sequence, problem.scale, &mut scratch.q);
        scratch.scores.resize(KEYS * ROWS, 0.0);
        scratch.out.clear();
        scratch.out.resize(value_dim * ROWS, 0.0);
        let mut online = [Online::new(isa); 2];
        let reach = sequence.band.reach(lanes.reach.clone());
        let mut start = reach.start;
        while start < reach.end {
            let keys = start..(start + KEYS).min(reach.end);
            start = keys.end;
            let tile = sequence.band.classify(lanes.reach.clone(), keys.clone());
            if tile == Tile::Empty {
                continue;
            }
            let scores = &mut scratch.scores[..keys.len() * ROWS];
            let k = rows(&problem.k, sequence, kv_head, keys.clone(), &mut scratch.k);
            score(isa, problem, sequence, lanes, &scratch.q, k, keys.clone(), tile, scores, &mut scratch.bent);
            for (online, lane) in online.iter_mut().zip((0..ROWS).step_by(I::LANES)) {
                if let Some(factor) = online.push(isa, scores, lane, ROWS) {
                    for out in scratch.out.chunks_exact_mut(ROWS) {
                        isa.store(isa.mul(factor, isa.load(&out[lane..])), &mut out[lane..]);
                    }
                }
            }
            let v = rows(&problem.v, sequence, kv_head, keys, &mut scratch.v);
            add_transposed_times(isa, v, scores, &mut scratch.out);
        }
        for (online, lane) in online.iter().zip((0..ROWS).step_by(I::LANES)) {
            let (factor, lse) = online.finish(isa);
            isa.store(lse, &mut scratch.lse[lane..]);
            for out in scratch.out.chunks_exact_mut(ROWS) {
                isa.store(isa.mul(factor, isa.load(&out[lane..])), &mut out[lane..]);
            }
        }
    }
}
