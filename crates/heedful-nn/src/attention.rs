//! Multi-head attention over packed sentences, with its projections; the attention itself is the engine's.
//!
//! `heads` heads of width `dim / heads` look at once (Vaswani et al. 2017, section 3.2.2):
//! `context_h = softmax(q_h k_h^T / sqrt(dim / heads)) v_h`, `y = [context_1; ...; context_heads] W_o^T + b_o`.
//! Sentences lie one after the other in `[tokens, dim]`; sentence `i` is rows `offsets[i]..offsets[i + 1]`, and looks at itself, or at
//! sentence `i` of the memory, only.

use heedful::lens::Lens;
use heedful::{Diagonal, Layout, Options, Parallelism, QkvMut, View, ViewMut, attend_packed, attend_packed_backward};
use rand_chacha::ChaCha8Rng;

use crate::guide::{Guide, Looked};
use crate::{Gradients, Linear, Parameters, Workspace};

/// What the backward pass needs: projections, context and log-sum-exp.
#[derive(Debug)]
pub struct Saved {
    /// What the queries were projected to, and keys and values with them if they come from the same tokens.
    projected: Vec<f32>,
    /// Keys and values of the memory, `[tokens, 2 dim]`; empty for self-attention.
    memory: Vec<f32>,
    /// `[tokens, dim]`
    context: Vec<f32>,
    /// `[heads, tokens]`
    lse: Vec<f32>,
}

impl Saved {
    /// Gives its buffers back.
    pub fn release(self, workspace: &mut Workspace) {
        for buffer in [self.projected, self.memory, self.context, self.lse] {
            workspace.give(buffer);
        }
    }
}

/// Positions of one sequence look at each other: queries, keys and values come from the same tokens.
#[derive(Clone, Copy, Debug)]
pub struct SelfAttention {
    /// One projection `[3 dim, dim]` whose rows are those of the queries, the keys and the values.
    pub input: Linear,
    /// The projection of the heads' contexts, `[dim, dim]`.
    pub output: Linear,
    heads: usize,
    causal: bool,
}

impl SelfAttention {
    /// Adds `NAME.input` and `NAME.output`. `causal`: each position sees itself and what is before it.
    pub fn new(parameters: &mut Parameters, name: &str, dim: usize, heads: usize, causal: bool, rng: &mut ChaCha8Rng) -> Self {
        Self {
            input: Linear::new(parameters, &format!("{name}.input"), dim, 3 * dim, rng),
            output: Linear::new(parameters, &format!("{name}.output"), dim, dim, rng),
            heads,
            causal,
        }
    }

    /// `y [tokens, dim]` of `x [tokens, dim]`.
    pub fn forward(&self, parameters: &Parameters, x: &[f32], offsets: &[usize], workspace: &mut Workspace) -> (Vec<f32>, Saved) {
        let dim = self.output.inputs();
        let n = x.len() / dim;
        let projected = self.input.forward(parameters, x, workspace);
        let (mut context, mut lse) = (workspace.take(x.len()), workspace.take(self.heads * n));
        let [q, k, v] = self.parts(&projected);
        let out = ViewMut::with_layout(&mut context, layout(n, dim, dim, self.heads)).expect(FITS);
        attend_packed(q, k, v, offsets, offsets, &self.options(), out, Some(&mut lse)).expect(FITS);
        let y = self.output.forward(parameters, &context, workspace);
        (y, Saved { projected, memory: Vec::new(), context, lse })
    }

