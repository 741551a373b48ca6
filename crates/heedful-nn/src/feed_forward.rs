//! The position-wise feed-forward network of a Transformer layer (Vaswani et al. 2017, eq. 2): `y = max(0, x W1^T + b1) W2^T + b2`.

use rand_chacha::ChaCha8Rng;

use crate::{Dropout, Gradients, Linear, Parameters, Workspace};

/// Two linear maps with a rectifier, and dropout, between them.
#[derive(Clone, Copy, Debug)]
pub struct FeedForward {
    expand: Linear,
    contract: Linear,
}

impl FeedForward {
    /// Adds `NAME.expand` `[hidden, dim]` and `NAME.contract` `[dim, hidden]`.
    pub fn new(parameters: &mut Parameters, name: &str, dim: usize, hidden: usize, rng: &mut ChaCha8Rng) -> Self {
        Self {
            expand: Linear::new(parameters, &format!("{name}.expand"), dim, hidden, rng),
            contract: Linear::new(parameters, &format!("{name}.contract"), hidden, dim, rng),
        }
    }

    /// `y [n, dim]` and the hidden activations `[n, hidden]`, which the backward pass needs.
    pub fn forward(&self, parameters: &Parameters, x: &[f32], dropout: Dropout, workspace: &mut Workspace) -> (Vec<f32>, Vec<f32>) {
        let mut hidden = self.expand.forward(parameters, x, workspace);
        for h in &mut hidden {
            // Not `max`, which would hide NaN.
            if *h < 0.0 {
                *h = 0.0;
            }
        }
        dropout.apply(&mut hidden);
        (self.contract.forward(parameters, &hidden, workspace), hidden)
    }

    /// The derivative by `x`.
    pub fn backward(
        &self,
        parameters: &Parameters,
        gradients: &mut Gradients,
        x: &[f32],
        hidden: &[f32],
        d_y: &[f32],
        dropout: Dropout,
        workspace: &mut Workspace,
    ) -> Vec<f32> {
        let mut d_hidden = self.contract.backward(parameters, gradients, hidden, d_y, workspace);
        dropout.apply(&mut d_hidden);
        // What was dropped has no derivative already; what the rectifier cut is zero in `hidden`.
        for (d, &h) in d_hidden.iter_mut().zip(hidden) {
            *d = if h > 0.0 { *d } else { 0.0 };
        }
        let d_x = self.expand.backward(parameters, gradients, x, &d_hidden, workspace);
        workspace.give(d_hidden);
        d_x
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Check, check_gradients};

    #[test]
    fn gradients_are_the_finite_differences() {
        let mut check = Check::new(8);
        let layer = FeedForward::new(&mut check.parameters, "ff", 4, 9, &mut check.rng);
        check.randomise();
        let x = check.input(5 * 4);
        let dropout = Dropout::new(0.3, 1).at(2);
        check_gradients(
            check,
            vec![x],
            |p, x, ws| layer.forward(p, &x[0], dropout, ws).0,
            |p, g, x, d_y, ws| {
                let (_, hidden) = layer.forward(p, &x[0], dropout, ws);
                vec![layer.backward(p, g, &x[0], &hidden, d_y, dropout, ws)]
            },
        );
    }
}
