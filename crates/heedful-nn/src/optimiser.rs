//! Adam and AdamW over all parameters at once, and gradient clipping.

use heedful::simd::{Isa, Op, dispatch};
use rayon::prelude::*;

use crate::reduce::sum_of;
use crate::{Gradients, Parameters};

/// Elements that one task works on: a multiple of any vector width, and fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 1 << 16;

/// Adam (Kingma and Ba 2015, algorithm 1) with decoupled weight decay (AdamW, Loshchilov and Hutter 2019, algorithm 2).
#[derive(Clone, Debug, PartialEq)]
pub struct Adam {
    /// Decay of the running mean of gradients.
    pub beta1: f32,
    /// Decay of the running mean of squared gradients.
    pub beta2: f32,
    /// Added to the square root in the denominator.
    pub epsilon: f32,
    /// Each update also shrinks every parameter by `learning rate * weight_decay`.
    pub weight_decay: f32,
    mean: Vec<f32>,
    square: Vec<f32>,
    updates: u64,
}

impl Adam {
    /// No update done yet; beta 0.9 and 0.98, epsilon 1e-9 (Vaswani et al. 2017, section 5.3), no weight decay.
    pub fn new(parameters: &Parameters) -> Self {
        let n = parameters.values().len();
        Self { beta1: 0.9, beta2: 0.98, epsilon: 1e-9, weight_decay: 0.0, mean: vec![0.0; n], square: vec![0.0; n], updates: 0 }
    }

    /// How many updates were done.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Running mean and running mean square, in the layout of the parameters.
    pub fn moments(&self) -> (&[f32], &[f32]) {
        (&self.mean, &self.square)
    }

    /// Continues where another run stopped.
    ///
    /// # Panics
    /// If the moments are of another length than the parameters.
    pub fn restore(&mut self, mean: &[f32], square: &[f32], updates: u64) {
        self.mean.copy_from_slice(mean);
        self.square.copy_from_slice(square);
        self.updates = updates;
    }

    /// One update with `gradient_scale * gradients`.
    pub fn update(&mut self, parameters: &mut Parameters, gradients: &Gradients, gradient_scale: f32, learning_rate: f32) {
        self.updates += 1;
        let t = self.updates as f64;
        let step = AdamStep {
            beta1: self.beta1,
            beta2: self.beta2,
            // Both bias corrections (algorithm 1's hats) folded into the step and the epsilon.
            rate: (f64::from(learning_rate) / (1.0 - f64::from(self.beta1).powf(t))) as f32,
            square_scale: (1.0 / (1.0 - f64::from(self.beta2).powf(t))) as f32,
            epsilon: self.epsilon,
            shrink: 1.0 - learning_rate * self.weight_decay,
            gradient_scale,
        };
        parameters
            .values_mut()
            .par_chunks_mut(CHUNK)
            .zip(gradients.values().par_chunks(CHUNK))
            .zip(self.mean.par_chunks_mut(CHUNK))
            .zip(self.square.par_chunks_mut(CHUNK))
            .for_each(|(((value, gradient), mean), square)| dispatch(AdamChunk { step, value, gradient, mean, square }));
    }
}

#[derive(Clone, Copy)]
struct AdamStep {
    beta1: f32,
    beta2: f32,
    rate: f32,
    square_scale: f32,
    epsilon: f32,
    shrink: f32,
    gradient_scale: f32,
}

struct AdamChunk<'a> {
    step: AdamStep,
    value: &'a mut [f32],
    gradient: &'a [f32],
    mean: &'a mut [f32],
    square: &'a mut [f32],
}

impl Op for AdamChunk<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, _: I) {
        let s = self.step;
        for (((value, gradient), mean), square) in self.value.iter_mut().zip(self.gradient).zip(self.mean).zip(self.square) {
            let g = gradient * s.gradient_scale;
            *mean = s.beta1 * *mean + (1.0 - s.beta1) * g;
            *square = s.beta2 * *square + (1.0 - s.beta2) * g * g;
            *value = s.shrink * *value - s.rate * *mean / ((*square * s.square_scale).sqrt() + s.epsilon);
        }
    }
}

/// Adds `others`, one after the other, to `gradients`, and returns the Euclidean norm of the sum: both in one pass over memory.
pub fn sum_gradients(gradients: &mut Gradients, others: &[&Gradients]) -> f32 {
    let squares: Vec<f64> = gradients
        .values_mut()
        .par_chunks_mut(CHUNK)
        .enumerate()
        .map(|(i, sums)| {
            let start = i * CHUNK;
            let others = others.iter().map(|other| &other.values()[start..start + sums.len()]).collect();
            dispatch(SumChunk { sums, others })
        })
        .collect();
    squares.iter().sum::<f64>().sqrt() as f32
}

