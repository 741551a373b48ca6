//! Attention one target token at a time, for many target prefixes ("rows") at once: what a decoder does when it translates.
//!
//! The same weights and the same formula as [`attention`](crate::attention), with keys and values of earlier steps kept.

use std::ops::Range;

use heedful::{Layout, Options, Parallelism, View, ViewMut, attend};

use crate::attention::{CrossAttention, SelfAttention};
use crate::{Parameters, Workspace};

/// Keys and values of one self-attention layer: `length` tokens of each row, all rows equally long.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    /// `[rows, capacity, 2 dim]`, and possibly more behind it that is not used.
    data: Vec<f32>,
    /// Takes the place of `data` when rows are rearranged: a beam does that at every step.
    spare: Vec<f32>,
    rows: usize,
    length: usize,
    capacity: usize,
}

impl Cache {
    /// No token yet in any of `rows` rows.
    pub fn new(rows: usize) -> Self {
        Self { rows, ..Self::default() }
    }

    /// Makes row `i` what row `rows[i]` was; `width` is `2 dim`.
    pub fn select(&mut self, rows: &[usize], width: usize) {
        if rows.is_sorted_by(|a, b| a < b) {
            return self.keep(rows, width);
        }
        self.rearrange(rows.iter().copied(), rows.len(), self.capacity, width);
    }

    /// Moves rows down to where others were left out.
    fn keep(&mut self, rows: &[usize], width: usize) {
        let (row, used) = (self.capacity * width, self.length * width);
        for (to, &from) in rows.iter().enumerate().filter(|(to, from)| to != *from) {
            self.data.copy_within(from * row..from * row + used, to * row);
        }
        self.rows = rows.len();
    }

    fn push(&mut self, projected: &[f32], dim: usize) {
        if self.length == self.capacity {
            self.rearrange(0..self.rows, self.rows, (2 * self.capacity).max(16), 2 * dim);
        }
        for (row, projected) in projected.chunks_exact(3 * dim).enumerate() {
            let place = (row * self.capacity + self.length) * 2 * dim;
            self.data[place..place + 2 * dim].copy_from_slice(&projected[dim..]);
        }
        self.length += 1;
    }

    fn rearrange(&mut self, from: impl Iterator<Item = usize>, rows: usize, capacity: usize, width: usize) {
        let needed = rows * capacity * width;
        if self.spare.len() < needed {
            self.spare = vec![0.0; needed];
        }
        let used = self.length * width;
        for (to, from) in from.enumerate() {
            self.spare[to * capacity * width..][..used].copy_from_slice(&self.data[from * self.capacity * width..][..used]);
        }
        std::mem::swap(&mut self.data, &mut self.spare);
        (self.rows, self.capacity) = (rows, capacity);
    }
}

impl SelfAttention {
    /// `y [rows, dim]` of the next token's `x [rows, dim]`, which looks at itself and the tokens before it.
    pub fn step(&self, parameters: &Parameters, x: &[f32], cache: &mut Cache, workspace: &mut Workspace) -> Vec<f32> {
        let dim = self.output.inputs();
        let (rows, heads, head_dim) = (x.len() / dim, self.heads(), dim / self.heads());
        let projected = self.input.forward(parameters, x, workspace);
        cache.push(&projected, dim);
        let mut context = workspace.take(x.len());
        let query = Layout::strided([rows, heads, 1, head_dim], [3 * dim, head_dim, 3 * dim, 1]).expect(FITS);
        let key = [rows, heads, cache.length, head_dim];
        let strides = [cache.capacity * 2 * dim, head_dim, 2 * dim, 1];
        let q = View::strided(&projected, query.shape(), query.strides()).expect(FITS);
        let [k, v] = [0, dim].map(|start| View::strided(cache.data.get(start..).unwrap_or_default(), key, strides).expect(FITS));
        let out = ViewMut::strided(&mut context, [rows, heads, 1, head_dim], [dim, head_dim, dim, 1]).expect(FITS);
        attend(q, k, v, &serial(), out, None).expect(FITS);
        let y = self.output.forward(parameters, &context, workspace);
        workspace.give(projected);
        workspace.give(context);
        y
    }
}

/// Consecutive rows that look at the same sentence of the memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The rows.
    pub rows: Range<usize>,
    /// The sentence's tokens in the memory.
    pub memory: Range<usize>,
}

