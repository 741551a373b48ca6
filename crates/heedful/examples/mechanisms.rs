//! The four mechanisms on one sentence, "Your journey starts with one step", each word three numbers (the example of Raschka, *Build a Large
//! Language Model (From Scratch)*, 2024, chapter 3): who looks at whom, step by step.
//!
//! ```text
//! cargo run -p heedful --example mechanisms
//! ```

use heedful::mechanism::causal::CausalAttention;
use heedful::mechanism::multi_head::MultiHeadAttention;
use heedful::mechanism::self_attention::SelfAttention;
use heedful::mechanism::{Projection, Steps, simplified};

const WORDS: [&str; 6] = ["Your", "journey", "starts", "with", "one", "step"];
const SENTENCE: [f32; 18] = [
    0.43, 0.15, 0.89, // Your
    0.55, 0.87, 0.66, // journey
    0.57, 0.85, 0.64, // starts
    0.22, 0.58, 0.33, // with
    0.77, 0.25, 0.10, // one
    0.05, 0.80, 0.55, // step
];

/// A projection with weights that are fixed here; training would find better ones.
fn projection(seed: u32, inputs: usize, outputs: usize) -> heedful::Result<Projection> {
    let weight = |i: u32| (i + 1).wrapping_mul(seed).wrapping_mul(2_654_435_761) as f32 / u32::MAX as f32 - 0.5;
    Projection::linear((0..(inputs * outputs) as u32).map(weight).collect(), None, inputs, outputs)
}

fn print(title: &str, steps: &Steps) {
    println!("\n{title}\n{:9}{}", "", WORDS.map(|word| format!("{word:>9}")).concat());
    for (word, row) in WORDS.iter().zip(steps.weights.chunks(WORDS.len())) {
        println!("{word:>9}{:9.4}{:9.4}{:9.4}{:9.4}{:9.4}{:9.4}", row[0], row[1], row[2], row[3], row[4], row[5]);
    }
    let width = steps.context.len() / WORDS.len();
    println!("context of \"journey\": {:.4?}", &steps.context[width..2 * width]);
}

fn main() -> heedful::Result<()> {
    print("1. Simplified self-attention: weights from the words alone", &simplified::steps(&SENTENCE, 3)?);

    let three = || Ok::<_, heedful::Error>((projection(3, 3, 2)?, projection(5, 3, 2)?, projection(7, 3, 2)?));
    let (q, k, v) = three()?;
    print("2. Self-attention: each word asks with a query and answers with a key", &SelfAttention::new(q, k, v)?.steps(&SENTENCE)?);

    let (q, k, v) = three()?;
    print("3. Causal attention: no word looks ahead", &CausalAttention::new(q, k, v)?.steps(&SENTENCE)?);

    let [q, k, v, output] = [(3, 3), (5, 3), (7, 3), (11, 4)].map(|(seed, inputs)| projection(seed, inputs, 4));
    let heads = MultiHeadAttention::new(q?, k?, v?, output?, 2, true)?;
    for (head, steps) in heads.steps(&SENTENCE)?.iter().enumerate() {
        print(&format!("4. Multi-head attention, head {} of 2: another question, other answers", head + 1), steps);
    }
    Ok(())
}