/// Adds up gradients and returns the sum's squared norm.
struct SumChunk<'a> {
    sums: &'a mut [f32],
    others: Vec<&'a [f32]>,
}

impl Op for SumChunk<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<I: Isa>(self, _: I) -> f64 {
        /// Numbers that stay in registers from the first addend to the square.
        const AT_ONCE: usize = 64;
        let mut squares = 0.0;
        for (i, sums) in self.sums.chunks_mut(AT_ONCE).enumerate() {
            for other in &self.others {
                for (sum, value) in sums.iter_mut().zip(&other[i * AT_ONCE..]) {
                    *sum += value;
                }
            }
            squares += f64::from(sum_of(sums, |g| g * g));
        }
        squares
    }
}

/// The factor that brings a gradient of this norm down to `limit` (Pascanu et al. 2013, algorithm 1); 1 where it is shorter.
pub fn clip_factor(norm: f32, limit: f32) -> f32 {
    if norm > limit { limit / norm } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Init;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// Algorithm 2 of the AdamW paper as written, in f64.
    fn textbook(value: f64, gradients: &[f64], rate: f64, decay: f64) -> f64 {
        let (b1, b2, epsilon) = (0.9, 0.98, 1e-9);
        let (mut x, mut m, mut v) = (value, 0.0, 0.0);
        for (i, g) in gradients.iter().enumerate() {
            let t = i as i32 + 1;
            m = b1 * m + (1.0 - b1) * g;
            v = b2 * v + (1.0 - b2) * g * g;
            x -= rate * ((m / (1.0 - f64::powi(b1, t))) / ((v / (1.0 - f64::powi(b2, t))).sqrt() + epsilon) + decay * x);
        }
        x
    }

    #[test]
    fn follows_the_algorithm() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut parameters = Parameters::new();
        let w = parameters.add("w", &[100], Init::Uniform(1.0), &mut rng);
        let start = parameters[w].to_vec();
        let mut adam = Adam { weight_decay: 0.01, ..Adam::new(&parameters) };
        let gradient = |i: usize, t: usize| ((i + 3 * t) % 7) as f32 - 2.5;
        for t in 0..5 {
            let mut gradients = parameters.gradients();
            for i in 0..100 {
                gradients[w][i] = 2.0 * gradient(i, t);
            }
            adam.update(&mut parameters, &gradients, 0.5, 0.02);
        }
        for i in 0..100 {
            let series: Vec<f64> = (0..5).map(|t| f64::from(gradient(i, t))).collect();
            let expected = textbook(f64::from(start[i]), &series, 0.02, 0.01);
            assert!((f64::from(parameters[w][i]) - expected).abs() < 1e-5, "{i}: {} against {expected}", parameters[w][i]);
        }
    }

    #[test]
    fn clipping_keeps_the_direction_and_limits_the_length() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut parameters = Parameters::new();
        let w = parameters.add("w", &[2], Init::Constant(0.0), &mut rng);
        let mut gradients = parameters.gradients();
        gradients[w].copy_from_slice(&[3.0, 4.0]);
        let norm = sum_gradients(&mut gradients, &[]);
        assert!((norm - 5.0).abs() < 1e-6);
        assert!((clip_factor(norm, 1.0) - 0.2).abs() < 1e-6);
        assert_eq!(clip_factor(norm, 10.0), 1.0);
    }

    #[test]
    fn shards_are_summed_in_order_and_the_norm_is_that_of_the_sum() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut parameters = Parameters::new();
        let n = CHUNK + 77;
        let big = parameters.add("big", &[n], Init::Constant(0.0), &mut rng);
        let mut all: Vec<Gradients> = (0..3).map(|_| parameters.gradients()).collect();
        for (s, gradients) in all.iter_mut().enumerate() {
            for (i, g) in gradients[big].iter_mut().enumerate() {
                *g = ((i * 37 + s * 11) % 101) as f32 / 50.0 - 1.0;
            }
        }
        let expected: Vec<f32> = (0..n).map(|i| (all[0][big][i] + all[1][big][i]) + all[2][big][i]).collect();
        let norm = expected.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        let (first, rest) = all.split_first_mut().expect("three");
        let found = sum_gradients(first, &rest.iter().collect::<Vec<_>>());
        assert_eq!(first[big], expected[..]);
        assert!((f64::from(found) / norm - 1.0).abs() < 1e-6, "{found} against {norm}");
    }
}
