//! The token ids of each line of standard input, by the tokenizer of a run's folder.
//!
//! ```text
//! cargo run --release -p heedful-translate --example tokenize -- RUN/tokenizer.json < text
//! ```
//!
//! `benches/peers/tokenizer.py` prints the same ids: the programs that heedful is compared with read what it reads.

use std::io::{BufWriter, Write, stdin, stdout};

use heedful_translate::text::Tokenizer;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("give the path of a tokenizer.json")?;
    let tokenizer = Tokenizer::from_json(&std::fs::read_to_string(path)?)?;
    let mut out = BufWriter::new(stdout().lock());
    for line in stdin().lines() {
        let ids: Vec<String> = tokenizer.encode_ids(&line?).iter().map(u32::to_string).collect();
        writeln!(out, "{}", ids.join(" "))?;
    }
    Ok(out.flush()?)
}
