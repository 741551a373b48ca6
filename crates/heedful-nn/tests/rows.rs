//! The result of a sentence, or of a row, has the same bits whatever else is in the batch, on each instruction tier.

use std::process::Command;

use heedful::simd::available_tiers;
use heedful_nn::additive_decoder::{Memory, Sizes};
use heedful_nn::incremental::{Cache, Look};
use heedful_nn::{
    AdditiveDecoder, Cell, CrossAttention, CrossEntropy, Direction, Dropout, FeedForward, LayerNorm, Linear, Parameters, Recurrent, Score,
    SelfAttention, State, TimeMajor, Workspace,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A width that fills no vector, and one that fills several; both have two heads of the engine's usual and unusual widths.
const WIDTHS: [usize; 2] = [38, 128];
/// Lengths of sentences: enough rows for several tiles of every kernel.
const LENGTHS: [usize; 7] = [40, 1, 33, 16, 7, 70, 2];

/// A process has one tier, so that each is tested in a process of its own.
#[test]
fn rows_do_not_depend_on_their_neighbours_on_any_tier() {
    for tier in available_tiers() {
        let child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--ignored", "--exact", "rows_do_not_depend_on_their_neighbours"])
            .env("HEEDFUL_ISA", tier.name())
            .output()
            .expect("this test starts");
        let text = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && text.contains("1 passed"), "{tier}: {text}{}", String::from_utf8_lossy(&child.stderr));
    }
}

#[test]
#[ignore = "run for each tier by the test above"]
fn rows_do_not_depend_on_their_neighbours() {
    for width in WIDTHS {
        let bench = Bench::new(width);
        bench.maps();
        bench.attention();
        bench.recurrences();
        bench.additive_decoders();
        bench.single_steps();
    }
}

struct Bench {
    width: usize,
    offsets: Vec<usize>,
    /// `[tokens, width]`
    x: Vec<f32>,
}

fn numbers(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
}

fn store() -> (Parameters, ChaCha8Rng) {
    (Parameters::new(), ChaCha8Rng::seed_from_u64(3))
}

