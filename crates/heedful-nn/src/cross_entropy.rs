//! The output layer: a linear map to the vocabulary, softmax, and cross-entropy with label smoothing, fused.
//!
//! `logits = x W^T + b`, `p = softmax(logits)`, and for the target `t` and smoothing `s` (Szegedy et al. 2016, section 7)
//! `objective = -sum_j q_j ln p_j` with `q_j = (1 - s) [j = t] + s / vocabulary`; its derivative by the logits is `p - q`.
//! Logits exist for a block of rows at a time only.

use heedful::kernel;

use crate::linear::{add_column_sums, affine};
use crate::product::{Matrix, add_gradient_product, gradient_product};
use crate::{Gradients, Parameter, Parameters, Workspace};

/// Sums over rows, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// The smoothed cross-entropy: what is minimised.
    pub objective: f64,
    /// The negative log-likelihood of the targets.
    pub nll: f64,
}

/// The projection to the vocabulary; `weight` may be tied to an embedding table.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy {
    /// `W`, `[vocabulary, dim]`.
    pub weight: Parameter,
    /// `b`, `[vocabulary]`.
    pub bias: Option<Parameter>,
    /// The number of classes.
    pub vocabulary: usize,
    /// The width of `x`.
    pub dim: usize,
}

/// About 8 MB of logits: large enough for the products to run at full speed, small enough to stay near the cache.
const LOGITS_AT_ONCE: usize = 1 << 21;

impl CrossEntropy {
    /// The logits of every row of `x [n, dim]`, `[n, vocabulary]`.
    pub fn logits(&self, parameters: &Parameters, x: &[f32], logits: &mut [f32]) {
        affine(parameters, self.weight, self.bias, [self.vocabulary, self.dim], x, logits);
    }

    /// The loss sums without smoothing.
    pub fn forward(&self, parameters: &Parameters, x: &[f32], targets: &[u32], workspace: &mut Workspace) -> Sums {
        let mut sums = Sums::default();
        let mut logits = workspace.take(self.block_rows() * self.vocabulary);
        for (x, targets) in x.chunks(self.block_rows() * self.dim).zip(targets.chunks(self.block_rows())) {
            let logits = &mut logits[..targets.len() * self.vocabulary];
            self.logits(parameters, x, logits);
            for (row, &target) in logits.chunks_exact_mut(self.vocabulary).zip(targets) {
                let nll = f64::from(kernel::slice::log_sum_exp(row) - row[target as usize]);
                sums.nll += nll;
                sums.objective += nll;
            }
        }
        workspace.give(logits);
        sums
    }

    /// The loss sums and the derivative of the objective by `x`; adds those by `W` and `b` to `gradients`.
    pub fn forward_backward(
        &self,
        parameters: &Parameters,
        gradients: &mut Gradients,
        x: &[f32],
        targets: &[u32],
        smoothing: f32,
        workspace: &mut Workspace,
    ) -> (Sums, Vec<f32>) {
        let mut sums = Sums::default();
        let mut d_x = workspace.take(x.len());
        let mut logits = workspace.take(self.block_rows() * self.vocabulary);
        let weight = Matrix::new(&parameters[self.weight], self.vocabulary, self.dim);
        let blocks = x.chunks(self.block_rows() * self.dim).zip(d_x.chunks_mut(self.block_rows() * self.dim));
        for ((x, d_x), targets) in blocks.zip(targets.chunks(self.block_rows())) {
            let logits = &mut logits[..targets.len() * self.vocabulary];
            self.logits(parameters, x, logits);
            for (row, &target) in logits.chunks_exact_mut(self.vocabulary).zip(targets) {
                sums.add(row, target as usize, smoothing);
            }
            let d_logits = Matrix::new(logits, targets.len(), self.vocabulary);
            gradient_product(d_x, d_logits, weight);
            add_gradient_product(&mut gradients[self.weight], d_logits.t(), Matrix::new(x, targets.len(), self.dim));
            if let Some(bias) = self.bias {
                add_column_sums(&mut gradients[bias], logits);
            }
        }
        workspace.give(logits);
        (sums, d_x)
    }

    fn block_rows(&self) -> usize {
        (LOGITS_AT_ONCE / self.vocabulary).clamp(16, 256)
    }
}