/// A look that is imposed on a step: `bias` is added to a row's scores, at every head, before the softmax.
#[derive(Clone, Debug, PartialEq)]
pub struct Imposed {
    /// The row.
    pub row: usize,
    /// Positions in the row's source sentence, from 0; what lies beyond its end is ignored.
    pub source: Range<usize>,
    /// A large number leaves next to nothing for other positions.
    pub bias: f32,
}

impl Imposed {
    /// Adds the biases that `all` impose on `row` to its `scores`.
    pub(crate) fn add(all: &[Self], row: usize, scores: &mut [f32]) {
        for imposed in all.iter().filter(|imposed| imposed.row == row) {
            for score in scores.iter_mut().take(imposed.source.end).skip(imposed.source.start) {
                *score += imposed.bias;
            }
        }
    }
}

impl CrossAttention {
    /// Keys and values of the memory, `[tokens, 2 dim]`: computed once, used by every step.
    pub fn project_memory(&self, parameters: &Parameters, memory: &[f32], workspace: &mut Workspace) -> Vec<f32> {
        self.key_value.forward(parameters, memory, workspace)
    }

    /// `y [rows, dim]` of `x [rows, dim]`, each row looking at its own sentence, and where it is told to look by `imposed`.
    ///
    /// `weights(row, head, p)` is told each row's and head's weights over its sentence, which sum to 1:
    /// `p = exp(q k / sqrt(head_dim) + bias - lse)`.
    pub fn step(
        &self,
        parameters: &Parameters,
        x: &[f32],
        projected_memory: &[f32],
        looks: &[Look],
        imposed: &[Imposed],
        mut weights: impl FnMut(usize, usize, &[f32]),
        workspace: &mut Workspace,
    ) -> Vec<f32> {
        let dim = self.output.inputs();
        let (heads, head_dim) = (self.heads(), dim / self.heads());
        let queries = self.query.forward(parameters, x, workspace);
        let mut context = workspace.take(x.len());
        let mut lse = Vec::new();
        let mut p = Vec::new();
        let mut bias = Vec::new();
        for look in looks {
            let (n, m) = (look.rows.len(), look.memory.len());
            lse.resize(heads * n, 0.0);
            let mut options = serial();
            bias.clear();
            if imposed.iter().any(|imposed| look.rows.contains(&imposed.row)) {
                bias.resize(n * m, 0.0);
                for (row, bias) in look.rows.clone().zip(bias.chunks_exact_mut(m.max(1))) {
                    Imposed::add(imposed, row, bias);
                }
                options = options.bias(View::contiguous(&bias, [1, 1, n, m]).expect(FITS));
            }
            let queries = &queries[look.rows.start * dim..look.rows.end * dim];
            let memory = &projected_memory[look.memory.start * 2 * dim..look.memory.end * 2 * dim];
            let q = View::strided(queries, [1, heads, n, head_dim], [n * dim, head_dim, dim, 1]).expect(FITS);
            let [k, v] = [0, dim]
                .map(|start| memory.get(start..).unwrap_or_default())
                .map(|memory| View::strided(memory, [1, heads, m, head_dim], [m * 2 * dim, head_dim, 2 * dim, 1]).expect(FITS));
            let context = &mut context[look.rows.start * dim..look.rows.end * dim];
            let out = ViewMut::strided(context, [1, heads, n, head_dim], [n * dim, head_dim, dim, 1]).expect(FITS);
            attend(q, k, v, &options, out, Some(&mut lse)).expect(FITS);
            for (i, row) in look.rows.clone().enumerate() {
                for head in 0..heads {
                    let q = &queries[i * dim + head * head_dim..][..head_dim];
                    let scale = (head_dim as f32).powf(-0.5);
                    p.clear();
                    p.extend(
                        memory.chunks_exact(2 * dim).map(|k| heedful::kernel::slice::dot(q, &k[head * head_dim..][..head_dim]) * scale),
                    );
                    for (score, bias) in p.iter_mut().zip(bias.get(i * m..).unwrap_or_default()) {
                        *score += bias;
                    }
                    for score in &mut p {
                        *score = (*score - lse[head * n + i]).exp();
                    }
                    weights(row, head, &p);
                }
            }
        }
        let y = self.output.forward(parameters, &context, workspace);
        workspace.give(queries);
        workspace.give(context);
        y
    }
}

const FITS: &str = "the projections have the shapes that attention asks for";

