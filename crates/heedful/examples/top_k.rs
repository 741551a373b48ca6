//! A fused forward that also tells where each query looked: context, the 8 heaviest keys of each query and its entropy, in one pass
//! and without a matrix of weights.
//!
//!     cargo run --release -p heedful --example top_k [TOKENS [HEADS [WIDTH [full|causal [RUNS]]]]]
//!
//! Besides what was found, it prints the time of a pass with and without the look, and the memory it took.

use std::time::Instant;

use heedful::lens::{Glance, attend_with};
use heedful::{Diagonal, Options, View, ViewMut, attend};

/// MiB of a line in the process' status, or NaN where there is none.
fn status(key: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = text.lines().find(|line| line.starts_with(key)).and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib / 1024.0)
}

/// Numbers in [-2, 2) that seed and index decide.
fn numbers(seed: u32, len: usize) -> Vec<f32> {
    let mix = |x: u32| (x ^ (x >> 15)).wrapping_mul(2_246_822_519);
    let number = |i: u32| mix(mix(i.wrapping_add(seed << 24)).wrapping_add(i)) >> 8;
    (0..len as u32).map(|i| number(i) as f32 / (1 << 22) as f32 - 2.0).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: usize| arguments.get(i).map_or(Ok(default), |text| text.parse());
    let (tokens, heads, width, runs) = (number(0, 4096)?, number(1, 8)?, number(2, 64)?, number(4, 3)?);
    let causal = arguments.get(3).is_none_or(|kind| kind == "causal");
    let shape = [1, heads, tokens, width];
    let len = heads * tokens * width;
    let (q, k, v) = (numbers(1, len), numbers(2, len), numbers(3, len));
    let (q, k, v) = (View::contiguous(&q, shape)?, View::contiguous(&k, shape)?, View::contiguous(&v, shape)?);
    let options = if causal { Options::new().causal(Diagonal::TopLeft) } else { Options::new() };
    let mut context = vec![f32::NAN; len];

    // The look: what is wanted goes in, and comes out filled.
    let mut glance = Glance::new().top(8).entropy();
    // Writing 5 there resets the peak that VmHWM tells.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let rest = status("VmRSS:");
    attend_with(q, k, v, &options, ViewMut::contiguous(&mut context, shape)?, None, &mut glance)?;
    let memory = status("VmHWM:") - rest;

    let last = tokens.saturating_sub(1);
    for head in 0..heads.min(3) {
        let row = head * tokens + last;
        let top = glance.top_k(row);
        println!("head {head}, query {last}: entropy {:.3} nats of at most {:.3}", glance.entropies()[row], (tokens as f32).ln());
        for (key, weight) in top.keys.iter().zip(&top.weights) {
            println!("  {:5.2} % on key {key}", weight * 100.0);
        }
        println!("  {:5.2} % on all others", top.rest * 100.0);
    }

    let (mut plain, mut looking) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..runs {
        let start = Instant::now();
        attend(q, k, v, &options, ViewMut::contiguous(&mut context, shape)?, None)?;
        plain = plain.min(start.elapsed().as_secs_f64());
        let start = Instant::now();
        attend_with(q, k, v, &options, ViewMut::contiguous(&mut context, shape)?, None, &mut glance)?;
        looking = looking.min(start.elapsed().as_secs_f64());
    }
    println!("plain_ms={:.3} looking_ms={:.3} ratio={:.3} memory_mib={memory:.1}", plain * 1e3, looking * 1e3, looking / plain);
    Ok(())
}