impl Sums {
    /// Adds one row's loss and turns its logits into the objective's derivative by them.
    fn add(&mut self, row: &mut [f32], target: usize, smoothing: f32) {
        let target_logit = row[target];
        let mean_logit = if smoothing > 0.0 { kernel::slice::sum(row) / row.len() as f32 } else { 0.0 };
        let log_sum = kernel::slice::softmax(row);
        let nll = f64::from(log_sum - target_logit);
        self.nll += nll;
        self.objective += nll + f64::from(smoothing) * (f64::from(target_logit) - f64::from(mean_logit));
        let spread = smoothing / row.len() as f32;
        if smoothing > 0.0 {
            for p in row.iter_mut() {
                *p -= spread;
            }
        }
        row[target] -= 1.0 - smoothing;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Check, check_gradients};
    use crate::{Init, Linear};

    /// The objective as the formula says it, in f64.
    fn textbook(logits: &[f32], target: usize, smoothing: f64) -> f64 {
        let log_sum = logits.iter().map(|&z| f64::from(z).exp()).sum::<f64>().ln();
        let n = logits.len() as f64;
        logits
            .iter()
            .enumerate()
            .map(|(j, &z)| {
                let q = smoothing / n + if j == target { 1.0 - smoothing } else { 0.0 };
                -q * (f64::from(z) - log_sum)
            })
            .sum()
    }

    #[test]
    fn value_and_gradients() {
        let (vocabulary, dim, n) = (11, 4, 3);
        for smoothing in [0.0, 0.1] {
            let mut check = Check::new(4);
            let weight = check.parameters.add("w", &[vocabulary, dim], Init::Glorot, &mut check.rng);
            let bias = check.parameters.add("b", &[vocabulary], Init::Normal(0.3), &mut check.rng);
            let layer = CrossEntropy { weight, bias: Some(bias), vocabulary, dim };
            let x = check.input(n * dim);
            let targets = [3, 0, 10];

            let mut logits = vec![0.0; n * vocabulary];
            layer.logits(&check.parameters, &x, &mut logits);
            let expected: f64 = logits.chunks(vocabulary).zip(targets).map(|(row, t)| textbook(row, t as usize, smoothing.into())).sum();
            let nll: f64 = logits.chunks(vocabulary).zip(targets).map(|(row, t)| textbook(row, t as usize, 0.0)).sum();
            let mut gradients = check.parameters.gradients();
            let mut workspace = Workspace::new();
            let (sums, _) = layer.forward_backward(&check.parameters, &mut gradients, &x, &targets, smoothing, &mut workspace);
            assert!((sums.objective - expected).abs() < 1e-5 && (sums.nll - nll).abs() < 1e-5, "{sums:?}, textbook {expected} and {nll}");
            assert!((layer.forward(&check.parameters, &x, &targets, &mut workspace).nll - nll).abs() < 1e-5);

            check_gradients(
                check,
                vec![x],
                |p, x, ws| {
                    let (sums, _) = layer.forward_backward(p, &mut p.gradients(), &x[0], &targets, smoothing, ws);
                    vec![sums.objective as f32]
                },
                |p, g, x, d_y, ws| {
                    // The layer ends in a scalar whose derivative is one; the check asks for `d_y` times that.
                    let mut own = p.gradients();
                    let (_, d_x) = layer.forward_backward(p, &mut own, &x[0], &targets, smoothing, ws);
                    for (g, own) in g.values_mut().iter_mut().zip(own.values()) {
                        *g += d_y[0] * own;
                    }
                    vec![d_x.iter().map(|d| d * d_y[0]).collect()]
                },
            );
        }
    }

    #[test]
    fn blocks_do_not_change_the_sum() {
        let mut check = Check::new(6);
        let (vocabulary, dim, n) = (40_000, 2, 50);
        let linear = Linear::without_bias(&mut check.parameters, "w", dim, vocabulary, &mut check.rng);
        let layer = CrossEntropy { weight: linear.weight, bias: None, vocabulary, dim };
        let x = check.input(n * dim);
        let targets: Vec<u32> = (0..n as u32).map(|i| i * 7).collect();
        let mut workspace = Workspace::new();
        let whole = layer.forward(&check.parameters, &x, &targets, &mut workspace).nll;
        let each: f64 = (0..n).map(|i| layer.forward(&check.parameters, &x[i * dim..][..dim], &targets[i..=i], &mut workspace).nll).sum();
        assert!((whole - each).abs() < 1e-3, "{whole} against {each}");
    }
}
