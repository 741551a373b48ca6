//! Layer normalisation (Ba et al. 2016, eq. 4): `y = gain * (x - mean(x)) / sqrt(var(x) + eps) + bias` over the last dimension.

use rand_chacha::ChaCha8Rng;

use heedful::simd::{Isa, Op, dispatch};

use crate::reduce::{sum_of, sum_of_pairs, sum_of_triples};
use crate::{Gradients, Init, Parameter, Parameters, Workspace};

/// Layer normalisation of rows of width `dim`.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    /// The factor of each column, `[dim]`.
    pub gain: Parameter,
    /// The offset of each column, `[dim]`.
    pub bias: Parameter,
    dim: usize,
    epsilon: f32,
}

/// What the backward pass needs besides `x`: per row the mean and `1 / sqrt(var + eps)`.
#[derive(Debug)]
pub struct Statistics {
    mean: Vec<f32>,
    inverse_deviation: Vec<f32>,
}

impl Statistics {
    /// The mean of each row.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// `1 / sqrt(var + eps)` of each row.
    pub fn inverse_deviation(&self) -> &[f32] {
        &self.inverse_deviation
    }

    /// Gives its buffers back.
    pub fn release(self, workspace: &mut Workspace) {
        workspace.give(self.mean);
        workspace.give(self.inverse_deviation);
    }
}

impl LayerNorm {
    /// Adds `NAME.gain` (ones) and `NAME.bias` (zeros); `eps` is 1e-5.
    pub fn new(parameters: &mut Parameters, name: &str, dim: usize, rng: &mut ChaCha8Rng) -> Self {
        Self {
            gain: parameters.add(format!("{name}.gain"), &[dim], Init::Constant(1.0), rng),
            bias: parameters.add(format!("{name}.bias"), &[dim], Init::Constant(0.0), rng),
            dim,
            epsilon: 1e-5,
        }
    }

    /// With another `eps`.
    #[must_use]
    pub fn epsilon(self, epsilon: f32) -> Self {
        Self { epsilon, ..self }
    }

    /// Normalises each row of `x [n, dim]`.
    pub fn forward(&self, parameters: &Parameters, x: &[f32], workspace: &mut Workspace) -> (Vec<f32>, Statistics) {
        let n = x.len() / self.dim;
        let mut y = workspace.take(x.len());
        let mut statistics = Statistics { mean: workspace.take(n), inverse_deviation: workspace.take(n) };
        let (gain, bias) = (&parameters[self.gain], &parameters[self.bias]);
        dispatch(Forward { x, y: &mut y, gain, bias, epsilon: self.epsilon, statistics: &mut statistics });
        (y, statistics)
    }

    /// Normalises each row of `x [n, dim]` when there is no way back.
    pub fn normalise(&self, parameters: &Parameters, x: &[f32], workspace: &mut Workspace) -> Vec<f32> {
        let (y, statistics) = self.forward(parameters, x, workspace);
        statistics.release(workspace);
        y
    }

    /// Adds the derivative by `x` to `d_x`, and those by gain and bias to `gradients`.
    ///
    /// With `n_i = (x_i - mean) r` and `g_i = dy_i gain_i`: `dx_i = r (g_i - mean(g) - n_i mean(g n))`.
    pub fn backward_add(
        &self,
        parameters: &Parameters,
        gradients: &mut Gradients,
        x: &[f32],
        statistics: &Statistics,
        d_y: &[f32],
        d_x: &mut [f32],
    ) {
        let [d_gain, d_bias] = gradients.pair_mut(self.gain, self.bias);
        dispatch(Backward { x, statistics, gain: &parameters[self.gain], d_y, d_x, d_gain, d_bias });
    }
}

struct Forward<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
    gain: &'a [f32],
    bias: &'a [f32],
    epsilon: f32,
    statistics: &'a mut Statistics,
}

impl Op for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, _: I) {
        let dim = self.gain.len();
        for (row, (x, y)) in self.x.chunks_exact(dim).zip(self.y.chunks_exact_mut(dim)).enumerate() {
            let mean = sum_of(x, |x| x) / dim as f32;
            let variance = sum_of(x, |x| (x - mean) * (x - mean)) / dim as f32;
            let inverse = 1.0 / (variance + self.epsilon).sqrt();
            self.statistics.mean[row] = mean;
            self.statistics.inverse_deviation[row] = inverse;
            for i in 0..dim {
                y[i] = (x[i] - mean) * inverse * self.gain[i] + self.bias[i];
            }
        }
    }
}

struct Backward<'a> {
    x: &'a [f32],
    statistics: &'a Statistics,
    gain: &'a [f32],
    d_y: &'a [f32],
    d_x: &'a mut [f32],
    d_gain: &'a mut [f32],
    d_bias: &'a mut [f32],
}

impl Op for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, _: I) {
        let dim = self.gain.len();
        let rows = self.x.chunks_exact(dim).zip(self.d_y.chunks_exact(dim)).zip(self.d_x.chunks_exact_mut(dim));
        for (row, ((x, d_y), d_x)) in rows.enumerate() {
            let (mean, inverse) = (self.statistics.mean[row], self.statistics.inverse_deviation[row]);
            let (gain, d_gain, d_bias) = (&self.gain[..dim], &mut self.d_gain[..dim], &mut self.d_bias[..dim]);
            for i in 0..dim {
                d_gain[i] += d_y[i] * (x[i] - mean) * inverse;
                d_bias[i] += d_y[i];
            }
            let mean_g = sum_of_pairs(d_y, gain, |d, g| d * g) / dim as f32;
            let mean_gn = sum_of_triples(d_y, gain, x, |d, g, x| d * g * (x - mean)) * inverse / dim as f32;
            for i in 0..dim {
                d_x[i] += inverse * (d_y[i] * gain[i] - mean_g - (x[i] - mean) * inverse * mean_gn);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Check, check_gradients};

    #[test]
    fn a_row_has_mean_zero_and_variance_one() {
        let mut check = Check::new(1);
        let layer = LayerNorm::new(&mut check.parameters, "norm", 37, &mut check.rng);
        let x = check.input(5 * 37);
        let (y, _) = layer.forward(&check.parameters, &x, &mut Workspace::new());
        for row in y.chunks(37) {
            let mean = row.iter().sum::<f32>() / 37.0;
            let variance = row.iter().map(|y| y * y).sum::<f32>() / 37.0;
            assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-3, "mean {mean}, variance {variance}");
        }
    }

    #[test]
    fn gradients_are_the_finite_differences() {
        let mut check = Check::new(2);
        let layer = LayerNorm::new(&mut check.parameters, "norm", 19, &mut check.rng);
        check.randomise();
        let x = check.input(3 * 19);
        check_gradients(
            check,
            vec![x],
            |p, x, ws| layer.forward(p, &x[0], ws).0,
            |p, g, x, d_y, ws| {
                let (_, statistics) = layer.forward(p, &x[0], ws);
                let mut d_x = vec![0.0; x[0].len()];
                layer.backward_add(p, g, &x[0], &statistics, d_y, &mut d_x);
                vec![d_x]
            },
        );
    }
}
