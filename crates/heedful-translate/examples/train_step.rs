//! The speed of training steps: forward, backward and Adam, without dropout, in target tokens per second.
//!
//! ```text
//! RAYON_NUM_THREADS=2 cargo run --release -p heedful-translate --example train_step
//! ```
//!
//! Sizes are those of common small models: GRU 256 with Bahdanau's attention and tables of its own for source, target and output on
//! 64 sentences of 15 tokens, and a Transformer (256, 1024, 4 heads, 3 + 3 layers) on 128 of 32; vocabulary 8000.

use std::time::Instant;

use heedful_nn::optimiser::Adam;
use heedful_translate::corpus::EncodedPair;
use heedful_translate::model::config::{ModelConfig, RnnAttentionConfig, TransformerConfig};
use heedful_translate::model::{Start, build};
use heedful_translate::train::{StepOptions, Workers};

const VOCABULARY: u32 = 8000;
const REPETITIONS: usize = 7;

fn main() {
    let gru = RnnAttentionConfig { tied: false, ..RnnAttentionConfig::default() };
    measure("gru + attention", &ModelConfig::RnnAttention(gru), 64, 15);
    measure("transformer", &ModelConfig::Transformer(TransformerConfig::default()), 128, 32);
}

fn measure(name: &str, config: &ModelConfig, sentences: usize, length: usize) {
    let mut model = build(config, VOCABULARY as usize, Start::Random(1));
    let mut adam = Adam::new(model.parameters());
    let mut workers = Workers::new(&*model, rayon::current_num_threads());
    let sentence = |seed: usize| (0..length).map(|t| ((seed * length + t) as u32).wrapping_mul(2_654_435_761) % VOCABULARY).collect();
    let pairs: Vec<EncodedPair> = (0..sentences).map(|i| EncodedPair { source: sentence(2 * i), target: sentence(2 * i + 1) }).collect();
    let batch: Vec<&EncodedPair> = pairs.iter().collect();
    let options = StepOptions { dropout: 0.0, label_smoothing: 0.0, clip: 0.0, learning_rate: 3e-4, seed: 1 };
    let mut step = || {
        let start = Instant::now();
        workers.step(&mut *model, &mut adam, &batch, options);
        start.elapsed().as_secs_f64()
    };
    step();
    let mut seconds: Vec<f64> = (0..REPETITIONS).map(|_| step()).collect();
    seconds.sort_by(f64::total_cmp);
    let [best, median] = [0, REPETITIONS / 2].map(|i| (sentences * length) as f64 / seconds[i]);
    println!("{name}: {:.1} ms/step, {median:.0} target tokens/s (best {best:.0})", seconds[REPETITIONS / 2] * 1e3);
}
