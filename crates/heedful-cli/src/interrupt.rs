//! Ctrl-C: the first asks for a clean stop, the second ends the program at once.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// What a shell reports of a program that was ended by SIGINT.
const INTERRUPTED: i32 = 130;

/// A flag that the first Ctrl-C (or SIGTERM) sets, after it has told the user `message`.
pub fn flag(message: &'static str) -> Result<Arc<AtomicBool>> {
    let asked = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&asked);
    let handle = move || {
        if flag.swap(true, Ordering::SeqCst) {
            process::exit(INTERRUPTED);
        }
        eprintln!("\n{message}");
    };
    ctrlc::set_handler(handle).context("setting up what Ctrl-C does")?;
    Ok(asked)
}
