//! What both recurrent architectures have at their ends: from tokens to vectors, and from states to the scores of the next token.
//!
//! `t = tanh(W_t states + b_t)`, `scores = E t + b`. The deep output of Bahdanau et al. 2015 (appendix A.2.2) has a maxout layer in place of the tanh.

use heedful::kernel::slice;
use heedful_nn::cross_entropy::Sums;
use heedful_nn::embedding::Embedding;
use heedful_nn::{CrossEntropy, Dropout, Gradients, Init, Linear, Parameters, Workspace};
use rand_chacha::ChaCha8Rng;

/// Where in the model dropout is applied: places get different randomness.
#[derive(Clone, Copy)]
pub(super) enum Site {
    Source = 0,
    Target = 1,
    ReadOut = 2,
    /// The output of encoder layer `i` is at `Encoder + i`, that of decoder layer `i` at `Decoder + i`.
    Encoder = 100,
    Decoder = 200,
}

/// Embeddings, read-out and the projection to the vocabulary.
pub(super) struct Ends {
    pub source: Embedding,
    pub target: Embedding,
    read_out: Linear,
    output: CrossEntropy,
}

impl Ends {
    /// `states` is the width of what the read-out sees. `tied`: one table for source, target and output.
    pub fn new(p: &mut Parameters, vocabulary: usize, embedding: usize, states: usize, tied: bool, rng: &mut ChaCha8Rng) -> Self {
        let (source, target, weight) = if tied {
            let table = Embedding::new(p, "embedding", vocabulary, embedding, rng);
            (table, table, table.table)
        } else {
            let source = Embedding::new(p, "source_embedding", vocabulary, embedding, rng);
            let target = Embedding::new(p, "target_embedding", vocabulary, embedding, rng);
            (source, target, p.add("output.weight", &[vocabulary, embedding], Init::Normal((embedding as f32).powf(-0.5)), rng))
        };
        let read_out = Linear::new(p, "read_out", states, embedding, rng);
        let bias = p.add("output.bias", &[vocabulary], Init::Constant(0.0), rng);
        Self { source, target, read_out, output: CrossEntropy { weight, bias: Some(bias), vocabulary, dim: embedding } }
    }

    fn read(&self, p: &Parameters, states: &[f32], workspace: &mut Workspace) -> Vec<f32> {
        let mut t = self.read_out.forward(p, states, workspace);
        slice::tanh(&mut t);
        t
    }

    /// The scores of the next token, `[n, vocabulary]`.
    pub fn scores(&self, p: &Parameters, states: &[f32], scores: &mut Vec<f32>, workspace: &mut Workspace) {
        let t = self.read(p, states, workspace);
        scores.resize(t.len() / self.output.dim * self.output.vocabulary, 0.0);
        self.output.logits(p, &t, scores);
        workspace.give(t);
    }

    /// The loss of the tokens that follow on `states`.
    pub fn loss(&self, p: &Parameters, states: &[f32], targets: &[u32], workspace: &mut Workspace) -> Sums {
        let t = self.read(p, states, workspace);
        let sums = self.output.forward(p, &t, targets, workspace);
        workspace.give(t);
        sums
    }

    /// The loss of the tokens that follow on `states`, and the derivative of the objective by `states`.
    pub fn train(
        &self,
        p: &Parameters,
        gradients: &mut Gradients,
        states: &[f32],
        targets: &[u32],
        dropout: Dropout,
        smoothing: f32,
        workspace: &mut Workspace,
    ) -> (Sums, Vec<f32>) {
        let t = self.read(p, states, workspace);
        let mut dropped = workspace.copy(&t);
        dropout.apply(&mut dropped);
        let (sums, mut d_t) = self.output.forward_backward(p, gradients, &dropped, targets, smoothing, workspace);
        dropout.apply(&mut d_t);
        tanh_backward(&t, &mut d_t);
        let d_states = self.read_out.backward(p, gradients, states, &d_t, workspace);
        for buffer in [t, dropped, d_t] {
            workspace.give(buffer);
        }
        (sums, d_states)
    }
}

/// `sqrt(dim) E[token]`, elements of unit variance at first.
pub(super) fn embed(table: Embedding, p: &Parameters, tokens: &[u32], dropout: Dropout, workspace: &mut Workspace) -> Vec<f32> {
    let mut y = workspace.take(tokens.len() * table.dim());
    table.forward(p, tokens, scale(table), &mut y);
    dropout.apply(&mut y);
    y
}

/// The way back through [`embed`].
pub(super) fn embed_backward(
    table: Embedding,
    gradients: &mut Gradients,
    tokens: &[u32],
    dropout: Dropout,
    mut d_y: Vec<f32>,
    workspace: &mut Workspace,
) {
    dropout.apply(&mut d_y);
    table.backward(gradients, tokens, scale(table), &d_y);
    workspace.give(d_y);
}

fn scale(table: Embedding) -> f32 {
    (table.dim() as f32).sqrt()
}

/// `d *= 1 - y^2`: from the derivative by `y = tanh(x)` to that by `x`.
pub(super) fn tanh_backward(y: &[f32], d: &mut [f32]) {
    for (d, y) in d.iter_mut().zip(y) {
        *d *= 1.0 - y * y;
    }
}

/// `sum += d`; `d` is given back.
pub(super) fn add(sum: &mut [f32], d: Vec<f32>, workspace: &mut Workspace) {
    for (sum, d) in sum.iter_mut().zip(&d) {
        *sum += d;
    }
    workspace.give(d);
}
