//! The `heedful` program: arguments, progress and pictures; what it does is done by the libraries.

mod arguments;
mod columns;
mod command;
mod heat_map;
mod interrupt;
mod lecture;
mod model;
mod output;
mod palette;
mod parallel;
mod picture;
mod picture_files;
mod table;
mod terminal;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use interrupt::{INTERRUPTED, Stopped};
use output::tell;
use terminal::When;

/// Attention you can look into: translate and see which words each word came from, train translators, follow attention step by step.
#[derive(Debug, Parser)]
#[command(name = "heedful", version, about, long_about = None, max_term_width = 120, propagate_version = true)]
#[command(after_help = "Start with:\n  heedful translate \"Kannst du mir helfen?\"\n  heedful attend\n  heedful help train")]
pub struct Arguments {
    /// When to colour what is printed
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: When,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Translate(command::translate::Arguments),
    Train(command::train::Arguments),
    Compare(command::compare::Arguments),
    Evaluate(command::evaluate::Arguments),
    Align(command::align::Arguments),
    Score(command::score::Arguments),
    Attend(command::attend::Arguments),
    Explore(command::explore::Arguments),
    Info(command::info::Arguments),
    Completions(command::completions::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let color = arguments.color;
    let result = match arguments.command {
        Command::Translate(arguments) => arguments.run(color),
        Command::Train(arguments) => arguments.run(),
        Command::Compare(arguments) => arguments.run(),
        Command::Evaluate(arguments) => arguments.run(),
        Command::Align(arguments) => arguments.run(),
        Command::Score(arguments) => arguments.run(color),
        Command::Attend(arguments) => arguments.run(color),
        Command::Explore(arguments) => arguments.run(),
        Command::Info(arguments) => arguments.run(),
        Command::Completions(arguments) => arguments.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::reader_is_gone(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<Stopped>() => {
            tell(error);
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes, a line each; a cause that the line before quotes is not told twice.
fn report(error: &anyhow::Error) {
    let mut last = error.to_string();
    tell(format_args!("error: {last}"));
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !last.contains(&cause) {
            tell(format_args!("  because: {cause}"));
        }
        last = cause;
    }
}
