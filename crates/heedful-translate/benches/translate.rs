//! The speed of translating a file: sentences a second, with beams of 5 and 1, and the memory that it takes.
//!
//! ```text
//! cargo bench -p heedful-translate --bench translate -- MODEL.safetensors TEXT [BATCH_TOKENS...]
//! ```
//!
//! Each line of the text is a sentence. The threads are rayon's: `RAYON_NUM_THREADS` sets how many. Batches have the size that `heedful
//! translate` uses, or the sizes that are given; translations must not depend on it. `benches/peers/translate.py` sets the same beside PyTorch.

use std::path::Path;
use std::time::Instant;

use heedful_translate::bundle::Bundle;
use heedful_translate::translator::{Search, TranslateOptions};

const REPETITIONS: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [model, text, sizes @ ..] = &arguments[..] else {
        eprintln!("usage: cargo bench -p heedful-translate --bench translate -- MODEL.safetensors TEXT [BATCH_TOKENS...]");
        return Ok(());
    };
    let (translator, defaults) = Bundle::open(Path::new(model))?.into_translator()?;
    let text = std::fs::read_to_string(text)?;
    let lines: Vec<&str> = text.lines().collect();
    let mut sizes: Vec<usize> = sizes.iter().map(|size| size.parse()).collect::<Result<_, _>>()?;
    if sizes.is_empty() {
        sizes.push(defaults.batch_tokens);
    }
    for search in [Search::Beam { width: 5 }, Search::Greedy] {
        let mut first: Option<Vec<String>> = None;
        for &batch_tokens in &sizes {
            let options = TranslateOptions { search, batch_tokens, alignment: false, ..defaults };
            let mut seconds = Vec::new();
            for _ in 0..REPETITIONS {
                let start = Instant::now();
                let translations = translator.translate(&lines, &options)?;
                seconds.push(start.elapsed().as_secs_f64());
                let translations: Vec<String> = translations.into_iter().map(|translation| translation.text).collect();
                let first = first.get_or_insert_with(|| translations.clone());
                assert!(*first == translations, "a batch of {batch_tokens} tokens changes a translation");
            }
            seconds.sort_by(f64::total_cmp);
            println!(
                "{search:?}, {} threads, batches of {batch_tokens} tokens: {:.0} sentences/s, {:.2} s (best {:.2}), peak memory {}",
                rayon::current_num_threads(),
                lines.len() as f64 / seconds[REPETITIONS / 2],
                seconds[REPETITIONS / 2],
                seconds[0],
                peak_memory(),
            );
        }
    }
    Ok(())
}

/// The most memory that the process has had so far, where the system tells.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    kilobytes.map_or_else(|| "unknown".to_owned(), |kilobytes| format!("{:.0} MiB", kilobytes / 1024.0))
}
