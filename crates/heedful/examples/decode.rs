//! Decoding token by token over a cache gives what the whole sequence at once gives, at the price of one row per step.
//!
//! ```text
//! cargo run --release -p heedful --example decode
//! ```

use heedful::{Cache, Diagonal, Options, View, ViewMut, attend};

const HEADS: usize = 8;
const KV_HEADS: usize = 2;
const DIM: usize = 64;
const PROMPT: usize = 500;
const TOKENS: usize = 700;

/// Stands in for a model's projections: `[1, heads, TOKENS, DIM]`.
fn projected(seed: u32, heads: usize) -> Vec<f32> {
    let hash = |i: u32| i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8;
    (0..(heads * TOKENS * DIM) as u32).map(|i| hash(i) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// The tokens `from..to` of a tensor.
fn tokens(data: &[f32], heads: usize, from: usize, to: usize) -> heedful::Result<View<'_>> {
    View::strided(&data[from * DIM..], [1, heads, to - from, DIM], [heads * TOKENS * DIM, TOKENS * DIM, DIM, 1])
}

fn main() -> heedful::Result<()> {
    let (queries, keys, values) = (projected(1, HEADS), projected(2, KV_HEADS), projected(3, KV_HEADS));
    // The last query stands at the last key: one set of options serves the prompt and each step after it.
    let options = Options::new().causal(Diagonal::BottomRight);

    let mut cache = Cache::<f32>::new([1, KV_HEADS, TOKENS, DIM], DIM)?;
    let mut stepwise = vec![0.0; HEADS * TOKENS * DIM];
    let mut from = 0;
    while from < TOKENS {
        let to = if from == 0 { PROMPT } else { from + 1 };
        cache.append(tokens(&keys, KV_HEADS, from, to)?, tokens(&values, KV_HEADS, from, to)?, None)?;
        let out = &mut stepwise[from * DIM..];
        let out = ViewMut::strided(out, [1, HEADS, to - from, DIM], [HEADS * TOKENS * DIM, TOKENS * DIM, DIM, 1])?;
        cache.attend(tokens(&queries, HEADS, from, to)?, &options, out, None)?;
        from = to;
    }

    let mut at_once = vec![0.0; HEADS * TOKENS * DIM];
    let shape = [1, HEADS, TOKENS, DIM];
    let (q, k, v) = (tokens(&queries, HEADS, 0, TOKENS)?, tokens(&keys, KV_HEADS, 0, TOKENS)?, tokens(&values, KV_HEADS, 0, TOKENS)?);
    attend(q, k, v, &options, ViewMut::contiguous(&mut at_once, shape)?, None)?;
    let difference = stepwise.iter().zip(&at_once).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("a prompt of {PROMPT} tokens and {} steps over a cache of {:?} tokens", TOKENS - PROMPT, cache.lengths());
    println!("largest difference to all tokens at once: {difference:.1e}");
    assert!(difference < 1e-5);
    Ok(())
}
