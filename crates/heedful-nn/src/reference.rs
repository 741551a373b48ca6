//! The definition of the recurrent cells: one sentence, one step, one number at a time, in f64.
//!
//! The fast layers of [`recurrent`](crate::recurrent) are tested against it. It also knows the variants that ONNX's operators have and the fast layers do not: a
//! reset gate before the product, peepholes, coupled gates, clipping, other activation functions. Forward only.

use crate::Cell;

/// An element-wise function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `max(0, x)`.
    Relu,
    /// `alpha x + beta`.
    Affine(f64, f64),
    /// `x`, and `alpha x` below zero.
    LeakyRelu(f64),
    /// `x` from `alpha` on, and zero below.
    ThresholdedRelu(f64),
    /// `alpha tanh(beta x)`.
    ScaledTanh(f64, f64),
    /// `alpha x + beta`, bounded to `[0, 1]`.
    HardSigmoid(f64, f64),
    /// `x`, and `alpha (e^x - 1)` below zero.
    Elu(f64),
    /// `x / (1 + |x|)`.
    Softsign,
    /// `ln(1 + e^x)`.
    Softplus,
}

impl Activation {
    fn of(self, x: f64) -> f64 {
        match self {
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Tanh => x.tanh(),
            Self::Relu => x.max(0.0),
            Self::Affine(alpha, beta) => alpha * x + beta,
            Self::LeakyRelu(alpha) => {
                if x < 0.0 {
                    alpha * x
                } else {
                    x
                }
            }
            Self::ThresholdedRelu(alpha) => {
                if x >= alpha {
                    x
                } else {
                    0.0
                }
            }
            Self::ScaledTanh(alpha, beta) => alpha * (beta * x).tanh(),
            Self::HardSigmoid(alpha, beta) => (alpha * x + beta).clamp(0.0, 1.0),
            Self::Elu(alpha) => {
                if x < 0.0 {
                    alpha * (x.exp() - 1.0)
                } else {
                    x
                }
            }
            Self::Softsign => x / (1.0 + x.abs()),
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        }
    }
}

/// A cell with its weights; gate order and shapes as in [`Recurrent`](crate::Recurrent).
#[derive(Clone, Debug)]
pub struct Reference<'a> {
    /// The unit. `Tanh` and `Relu` differ in nothing but the usual choice of `activations[0]`.
    pub cell: Cell,
    /// `W_ih [gates * hidden, input]`.
    pub weight_ih: &'a [f64],
    /// `W_hh [gates * hidden, hidden]`.
    pub weight_hh: &'a [f64],
    /// `[gates * hidden]`, or empty for zeros.
    pub bias_ih: &'a [f64],
    /// `[gates * hidden]`, or empty for zeros.
    pub bias_hh: &'a [f64],
    /// The hidden size.
    pub hidden: usize,
    /// The function of the gates, that of the candidate and that of the memory, as far as the cell has them.
    pub activations: [Activation; 3],
    /// The bound on what goes into an activation function.
    pub clip: Option<f64>,
    /// GRU: `n = tanh(W_in x + b_in + W_hn (r * h) + b_hn)`, as in Cho et al. 2014, in place of `r * (W_hn h + b_hn)`.
    pub reset_before_product: bool,
    /// LSTM: weights `[3 * hidden]` by which the gates i, f, o also see the memory (Gers and Schmidhuber 2000), or empty.
    pub peepholes: &'a [f64],
    /// LSTM: `f = 1 - i`.
    pub coupled_gates: bool,
}

impl<'a> Reference<'a> {
    /// The cell in its usual form.
    pub fn new(cell: Cell, hidden: usize, weight_ih: &'a [f64], weight_hh: &'a [f64], bias_ih: &'a [f64], bias_hh: &'a [f64]) -> Self {
        let activations = match cell {
            Cell::Gru | Cell::Lstm => [Activation::Sigmoid, Activation::Tanh, Activation::Tanh],
            Cell::Tanh => [Activation::Tanh; 3],
            Cell::Relu => [Activation::Relu; 3],
        };
        Self {
            cell,
            weight_ih,
            weight_hh,
            bias_ih,
            bias_hh,
            hidden,
            activations,
            clip: None,
            reset_before_product: false,
            peepholes: &[],
            coupled_gates: false,
        }
    }