    /// The derivative by `x`.
    pub fn backward(
        &self,
        parameters: &Parameters,
        gradients: &mut Gradients,
        x: &[f32],
        offsets: &[usize],
        saved: &Saved,
        d_y: &[f32],
        workspace: &mut Workspace,
    ) -> Vec<f32> {
        let dim = self.output.inputs();
        let n = x.len() / dim;
        let d_context = self.output.backward(parameters, gradients, &saved.context, d_y, workspace);
        let mut d_projected = workspace.take(saved.projected.len());
        let [q, k, v] = self.parts(&saved.projected);
        let [out, d_out] = [&saved.context, &d_context].map(|data| view(data, n, dim, dim, self.heads));
        let d_qkv = QkvMut::fused(&mut d_projected, [0, dim, 2 * dim], [layout(n, 3 * dim, dim, self.heads); 3]).expect(FITS);
        attend_packed_backward(q, k, v, offsets, offsets, &self.options(), out, &saved.lse, d_out, d_qkv).expect(FITS);
        let d_x = self.input.backward(parameters, gradients, x, &d_projected, workspace);
        workspace.give(d_context);
        workspace.give(d_projected);
        d_x
    }

    /// Heads of `dim / heads` numbers each.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// A look into a forward pass over sentences at these offsets: who looked at whom, exactly, and only what is asked for.
    ///
    /// # Errors
    /// If the offsets are not those of the forward pass.
    pub fn lens<'a>(&self, saved: &'a Saved, offsets: &'a [usize]) -> heedful::Result<Lens<'a>> {
        let [q, k, _] = self.parts(&saved.projected);
        Lens::packed(q, k, offsets, offsets, &self.options().parallelism(Parallelism::Rayon), &saved.lse)
    }

    fn parts<'a>(&self, projected: &'a [f32]) -> [View<'a>; 3] {
        let dim = self.output.inputs();
        [0, 1, 2].map(|part| view(projected.get(part * dim..).unwrap_or_default(), projected.len() / (3 * dim), 3 * dim, dim, self.heads))
    }

    fn options(&self) -> Options<'static> {
        let options = Options::new().parallelism(Parallelism::Serial);
        if self.causal { options.causal(Diagonal::TopLeft) } else { options }
    }
}

/// Positions of one sequence look at another: queries from the target, keys and values from the memory.
#[derive(Clone, Copy, Debug)]
pub struct CrossAttention {
    /// `[dim, dim]`
    pub query: Linear,
    /// One projection `[2 dim, dim]` whose rows are those of the keys and the values.
    pub key_value: Linear,
    /// The projection of the heads' contexts, `[dim, dim]`.
    pub output: Linear,
    heads: usize,
}

impl CrossAttention {
    /// Adds `NAME.query`, `NAME.key_value` and `NAME.output`.
    pub fn new(parameters: &mut Parameters, name: &str, dim: usize, heads: usize, rng: &mut ChaCha8Rng) -> Self {
        Self {
            query: Linear::new(parameters, &format!("{name}.query"), dim, dim, rng),
            key_value: Linear::new(parameters, &format!("{name}.key_value"), dim, 2 * dim, rng),
            output: Linear::new(parameters, &format!("{name}.output"), dim, dim, rng),
            heads,
        }
    }

    /// `y [tokens, dim]` of `x [tokens, dim]`, which looks at `memory [memory tokens, dim]`.
    pub fn forward(
        &self,
        parameters: &Parameters,
        x: &[f32],
        offsets: &[usize],
        memory: &[f32],
        memory_offsets: &[usize],
        workspace: &mut Workspace,
    ) -> (Vec<f32>, Saved) {
        let dim = self.output.inputs();
        let n = x.len() / dim;
        let projected = self.query.forward(parameters, x, workspace);
        let memory = self.key_value.forward(parameters, memory, workspace);
        let (mut context, mut lse) = (workspace.take(x.len()), workspace.take(self.heads * n));
        let [q, k, v] = self.parts(&projected, &memory);
        let out = ViewMut::with_layout(&mut context, layout(n, dim, dim, self.heads)).expect(FITS);
        attend_packed(q, k, v, offsets, memory_offsets, &serial(), out, Some(&mut lse)).expect(FITS);
        let y = self.output.forward(parameters, &context, workspace);
        (y, Saved { projected, memory, context, lse })
    }

