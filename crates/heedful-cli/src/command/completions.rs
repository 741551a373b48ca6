//! `heedful completions`: what a shell needs to complete heedful's arguments.

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::output;

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  heedful completions bash > ~/.local/share/bash-completion/completions/heedful
  heedful completions zsh > ~/.zfunc/_heedful
  heedful completions fish > ~/.config/fish/completions/heedful.fish")]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Arguments::command(), "heedful", &mut script);
        output::print(&script)
    }
}
