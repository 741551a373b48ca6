//! Trains one layer of causal attention, forward and backward, on a task that only attention can solve: say again the token before the last.
//!
//! Tokens are random, so that nothing can be learned but where to look: the positions must come to point two places back.
//!
//! ```text
//! cargo run --release -p heedful --example train_causal
//! ```

use heedful::lens::Lens;
use heedful::mechanism::Projection;
use heedful::{Diagonal, Options, QkvMut, Result, View, ViewMut, attend, attend_backward};

const VOCABULARY: usize = 8;
const LENGTH: usize = 16;
const BATCH: usize = 16;
/// A token and its position, each as one of several directions.
const INPUTS: usize = VOCABULARY + LENGTH;
const DIM: usize = 16;
const SHAPE: [usize; 4] = [BATCH, 1, LENGTH, DIM];

struct Random(u64);

impl Random {
    /// In `0..1` (xorshift, Marsaglia 2003).
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 24) as f32
    }

    fn weights(&mut self, inputs: usize, outputs: usize) -> Vec<f32> {
        let bound = 1.0 / (inputs as f32).sqrt();
        (0..inputs * outputs).map(|_| (2.0 * self.next() - 1.0) * bound).collect()
    }
}

/// Weights with their running means of the gradient and of its square (Adam, Kingma and Ba 2015).
struct Trained {
    weights: Vec<f32>,
    means: Vec<[f32; 2]>,
    shape: [usize; 2],
}

impl Trained {
    fn new(random: &mut Random, inputs: usize, outputs: usize) -> Self {
        let weights = random.weights(inputs, outputs);
        Self { means: vec![[0.0; 2]; weights.len()], weights, shape: [inputs, outputs] }
    }

    fn projection(&self) -> Result<Projection> {
        Projection::linear(self.weights.clone(), None, self.shape[0], self.shape[1])
    }

    fn step(&mut self, update: i32, gradient: &[f32]) {
        for ((w, [m, v]), g) in self.weights.iter_mut().zip(&mut self.means).zip(gradient) {
            (*m, *v) = (0.9 * *m + 0.1 * g, 0.99 * *v + 0.01 * g * g);
            let (m, v) = (*m / (1.0 - 0.9f32.powi(update)), *v / (1.0 - 0.99f32.powi(update)));
            *w -= 0.02 * m / (v.sqrt() + 1e-8);
        }
    }
}

fn view(data: &[f32]) -> Result<View<'_>> {
    View::contiguous(data, SHAPE)
}

fn main() -> Result<()> {
    let random = &mut Random(0x5eed);
    let mut layers =
        [(INPUTS, DIM), (INPUTS, DIM), (INPUTS, DIM), (DIM, VOCABULARY)].map(|(inputs, outputs)| Trained::new(random, inputs, outputs));
    let options = Options::new().causal(Diagonal::TopLeft);
    let (mut first, mut last) = (0.0, 0.0);
    for update in 1..=100 {
        let tokens: Vec<usize> = (0..BATCH * LENGTH).map(|_| (random.next() * VOCABULARY as f32) as usize).collect();
        let mut x = vec![0.0; BATCH * LENGTH * INPUTS];
        for (i, (row, token)) in x.chunks_exact_mut(INPUTS).zip(&tokens).enumerate() {
            (row[*token], row[VOCABULARY + i % LENGTH]) = (1.0, 1.0);
        }

        // Forward: projections, attention, the logits of each token, and the cross-entropy with the token two places back.
        let [query, key, value, output] = layers.each_ref().map(Trained::projection);
        let (query, key, value, output) = (query?, key?, value?, output?);
        let (q, k, v) = (query.forward(&x)?, key.forward(&x)?, value.forward(&x)?);
        let (mut context, mut lse) = (vec![0.0; q.len()], vec![0.0; BATCH * LENGTH]);
        attend(view(&q)?, view(&k)?, view(&v)?, &options, ViewMut::contiguous(&mut context, SHAPE)?, Some(&mut lse))?;
        let mut d_logits = output.forward(&context)?;
        let (mut loss, asked) = (0.0, (BATCH * (LENGTH - 2)) as f32);
        for (i, logits) in d_logits.chunks_exact_mut(VOCABULARY).enumerate() {
            if i % LENGTH < 2 {
                logits.fill(0.0);
                continue;
            }
            heedful::softmax::softmax(logits);
            loss -= logits[tokens[i - 2]].ln() / asked;
            logits[tokens[i - 2]] -= 1.0;
            for d in logits {
                *d /= asked;
            }
        }

        // Backward, in the opposite order.
        let d_output = output.backward(&context, &d_logits)?;
        let [mut d_q, mut d_k, mut d_v] = [0; 3].map(|_| vec![0.0; q.len()]);
        let gradients = QkvMut::separate(
            ViewMut::contiguous(&mut d_q, SHAPE)?,
            ViewMut::contiguous(&mut d_k, SHAPE)?,
            ViewMut::contiguous(&mut d_v, SHAPE)?,
        );
        attend_backward(view(&q)?, view(&k)?, view(&v)?, &options, view(&context)?, &lse, view(&d_output.x)?, gradients, None)?;
        let gradients = [query.backward(&x, &d_q)?, key.backward(&x, &d_k)?, value.backward(&x, &d_v)?, d_output];
        for (layer, gradient) in layers.iter_mut().zip(&gradients) {
            layer.step(update, &gradient.weight);
        }

        (first, last) = (if update == 1 { loss } else { first }, loss);
        if update == 1 || update % 20 == 0 {
            let heaviest = Lens::new(view(&q)?, view(&k)?, &options, &lse)?.top_k(0, 0, LENGTH - 1, 1)?;
            println!(
                "update {update:3}: loss {loss:.4}; token {} looks at token {} most, with {:.2}",
                LENGTH - 1,
                heaviest.keys[0],
                heaviest.weights[0]
            );
        }
    }
    println!("from {first:.4} (of a guess: {:.4}) to {last:.4}", (VOCABULARY as f32).ln());
    assert!(last < 0.1 * first);
    Ok(())
}