    /// The derivative by `x`, and the loss of a guide, whose derivatives are among the others; the derivative by the memory is added to
    /// `d_memory`.
    pub fn backward(
        &self,
        parameters: &Parameters,
        gradients: &mut Gradients,
        x: &[f32],
        offsets: &[usize],
        memory: &[f32],
        memory_offsets: &[usize],
        saved: &Saved,
        d_y: &[f32],
        guide: Option<&Guide>,
        d_memory: &mut [f32],
        workspace: &mut Workspace,
    ) -> (Vec<f32>, f64) {
        let dim = self.output.inputs();
        let (n, m) = (x.len() / dim, memory.len() / dim);
        let d_context = self.output.backward(parameters, gradients, &saved.context, d_y, workspace);
        // The gradients of queries `[n, dim]`, and behind them those of keys and values `[m, 2 dim]`.
        let mut d_projected = workspace.take((n + 2 * m) * dim);
        let [q, k, v] = self.parts(&saved.projected, &saved.memory);
        let [out, d_out] = [&saved.context, &d_context].map(|data| view(data, n, dim, dim, self.heads));
        let [d_q, d_kv] = [layout(n, dim, dim, self.heads), layout(m, 2 * dim, dim, self.heads)];
        let d_qkv = QkvMut::fused(&mut d_projected, [0, n * dim, (n + 1) * dim], [d_q, d_kv, d_kv]).expect(FITS);
        attend_packed_backward(q, k, v, offsets, memory_offsets, &serial(), out, &saved.lse, d_out, d_qkv).expect(FITS);
        let (d_q, d_kv) = d_projected.split_at_mut(n * dim);
        let loss = guide.map_or(0.0, |guide| {
            let head_dim = dim / self.heads;
            let (queries, keys, lse) = (&saved.projected[..], &saved.memory[..], &saved.lse[..]);
            guide.add_to(&Looked { queries, memory: keys, lse, offsets, memory_offsets, dim, head_dim }, d_q, d_kv)
        });
        self.key_value.backward_add(parameters, gradients, memory, d_kv, d_memory);
        let d_x = self.query.backward(parameters, gradients, x, d_q, workspace);
        workspace.give(d_context);
        workspace.give(d_projected);
        (d_x, loss)
    }

    /// Heads of `dim / heads` numbers each.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// A look into a forward pass over sentences at these offsets: who looked at which token of the memory.
    ///
    /// # Errors
    /// If the offsets are not those of the forward pass.
    pub fn lens<'a>(&self, saved: &'a Saved, offsets: &'a [usize], memory_offsets: &'a [usize]) -> heedful::Result<Lens<'a>> {
        let [q, k, _] = self.parts(&saved.projected, &saved.memory);
        Lens::packed(q, k, offsets, memory_offsets, &serial().parallelism(Parallelism::Rayon), &saved.lse)
    }

    fn parts<'a>(&self, queries: &'a [f32], memory: &'a [f32]) -> [View<'a>; 3] {
        let dim = self.output.inputs();
        let [k, v] =
            [0, 1].map(|part| view(memory.get(part * dim..).unwrap_or_default(), memory.len() / (2 * dim), 2 * dim, dim, self.heads));
        [view(queries, queries.len() / dim, dim, dim, self.heads), k, v]
    }
}

const FITS: &str = "the projections have the shapes that attention asks for";

fn serial() -> Options<'static> {
    Options::new().parallelism(Parallelism::Serial)
}

/// `[1, heads, tokens, dim / heads]` in rows of which each starts `row_stride` after the one before and holds the heads side by side.
pub(crate) fn layout(tokens: usize, row_stride: usize, dim: usize, heads: usize) -> Layout {
    let head_dim = dim / heads;
    Layout::strided([1, heads, tokens, head_dim], [tokens * row_stride, head_dim, row_stride, 1]).expect(FITS)
}

