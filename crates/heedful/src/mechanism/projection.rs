//! A linear map of each token, in the two layouts in which its weights are stored.

use super::{expect_len, rows};
use crate::Result;
use crate::kernel::slice::{axpy, dot};

/// `y = W x + b` for each row `x`.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    /// `[outputs, inputs]`
    weight: Vec<f32>,
    /// `[outputs]`, or empty.
    bias: Vec<f32>,
    inputs: usize,
    outputs: usize,
}

/// What [`Projection::backward`] gives.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectionGradients {
    /// By the rows `x`.
    pub x: Vec<f32>,
    /// By the weight, `[outputs, inputs]`.
    pub weight: Vec<f32>,
    /// By the bias, `[outputs]`, whether or not there is one.
    pub bias: Vec<f32>,
}

impl Projection {
    /// From a weight stored `[inputs, outputs]`, as in `x W`: a bare parameter matrix.
    ///
    /// # Errors
    /// If the weight has another length.
    pub fn parameter(weight: &[f32], inputs: usize, outputs: usize) -> Result<Self> {
        expect_len("Projection::parameter", "weight", weight.len(), inputs * outputs)?;
        let transposed = (0..outputs * inputs).map(|i| weight[i % inputs * outputs + i / inputs]).collect();
        Ok(Self { weight: transposed, bias: Vec::new(), inputs, outputs })
    }

    /// From a weight stored `[outputs, inputs]`, as in `x W^T + b`: a linear layer.
    ///
    /// # Errors
    /// If weight or bias have another length.
    pub fn linear(weight: Vec<f32>, bias: Option<Vec<f32>>, inputs: usize, outputs: usize) -> Result<Self> {
        expect_len("Projection::linear", "weight", weight.len(), inputs * outputs)?;
        if let Some(bias) = &bias {
            expect_len("Projection::linear", "bias", bias.len(), outputs)?;
        }
        Ok(Self { weight, bias: bias.unwrap_or_default(), inputs, outputs })
    }

    /// `W`, `[outputs, inputs]`.
    pub fn weight(&self) -> &[f32] {
        &self.weight
    }

    /// `b`, `[outputs]`, or empty.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// Numbers in a row of `x`.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Numbers in a row of `y`.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// How many numbers are trained.
    pub fn parameters(&self) -> usize {
        self.weight.len() + self.bias.len()
    }

    /// `y`, `[rows, outputs]`, of `x`, `[rows, inputs]`.
    ///
    /// # Errors
    /// If `x` does not consist of whole rows.
    pub fn forward(&self, x: &[f32]) -> Result<Vec<f32>> {
        let rows = rows("Projection::forward", "x", x.len(), self.inputs)?;
        let mut y = Vec::with_capacity(rows * self.outputs);
        for x in x.chunks_exact(self.inputs) {
            for (o, weight) in self.weight.chunks_exact(self.inputs).enumerate() {
                y.push(dot(weight, x) + self.bias.get(o).unwrap_or(&0.0));
            }
        }
        Ok(y)
    }

    /// The gradients from `d_y`, `[rows, outputs]`.
    ///
    /// # Errors
    /// If `x` and `d_y` do not have the same number of whole rows.
    pub fn backward(&self, x: &[f32], d_y: &[f32]) -> Result<ProjectionGradients> {
        const OPERATION: &str = "Projection::backward";
        let rows = rows(OPERATION, "x", x.len(), self.inputs)?;
        expect_len(OPERATION, "d_y", d_y.len(), rows * self.outputs)?;
        let mut gradients =
            ProjectionGradients { x: vec![0.0; x.len()], weight: vec![0.0; self.weight.len()], bias: vec![0.0; self.outputs] };
        // Rows of no numbers have no gradients.
        let (inputs, outputs) = (self.inputs.max(1), self.outputs.max(1));
        for ((x, d_x), d_y) in x.chunks_exact(inputs).zip(gradients.x.chunks_exact_mut(inputs)).zip(d_y.chunks_exact(outputs)) {
            for (o, &d) in d_y.iter().enumerate() {
                axpy(d, &self.weight[o * self.inputs..][..self.inputs], d_x);
                axpy(d, x, &mut gradients.weight[o * self.inputs..][..self.inputs]);
                gradients.bias[o] += d;
            }
        }
        Ok(gradients)
    }
}
