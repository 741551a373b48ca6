//! Gradient checks by central differences, for the tests of every layer.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{Gradients, Parameters, Workspace};

/// What a check starts from: parameters, and a source of numbers.
pub(crate) struct Check {
    pub parameters: Parameters,
    pub rng: ChaCha8Rng,
}

impl Check {
    pub fn new(seed: u64) -> Self {
        Self { parameters: Parameters::new(), rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Moves every parameter away from its initial value, so that no gradient is zero because a bias or a gain is special.
    pub fn randomise(&mut self) {
        for value in self.parameters.values_mut() {
            *value += self.rng.random_range(-0.5..0.5);
        }
    }

    pub fn input(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.rng.random_range(-1.0..1.0)).collect()
    }
}

/// Holds the backward pass against central differences of `sum_i c_i y_i`, for random `c`, in every parameter and every input.
///
/// `backward` gets `c` as `d_y`, adds to the gradients and returns the derivative by each input. f32 differences carry an error of about
/// `1e-7 |loss| / step`; with the step 1e-2 and a loss of a few units that stays well below the tolerance.
pub(crate) fn check_gradients(
    mut check: Check,
    mut inputs: Vec<Vec<f32>>,
    forward: impl Fn(&Parameters, &[Vec<f32>], &mut Workspace) -> Vec<f32>,
    backward: impl Fn(&Parameters, &mut Gradients, &[Vec<f32>], &[f32], &mut Workspace) -> Vec<Vec<f32>>,
) {
    const STEP: f32 = 1e-2;
    let mut workspace = Workspace::new();
    let y = forward(&check.parameters, &inputs, &mut workspace);
    let c = check.input(y.len());
    let mut gradients = check.parameters.gradients();
    let d_inputs = backward(&check.parameters, &mut gradients, &inputs, &c, &mut workspace);
    assert_eq!(d_inputs.len(), inputs.len());

    let mut loss = |parameters: &Parameters, inputs: &[Vec<f32>]| -> f64 {
        let y = forward(parameters, inputs, &mut workspace);
        y.iter().zip(&c).map(|(y, c)| f64::from(*y) * f64::from(*c)).sum()
    };
    let compare = |what: &str, i: usize, analytic: f32, plus: f64, minus: f64| {
        let numeric = (plus - minus) / f64::from(2.0 * STEP);
        let error = (f64::from(analytic) - numeric).abs();
        assert!(error < 4e-3 + 1e-2 * numeric.abs(), "{what}[{i}]: backward says {analytic}, the difference quotient {numeric}");
    };
    for i in 0..check.parameters.values().len() {
        let value = check.parameters.values()[i];
        check.parameters.values_mut()[i] = value + STEP;
        let plus = loss(&check.parameters, &inputs);
        check.parameters.values_mut()[i] = value - STEP;
        let minus = loss(&check.parameters, &inputs);
        check.parameters.values_mut()[i] = value;
        compare("parameter", i, gradients.values()[i], plus, minus);
    }
    for which in 0..inputs.len() {
        for i in 0..inputs[which].len() {
            let value = inputs[which][i];
            inputs[which][i] = value + STEP;
            let plus = loss(&check.parameters, &inputs);
            inputs[which][i] = value - STEP;
            let minus = loss(&check.parameters, &inputs);
            inputs[which][i] = value;
            compare(&format!("input {which}"), i, d_inputs[which][i], plus, minus);
        }
    }
}