fn view(data: &[f32], tokens: usize, row_stride: usize, dim: usize, heads: usize) -> View<'_> {
    let layout = layout(tokens, row_stride, dim, heads);
    View::strided(data, layout.shape(), layout.strides()).expect(FITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Check, check_gradients};

    const DIM: usize = 6;
    const HEADS: usize = 2;

    #[test]
    fn gradients_of_self_attention_are_the_finite_differences() {
        for causal in [false, true] {
            let mut check = Check::new(11);
            let layer = SelfAttention::new(&mut check.parameters, "self", DIM, HEADS, causal, &mut check.rng);
            check.randomise();
            let offsets = [0, 3, 4, 7];
            let x = check.input(7 * DIM);
            check_gradients(
                check,
                vec![x],
                |p, x, ws| layer.forward(p, &x[0], &offsets, ws).0,
                |p, g, x, d_y, ws| {
                    let (_, saved) = layer.forward(p, &x[0], &offsets, ws);
                    vec![layer.backward(p, g, &x[0], &offsets, &saved, d_y, ws)]
                },
            );
        }
    }

    #[test]
    fn gradients_of_cross_attention_are_the_finite_differences() {
        let mut check = Check::new(12);
        let layer = CrossAttention::new(&mut check.parameters, "cross", DIM, HEADS, &mut check.rng);
        check.randomise();
        let (offsets, memory_offsets) = ([0, 2, 5], [0, 4, 5]);
        let (x, memory) = (check.input(5 * DIM), check.input(5 * DIM));
        check_gradients(
            check,
            vec![x, memory],
            |p, x, ws| layer.forward(p, &x[0], &offsets, &x[1], &memory_offsets, ws).0,
            |p, g, x, d_y, ws| {
                let (_, saved) = layer.forward(p, &x[0], &offsets, &x[1], &memory_offsets, ws);
                let mut d_memory = vec![0.0; x[1].len()];
                let (d_x, _) = layer.backward(p, g, &x[0], &offsets, &x[1], &memory_offsets, &saved, d_y, None, &mut d_memory, ws);
                vec![d_x, d_memory]
            },
        );
    }

    #[test]
    fn a_look_into_the_layers_explains_their_contexts() {
        let mut check = Check::new(14);
        let layer = SelfAttention::new(&mut check.parameters, "self", DIM, HEADS, true, &mut check.rng);
        let cross = CrossAttention::new(&mut check.parameters, "cross", DIM, HEADS, &mut check.rng);
        let (x, offsets, memory_offsets) = (check.input(7 * DIM), [0, 4, 7], [0, 2, 7]);
        let mut workspace = Workspace::new();
        let (_, saved) = layer.forward(&check.parameters, &x, &offsets, &mut workspace);
        let (_, saved_cross) = cross.forward(&check.parameters, &x, &offsets, &x, &memory_offsets, &mut workspace);
        let lens = layer.lens(&saved, &offsets).unwrap();
        let cross_lens = cross.lens(&saved_cross, &offsets, &memory_offsets).unwrap();
        let explains = |weights: Vec<f32>, values: &[f32], row_stride: usize, head: usize, context: &[f32]| {
            let mixed = |c: usize| weights.iter().enumerate().map(|(j, p)| p * values[j * row_stride + head * 3 + c]).sum::<f32>();
            (0..3).all(|c| (mixed(c) - context[head * 3 + c]).abs() < 1e-5)
        };
        for (head, query) in (0..HEADS).flat_map(|head| (0..3).map(move |query| (head, query))) {
            let context = (4 + query) * DIM;
            let values = &saved.projected[4 * 3 * DIM + 2 * DIM..];
            assert!(explains(lens.row(1, head, query).unwrap(), values, 3 * DIM, head, &saved.context[context..]));
            let values = &saved_cross.memory[2 * 2 * DIM + DIM..];
            assert!(explains(cross_lens.row(1, head, query).unwrap(), values, 2 * DIM, head, &saved_cross.context[context..]));
        }
        assert!(layer.lens(&saved, &[0, 4, 8]).is_err());
    }

    #[test]
    fn gradients_of_a_guide_are_the_finite_differences() {
        for heads in [1..2, 0..2] {
            let mut check = Check::new(14);
            let layer = CrossAttention::new(&mut check.parameters, "cross", DIM, HEADS, &mut check.rng);
            check.randomise();
            let (offsets, memory_offsets) = ([0, 2, 5], [0, 4, 6]);
            let (x, memory) = (check.input(5 * DIM), check.input(6 * DIM));
            // Query 0 has two keys, 2 and 3 are free.
            let guide = Guide { heads, weight: 1.0, links: vec![[0, 1], [0, 3], [1, 0], [4, 5]] };
            let loss = |p: &Parameters, x: &[Vec<f32>], weight: f32, g: &mut Gradients, ws: &mut Workspace| {
                let (y, saved) = layer.forward(p, &x[0], &offsets, &x[1], &memory_offsets, ws);
                let guide = Guide { weight, ..guide.clone() };
                let (d_y, mut d_memory) = (vec![0.0; y.len()], vec![0.0; x[1].len()]);
                let memory = &mut d_memory;
                let (d_x, loss) = layer.backward(p, g, &x[0], &offsets, &x[1], &memory_offsets, &saved, &d_y, Some(&guide), memory, ws);
                (vec![d_x, d_memory], loss)
            };
            check_gradients(
                check,
                vec![x, memory],
                |p, x, ws| vec![loss(p, x, 1.0, &mut p.gradients(), ws).1 as f32],
                |p, g, x, d_loss, ws| loss(p, x, d_loss[0], g, ws).0,
            );
        }
    }

    #[test]
    fn a_guide_costs_what_the_weights_say() {
        let mut check = Check::new(15);
        let layer = CrossAttention::new(&mut check.parameters, "cross", DIM, HEADS, &mut check.rng);
        check.randomise();
        let (x, memory) = (check.input(DIM), check.input(3 * DIM));
        let (p, mut ws) = (&check.parameters, Workspace::new());
        let looks = [crate::incremental::Look { rows: 0..1, memory: 0..3 }];
        let projected = layer.project_memory(p, &memory, &mut ws);
        let mut mean = vec![0.0f32; 3];
        layer.step(p, &x, &projected, &looks, &[], |_, _, p| (0..3).for_each(|j| mean[j] += p[j] / HEADS as f32), &mut ws);
        let (_, saved) = layer.forward(p, &x, &[0, 1], &memory, &[0, 3], &mut ws);
        let guide = Guide { heads: 0..HEADS, weight: 0.5, links: vec![[0, 0], [0, 2]] };
        let (d_y, mut d_memory) = (vec![0.0; DIM], vec![0.0; 3 * DIM]);
        let g = &mut p.gradients();
        let (_, loss) = layer.backward(p, g, &x, &[0, 1], &memory, &[0, 3], &saved, &d_y, Some(&guide), &mut d_memory, &mut ws);
        assert!((loss + 0.25 * f64::from(mean[0].ln() + mean[2].ln())).abs() < 1e-5, "{loss}, {mean:?}");
    }

    #[test]
    fn a_sentence_does_not_see_its_neighbours_and_causal_attention_does_not_see_ahead() {
        let mut check = Check::new(13);
        let layer = SelfAttention::new(&mut check.parameters, "self", DIM, HEADS, true, &mut check.rng);
        let x = check.input(7 * DIM);
        let mut workspace = Workspace::new();
        let (together, _) = layer.forward(&check.parameters, &x, &[0, 4, 7], &mut workspace);
        let (alone, _) = layer.forward(&check.parameters, &x[4 * DIM..], &[0, 3], &mut workspace);
        let (prefix, _) = layer.forward(&check.parameters, &x[4 * DIM..6 * DIM], &[0, 2], &mut workspace);
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close(&together[4 * DIM..], &alone) && close(&together[4 * DIM..6 * DIM], &prefix));
    }
}