fn serial() -> Options<'static> {
    Options::new().parallelism(Parallelism::Serial)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Check;

    const DIM: usize = 6;

    fn close(a: &[f32], b: &[f32]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
    }

    #[test]
    fn steps_equal_the_whole_sentence_and_survive_a_selection() {
        let mut check = Check::new(21);
        let layer = SelfAttention::new(&mut check.parameters, "self", DIM, 2, true, &mut check.rng);
        let (p, mut workspace) = (check.parameters.clone(), Workspace::new());
        let sentences = [check.input(20 * DIM), check.input(20 * DIM)];
        let whole = sentences.each_ref().map(|x| layer.forward(&p, x, &[0, 20], &mut workspace).0);
        let mut cache = Cache::new(2);
        let mut order = vec![0, 1];
        for t in 0..20 {
            // A beam forks, rows trade places, and one is left out.
            for (step, rows) in [(7, vec![1, 1, 0]), (12, vec![2, 0, 1]), (15, vec![0, 2])] {
                if t == step {
                    cache.select(&rows, 2 * DIM);
                    order = rows.iter().map(|&row| order[row]).collect();
                }
            }
            let token = t * DIM..(t + 1) * DIM;
            let x: Vec<f32> = order.iter().flat_map(|&s| sentences[s][token.clone()].to_vec()).collect();
            let expected: Vec<f32> = order.iter().flat_map(|&s| whole[s][token.clone()].to_vec()).collect();
            let y = layer.step(&p, &x, &mut cache, &mut workspace);
            assert!(close(&y, &expected), "step {t}");
        }
        assert!(layer.step(&p, &[], &mut Cache::new(0), &mut workspace).is_empty());
    }

    #[test]
    fn rows_look_at_their_own_sentence_and_weights_sum_to_one() {
        let mut check = Check::new(22);
        let layer = CrossAttention::new(&mut check.parameters, "cross", DIM, 2, &mut check.rng);
        let (p, mut workspace) = (check.parameters.clone(), Workspace::new());
        let (x, memory) = (check.input(3 * DIM), check.input(7 * DIM));
        let looks = [Look { rows: 0..2, memory: 0..3 }, Look { rows: 2..3, memory: 3..7 }];
        let projected = layer.project_memory(&p, &memory, &mut workspace);
        let mut sums = Vec::new();
        let y = layer.step(
            &p,
            &x,
            &projected,
            &looks,
            &[],
            |row, head, p| sums.push((row, head, p.len(), p.iter().sum::<f32>())),
            &mut workspace,
        );
        let (expected, _) = layer.forward(&p, &x, &[0, 2, 3], &memory, &[0, 3, 7], &mut workspace);
        assert!(close(&y, &expected));
        assert_eq!(
            sums.iter().map(|s| (s.0, s.1, s.2)).collect::<Vec<_>>(),
            [(0, 0, 3), (0, 1, 3), (1, 0, 3), (1, 1, 3), (2, 0, 4), (2, 1, 4)]
        );
        assert!(sums.iter().all(|s| (s.3 - 1.0).abs() < 1e-5), "{sums:?}");

        // A row that is told to look at one position gets its value, and its neighbours are left alone.
        let imposed = [Imposed { row: 1, source: 2..3, bias: 60.0 }];
        let mut weights = Vec::new();
        let told = layer.step(&p, &x, &projected, &looks, &imposed, |row, head, p| weights.push((row, head, p.to_vec())), &mut workspace);
        assert!(close(&told[..DIM], &y[..DIM]) && close(&told[2 * DIM..], &y[2 * DIM..]) && !close(&told[DIM..2 * DIM], &y[DIM..2 * DIM]));
        for (row, _, p) in weights {
            assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{p:?}");
            assert_eq!(p[2] > 0.9999, row == 1, "{p:?}");
        }
        let alone = layer.output.forward(&p, &projected[2 * 2 * DIM + DIM..3 * 2 * DIM], &mut workspace);
        assert!(close(&told[DIM..2 * DIM], &alone), "the context is the value of the position");

        // A sentence without tokens has nothing to be looked at.
        let (empty, imposed) = ([Look { rows: 0..1, memory: 0..0 }], [Imposed { row: 0, source: 0..1, bias: 1.0 }]);
        let y = layer.step(&p, &x[..DIM], &[], &empty, &imposed, |_, _, p| assert!(p.is_empty()), &mut workspace);
        assert!(close(&y, &layer.output.forward(&p, &[0.0; DIM], &mut workspace)));
    }
}
