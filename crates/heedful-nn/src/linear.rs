//! The affine map `y = x W^T + b`, with `W` stored `[outputs, inputs]`.

use rand_chacha::ChaCha8Rng;

use crate::product::{Matrix, add_gradient_product, add_product, gradient_product, product};
use crate::{Gradients, Init, Parameter, Parameters, Workspace};

/// `y = x W^T + b`: `x [n, inputs]`, `W [outputs, inputs]`, `b [outputs]`, `y [n, outputs]`.
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    /// `W`, row-major `[outputs, inputs]`.
    pub weight: Parameter,
    /// `b`, if there is one.
    pub bias: Option<Parameter>,
    inputs: usize,
    outputs: usize,
}

impl Linear {
    /// Adds `NAME.weight` (Glorot) and `NAME.bias` (zeros).
    pub fn new(parameters: &mut Parameters, name: &str, inputs: usize, outputs: usize, rng: &mut ChaCha8Rng) -> Self {
        let bias = parameters.add(format!("{name}.bias"), &[outputs], Init::Constant(0.0), rng);
        Self { bias: Some(bias), ..Self::without_bias(parameters, name, inputs, outputs, rng) }
    }

    /// Adds `NAME.weight` (Glorot) only: `y = x W^T`.
    pub fn without_bias(parameters: &mut Parameters, name: &str, inputs: usize, outputs: usize, rng: &mut ChaCha8Rng) -> Self {
        let weight = parameters.add(format!("{name}.weight"), &[outputs, inputs], Init::Glorot, rng);
        Self { weight, bias: None, inputs, outputs }
    }

    /// The width of `x`.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The width of `y`.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// `y = x W^T + b`.
    pub fn forward(&self, parameters: &Parameters, x: &[f32], workspace: &mut Workspace) -> Vec<f32> {
        let mut y = workspace.take(x.len() / self.inputs * self.outputs);
        self.forward_into(parameters, x, &mut y);
        y
    }

    /// `y = x W^T + b` into a buffer of `n * outputs`.
    pub fn forward_into(&self, parameters: &Parameters, x: &[f32], y: &mut [f32]) {
        affine(parameters, self.weight, self.bias, [self.outputs, self.inputs], x, y);
    }

    /// Adds `dy^T x` to the gradient of `W` and the column sums of `dy` to that of `b`.
    pub fn backward_parameters(&self, gradients: &mut Gradients, x: &[f32], d_y: &[f32]) {
        let n = x.len() / self.inputs;
        let (x, d_y_matrix) = (Matrix::new(x, n, self.inputs), Matrix::new(d_y, n, self.outputs));
        add_gradient_product(&mut gradients[self.weight], d_y_matrix.t(), x);
        if let Some(bias) = self.bias {
            add_column_sums(&mut gradients[bias], d_y);
        }
    }

    /// `dx = dy W`, after adding to the gradients of `W` and `b`.
    pub fn backward(
        &self,
        parameters: &Parameters,
        gradients: &mut Gradients,
        x: &[f32],
        d_y: &[f32],
        workspace: &mut Workspace,
    ) -> Vec<f32> {
        let mut d_x = workspace.take(x.len());
        self.backward_parameters(gradients, x, d_y);
        gradient_product(&mut d_x, Matrix::new(d_y, x.len() / self.inputs, self.outputs), self.matrix(parameters));
        d_x
    }

    /// `dx += dy W`, after adding to the gradients of `W` and `b`.
    pub fn backward_add(&self, parameters: &Parameters, gradients: &mut Gradients, x: &[f32], d_y: &[f32], d_x: &mut [f32]) {
        self.backward_parameters(gradients, x, d_y);
        add_gradient_product(d_x, Matrix::new(d_y, x.len() / self.inputs, self.outputs), self.matrix(parameters));
    }

    fn matrix<'p>(&self, parameters: &'p Parameters) -> Matrix<'p> {
        Matrix::new(&parameters[self.weight], self.outputs, self.inputs)
    }
}

/// `y = x W^T + b` for `W [outputs, inputs]`, in 8 bits if `W` is kept so.
pub(crate) fn affine(
    parameters: &Parameters,
    weight: Parameter,
    bias: Option<Parameter>,
    [outputs, inputs]: [usize; 2],
    x: &[f32],
    y: &mut [f32],
) {
    let bias = bias.map(|bias| &parameters[bias]);
    if let Some(weight) = parameters.eight_bits(weight) {
        return weight.product(x, bias, y);
    }
    let (x, weight) = (Matrix::new(x, x.len() / inputs, inputs), Matrix::new(&parameters[weight], outputs, inputs));
    if let Some(bias) = bias {
        for row in y.chunks_exact_mut(outputs) {
            row.copy_from_slice(bias);
        }
        add_product(y, x, weight.t());
    } else {
        product(y, x, weight.t());
    }
}

/// `sums[j] += sum over rows i of x[i, j]`, for `x [n, sums.len()]`.
pub fn add_column_sums(sums: &mut [f32], x: &[f32]) {
    for row in x.chunks_exact(sums.len()) {
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Check, check_gradients};

    #[test]
    fn gradients_are_the_finite_differences() {
        let mut check = Check::new(3);
        let (with, without) = (
            Linear::new(&mut check.parameters, "with", 5, 4, &mut check.rng),
            Linear::without_bias(&mut check.parameters, "without", 4, 3, &mut check.rng),
        );
        check.randomise();
        let x = check.input(7 * 5);
        check_gradients(
            check,
            vec![x],
            |p, x, ws| {
                let hidden = with.forward(p, &x[0], ws);
                without.forward(p, &hidden, ws)
            },
            |p, g, x, d_y, ws| {
                let hidden = with.forward(p, &x[0], ws);
                let d_hidden = without.backward(p, g, &hidden, d_y, ws);
                let mut d_x = vec![0.0; x[0].len()];
                with.backward_add(p, g, &x[0], &d_hidden, &mut d_x);
                vec![d_x]
            },
        );
    }
}