    /// One step: replaces `h` and, for an LSTM, `c`.
    pub fn step(&self, x: &[f64], h: &mut [f64], c: &mut [f64]) {
        let before = h.to_vec();
        let [gate, candidate, output] = self.activations;
        for j in 0..self.hidden {
            match self.cell {
                Cell::Tanh | Cell::Relu => h[j] = self.activate(gate, self.input_part(0, j, x) + self.state_part(0, j, &before)),
                Cell::Gru => {
                    let reset = |k: usize| self.activate(gate, self.input_part(0, k, x) + self.state_part(0, k, &before));
                    let z = self.activate(gate, self.input_part(1, j, x) + self.state_part(1, j, &before));
                    let state = if self.reset_before_product {
                        let kept: Vec<f64> = before.iter().enumerate().map(|(k, h)| reset(k) * h).collect();
                        self.state_part(2, j, &kept)
                    } else {
                        reset(j) * self.state_part(2, j, &before)
                    };
                    let n = self.activate(candidate, self.input_part(2, j, x) + state);
                    h[j] = (1.0 - z) * n + z * before[j];
                }
                Cell::Lstm => {
                    let sum = |gate: usize| self.input_part(gate, j, x) + self.state_part(gate, j, &before);
                    let peephole = |which: usize| self.peepholes.get(which * self.hidden + j).copied().unwrap_or(0.0);
                    let i = self.activate(gate, sum(0) + peephole(0) * c[j]);
                    let f = if self.coupled_gates { 1.0 - i } else { self.activate(gate, sum(1) + peephole(1) * c[j]) };
                    c[j] = f * c[j] + i * self.activate(candidate, sum(2));
                    let o = self.activate(gate, sum(3) + peephole(2) * c[j]);
                    h[j] = o * self.activate(output, c[j]);
                }
            }
        }
    }

    fn activate(&self, f: Activation, x: f64) -> f64 {
        f.of(self.clip.map_or(x, |bound| x.clamp(-bound, bound)))
    }

    /// `(W_ih x + b_ih)` of unit `j` of a gate.
    fn input_part(&self, gate: usize, j: usize, x: &[f64]) -> f64 {
        affine(self.weight_ih, self.bias_ih, gate * self.hidden + j, x)
    }

    /// `(W_hh h + b_hh)` of unit `j` of a gate.
    fn state_part(&self, gate: usize, j: usize, h: &[f64]) -> f64 {
        affine(self.weight_hh, self.bias_hh, gate * self.hidden + j, h)
    }
}

/// `(W x + b)_row`.
fn affine(weight: &[f64], bias: &[f64], row: usize, x: &[f64]) -> f64 {
    let product: f64 = weight[row * x.len()..][..x.len()].iter().zip(x).map(|(w, x)| w * x).sum();
    product + bias.get(row).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Check;
    use crate::{Direction, Recurrent, State, TimeMajor, Workspace};

    #[test]
    fn the_fast_layers_compute_what_is_defined_here() {
        let (input, hidden, steps) = (3, 19, 6);
        for cell in [Cell::Gru, Cell::Lstm, Cell::Tanh, Cell::Relu] {
            let mut check = Check::new(41);
            let layer = Recurrent::new(&mut check.parameters, "layer", cell, input, hidden, &mut check.rng);
            check.randomise();
            let (x, h0, c0) = (check.input(steps * input), check.input(hidden), check.input(hidden));
            let double = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
            let p = &check.parameters;
            let [bias_ih, bias_hh] = layer.bias.expect("made with a bias").map(|bias| double(&p[bias]));
            let (weight_ih, weight_hh) = (double(&p[layer.weight_ih]), double(&p[layer.weight_hh]));
            let reference = Reference::new(cell, hidden, &weight_ih, &weight_hh, &bias_ih, &bias_hh);

            let mut ws = Workspace::new();
            let initial = State { hidden: h0.clone(), memory: if cell.has_memory() { c0.clone() } else { Vec::new() } };
            let (output, _, _) = layer.forward(p, &x, &TimeMajor::new(&[steps]), Direction::Forward, initial, &mut ws);
            let (mut h, mut c) = (double(&h0), double(&c0));
            for (t, (x, output)) in x.chunks(input).zip(output.chunks(hidden)).enumerate() {
                reference.step(&double(x), &mut h, &mut c);
                let error = h.iter().zip(output).map(|(h, y)| (h - f64::from(*y)).abs()).fold(0.0, f64::max);
                assert!(error < 2e-6 * h.iter().fold(1.0f64, |m, h| m.max(h.abs())), "{cell:?} step {t}: off by {error}");
            }
        }
    }
}
