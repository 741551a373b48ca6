//! x
use anyhow::Result;
use clap::Args;
/// x
#[derive(Debug, Args)]
pub struct Arguments {}
impl Arguments {
    pub fn run(self, _c: crate::terminal::When) -> Result<()> {
        Ok(())
    }
}
