//! Ctrl-C: the first asks for a clean stop, the second ends the program at once.

use std::fmt;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use crate::output::tell;

/// What a shell reports of a program that was ended by SIGINT.
pub const INTERRUPTED: u8 = 130;

/// How a command ends that was asked to stop before it was done, and what to say then. A script that goes on only after success does not go on.
#[derive(Debug)]
pub struct Stopped(pub String);

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Stopped {}

/// A flag that the first Ctrl-C (or SIGTERM) sets, after it has told the user `message`.
pub fn flag(message: &'static str) -> Result<Arc<AtomicBool>> {
    let asked = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&asked);
    let handle = move || {
        if flag.swap(true, Ordering::SeqCst) {
            process::exit(INTERRUPTED.into());
        }
        tell(format_args!("\n{message}"));
    };
    ctrlc::set_handler(handle).context("setting up what Ctrl-C does")?;
    Ok(asked)
}
