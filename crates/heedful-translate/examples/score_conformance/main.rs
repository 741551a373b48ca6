//! Replays recorded cases of scores and alignments: `cargo run --release -p heedful-translate --example score_conformance -- DIR...`

mod runner;

use std::process::ExitCode;

fn main() -> ExitCode {
    heedful_cases::main(&runner::Translation)
}
