//! Replays recorded cases of other implementations through the layers.
//!
//! ```text
//! cargo run --release -p heedful-nn --example layer_conformance -- DIR...
//! ```
//!
//! A DIR is a suite (a folder with `manifest.json`) or a folder of suites. Prints one line for each suite, each failure with its largest
//! error and each skipped case with the reason; exits with 1 if a case failed.

mod runner;

fn main() -> std::process::ExitCode {
    heedful_cases::main(&runner::Layers)
}
