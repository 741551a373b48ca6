//! Token embeddings: `y_i = E[token_i]`, and the sinusoidal positions that a Transformer adds to them.

use rand_chacha::ChaCha8Rng;

use crate::{Gradients, Init, Parameter, Parameters};

/// A table of one vector per token.
#[derive(Clone, Copy, Debug)]
pub struct Embedding {
    /// `E`, row-major `[vocabulary, dim]`.
    pub table: Parameter,
    vocabulary: usize,
    dim: usize,
}

impl Embedding {
    /// Adds `NAME.table`, normal with standard deviation `dim^-1/2`.
    pub fn new(parameters: &mut Parameters, name: &str, vocabulary: usize, dim: usize, rng: &mut ChaCha8Rng) -> Self {
        let table = parameters.add(format!("{name}.table"), &[vocabulary, dim], Init::Normal((dim as f32).powf(-0.5)), rng);
        Self { table, vocabulary, dim }
    }

    /// How many tokens there are.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The width of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Writes `scale * E[token]` for each token into `y [tokens, dim]`.
    ///
    /// # Panics
    /// If a token is not below the vocabulary size.
    pub fn forward(&self, parameters: &Parameters, tokens: &[u32], scale: f32, y: &mut [f32]) {
        let table = &parameters[self.table];
        for (&token, y) in tokens.iter().zip(y.chunks_exact_mut(self.dim)) {
            let row = &table[token as usize * self.dim..][..self.dim];
            for (y, e) in y.iter_mut().zip(row) {
                *y = scale * e;
            }
        }
    }

    /// Adds `scale * dy_i` to the gradient of `E[token_i]`.
    pub fn backward(&self, gradients: &mut Gradients, tokens: &[u32], scale: f32, d_y: &[f32]) {
        let table = &mut gradients[self.table];
        for (&token, d_y) in tokens.iter().zip(d_y.chunks_exact(self.dim)) {
            let row = &mut table[token as usize * self.dim..][..self.dim];
            for (e, d_y) in row.iter_mut().zip(d_y) {
                *e += scale * d_y;
            }
        }
    }
}

/// Sinusoidal positions (Vaswani et al. 2017, section 3.5): `P[p, 2i] = sin(p / 10000^(2i/dim))` and `P[p, 2i+1]` its cosine.
#[derive(Clone, Debug)]
pub struct SinusoidalPositions {
    table: Vec<f32>,
    dim: usize,
}

impl SinusoidalPositions {
    /// The first `length` positions.
    pub fn new(length: usize, dim: usize) -> Self {
        let frequencies: Vec<f64> = (0..dim).step_by(2).map(|column| 10_000f64.powf(-(column as f64) / dim as f64)).collect();
        let mut table = Vec::with_capacity(length * dim);
        for position in 0..length {
            let waves = frequencies.iter().flat_map(|frequency| <[f64; 2]>::from((position as f64 * frequency).sin_cos()));
            table.extend(waves.take(dim).map(|wave| wave as f32));
        }
        Self { table, dim }
    }

    /// How many positions there are.
    pub fn length(&self) -> usize {
        self.table.len() / self.dim
    }

    /// Adds positions `first, first + 1, ...` to the rows of `y [n, dim]`.
    ///
    /// # Panics
    /// If a position is not below [`length`](Self::length).
    pub fn add(&self, first: usize, y: &mut [f32]) {
        let positions = &self.table[first * self.dim..][..y.len()];
        for (y, p) in y.iter_mut().zip(positions) {
            *y += p;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Check, check_gradients};

    #[test]
    fn gradients_are_the_finite_differences_also_for_a_token_that_comes_twice() {
        let mut check = Check::new(5);
        let embedding = Embedding::new(&mut check.parameters, "embedding", 6, 3, &mut check.rng);
        let tokens = [4, 0, 4, 5];
        check_gradients(
            check,
            vec![],
            |p, _, ws| {
                let mut y = ws.take(12);
                embedding.forward(p, &tokens, 1.5, &mut y);
                y
            },
            |_, g, _, d_y, _| {
                embedding.backward(g, &tokens, 1.5, d_y);
                vec![]
            },
        );
    }

    #[test]
    fn positions_follow_the_formula() {
        let positions = SinusoidalPositions::new(10, 4);
        let mut y = vec![0.0; 8];
        positions.add(3, &mut y);
        let expected = [3f32.sin(), 3f32.cos(), 0.03f32.sin(), 0.03f32.cos(), 4f32.sin(), 4f32.cos(), 0.04f32.sin(), 0.04f32.cos()];
        assert!(y.iter().zip(expected).all(|(y, e)| (y - e).abs() < 1e-6), "{y:?}");
    }
}