impl Bench {
    fn new(width: usize) -> Self {
        let mut offsets = vec![0];
        offsets.extend(LENGTHS.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        }));
        Self { width, x: numbers(offsets[LENGTHS.len()] * width, 1), offsets }
    }

    /// The rows of sentence `i` of a matrix of rows of `width` numbers.
    fn sentence<'a>(&self, matrix: &'a [f32], i: usize, width: usize) -> &'a [f32] {
        &matrix[self.offsets[i] * width..self.offsets[i + 1] * width]
    }

    fn maps(&self) {
        let (mut p, mut rng) = store();
        let (width, mut ws) = (self.width, Workspace::new());
        let linear = Linear::new(&mut p, "linear", width, 3 * width + 5, &mut rng);
        let feed_forward = FeedForward::new(&mut p, "feed_forward", width, 4 * width, &mut rng);
        let norm = LayerNorm::new(&mut p, "norm", width, &mut rng);
        let table = Linear::without_bias(&mut p, "table", width, 301, &mut rng);
        let output = CrossEntropy { weight: table.weight, bias: None, vocabulary: 301, dim: width };
        let mut gradients = p.gradients();
        let mut run = |x: &[f32]| {
            let y = linear.forward(&p, x, &mut ws);
            let d_x = linear.backward(&p, &mut gradients, x, &y, &mut ws);
            let fed = feed_forward.forward(&p, x, Dropout::OFF, &mut ws).0;
            let mut logits = vec![0.0; x.len() / width * 301];
            output.logits(&p, x, &mut logits);
            [(y, 3 * width + 5), (d_x, width), (fed, width), (norm.normalise(&p, x, &mut ws), width), (logits, 301)]
        };
        let together = run(&self.x);
        for (i, x) in self.x.chunks(width).enumerate() {
            for (which, (alone, (all, width))) in run(x).iter().zip(&together).enumerate() {
                assert_eq!(alone.0, all[i * width..(i + 1) * width], "map {which}, row {i}");
            }
        }
        for i in 0..LENGTHS.len() {
            for (which, (alone, (all, width))) in run(self.sentence(&self.x, i, width)).iter().zip(&together).enumerate() {
                assert_eq!(alone.0, self.sentence(all, i, *width), "map {which}, sentence {i}");
            }
        }
    }

    fn attention(&self) {
        let (mut p, mut rng) = store();
        let (width, mut ws) = (self.width, Workspace::new());
        let memory = numbers(self.x.len(), 2);
        let cross = CrossAttention::new(&mut p, "cross", width, 2, &mut rng);
        for causal in [false, true] {
            let layer = SelfAttention::new(&mut p, &format!("self.{causal}"), width, 2, causal, &mut rng);
            let mut run = |x: &[f32], memory: &[f32], offsets: &[usize]| {
                let (y, saved) = layer.forward(&p, x, offsets, &mut ws);
                let d_x = layer.backward(&p, &mut p.gradients(), x, offsets, &saved, &y, &mut ws);
                let (looked, saved) = cross.forward(&p, x, offsets, memory, offsets, &mut ws);
                let mut d_memory = vec![0.0; memory.len()];
                let (d_query, _) =
                    cross.backward(&p, &mut p.gradients(), x, offsets, memory, offsets, &saved, &y, None, &mut d_memory, &mut ws);
                [y, d_x, looked, d_query, d_memory]
            };
            let together = run(&self.x, &memory, &self.offsets);
            for (i, length) in LENGTHS.into_iter().enumerate() {
                let alone = run(self.sentence(&self.x, i, width), self.sentence(&memory, i, width), &[0, length]);
                for (which, (alone, all)) in alone.iter().zip(&together).enumerate() {
                    assert_eq!(alone, self.sentence(all, i, width), "attention {which}, causal {causal}, sentence {i}");
                }
            }
        }
    }

    fn recurrences(&self) {
        let (width, mut ws) = (self.width, Workspace::new());
        let layout = TimeMajor::new(&LENGTHS);
        let mut x = vec![0.0; self.x.len()];
        layout.gather(&self.x, width, &mut x);
        for cell in [Cell::Gru, Cell::Lstm, Cell::Tanh] {
            let (mut p, mut rng) = store();
            let layer = Recurrent::new(&mut p, "layer", cell, width, width, &mut rng);
            for direction in [Direction::Forward, Direction::Reverse] {
                let mut run = |x: &[f32], layout: &TimeMajor| {
                    let zeros = State::zeros(cell, layout.sentences(), width, &mut ws);
                    let (y, last, saved) = layer.forward(&p, x, layout, direction, zeros, &mut ws);
                    let (d_x, _) = layer.backward(&p, &mut p.gradients(), saved, x, layout, direction, &y, last, &mut ws);
                    [y, d_x].map(|time_major| {
                        let mut rows = vec![0.0; time_major.len()];
                        layout.scatter(&time_major, width, &mut rows);
                        rows
                    })
                };
                let together = run(&x, &layout);
                for (i, length) in LENGTHS.into_iter().enumerate() {
                    let alone = run(self.sentence(&self.x, i, width), &TimeMajor::new(&[length]));
                    for (alone, all) in alone.iter().zip(&together) {
                        assert_eq!(alone, self.sentence(all, i, width), "{cell:?} {direction:?}, sentence {i}");
                    }
                }
            }
        }
    }

    fn additive_decoders(&self) {
        let (width, mut ws) = (self.width, Workspace::new());
        for score in [Score::Additive, Score::Dot, Score::General] {
            let (mut p, mut rng) = store();
            let sizes = Sizes { embedding: width, memory: width, hidden: width, attention: width };
            let decoder = AdditiveDecoder::new(&mut p, "decoder", Cell::Gru, score, sizes, &mut rng);
            let prepared = decoder.prepare(&p, &mut ws);
            let embedded = numbers(LENGTHS.len() * width, 4);
            let mut run = |memory: &[f32], offsets: &[usize], embedded: &[f32]| {
                let sentences: Vec<usize> = (0..offsets.len() - 1).collect();
                let memory = Memory { values: memory, offsets };
                let keys = decoder.keys(&p, memory, &mut ws);
                let mut state = State { hidden: embedded.to_vec(), memory: Vec::new() };
                let (context, weights) = decoder.step(&p, &prepared, memory, &keys, &sentences, &[], embedded, &mut state, &mut ws);
                (context, weights, state.hidden)
            };
            let together = run(&self.x, &self.offsets, &embedded);
            for (i, length) in LENGTHS.into_iter().enumerate() {
                let row = i * width..(i + 1) * width;
                let alone = run(self.sentence(&self.x, i, width), &[0, length], &embedded[row.clone()]);
                assert_eq!(alone.0, together.0[row.clone()], "{score:?}: context of sentence {i}");
                assert_eq!(alone.1, self.sentence(&together.1, i, 1), "{score:?}: weights of sentence {i}");
                assert_eq!(alone.2, together.2[row], "{score:?}: state of sentence {i}");
            }
        }
    }

    /// One token of each row after the other, some rows looking at the same sentence.
    fn single_steps(&self) {
        let (mut p, mut rng) = store();
        let (width, mut ws) = (self.width, Workspace::new());
        let layer = SelfAttention::new(&mut p, "self", width, 2, true, &mut rng);
        let cross = CrossAttention::new(&mut p, "cross", width, 2, &mut rng);
        let projected = cross.project_memory(&p, &self.x, &mut ws);
        let looks = |row_counts: &[usize], first: usize| {
            let mut end = 0;
            let look = |(i, &rows): (usize, &usize)| {
                end += rows;
                Look { rows: end - rows..end, memory: self.offsets[first + i]..self.offsets[first + i + 1] }
            };
            row_counts.iter().enumerate().map(look).collect::<Vec<_>>()
        };
        let row_counts = [5, 1, 3, 2];
        let rows: usize = row_counts.iter().sum();
        let mut caches = vec![Cache::new(rows)];
        caches.extend((0..rows).map(|_| Cache::new(1)));
        for t in 0..20 {
            let x = numbers(rows * width, 10 + t);
            let together = layer.step(&p, &x, &mut caches[0], &mut ws);
            let looked = cross.step(&p, &x, &projected, &looks(&row_counts, 0), &[], |_, _, _| {}, &mut ws);
            let mut row = 0;
            for (sentence, count) in row_counts.into_iter().enumerate() {
                for _ in 0..count {
                    let range = row * width..(row + 1) * width;
                    let alone = layer.step(&p, &x[range.clone()], &mut caches[1 + row], &mut ws);
                    assert_eq!(alone, together[range.clone()], "self-attention, step {t}, row {row}");
                    let alone = cross.step(&p, &x[range.clone()], &projected, &looks(&[1], sentence), &[], |_, _, _| {}, &mut ws);
                    assert_eq!(alone, looked[range], "cross-attention, step {t}, row {row}");
                    row += 1;
                }
            }
        }
    }
}
