//! What the terminal can show: colours, and how many columns.

use std::env;
use std::io::{IsTerminal, stdout};

use clap::ValueEnum;

/// When output is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal with colours, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Also into files and pipes.
    Always,
    /// Plain characters only.
    Never,
}

/// Which colours can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// None: plain characters.
    Plain,
    /// The 256 of xterm.
    Indexed,
    /// All of 24 bits.
    True,
}

/// How to draw on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns of text.
    pub width: usize,
    /// The colours.
    pub colours: Colours,
}

/// Where there is no terminal to ask, pictures are as wide as text usually is.
const DEFAULT_WIDTH: usize = 100;

impl Style {
    /// What standard output can show, if `when` leaves it open.
    pub fn of_stdout(when: When) -> Self {
        let columns = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let width = columns.or_else(|| terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)));
        Self { width: width.unwrap_or(DEFAULT_WIDTH).max(20), colours: colours(when, stdout().is_terminal(), |name| env::var(name).ok()) }
    }
}

/// See <https://no-color.org> for `NO_COLOR`; `COLORTERM` is how terminals announce 24 bits.
fn colours(when: When, is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Colours {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let dumb = || set("NO_COLOR").is_some() || variable("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    if when == When::Never || when == When::Auto && (!is_terminal || dumb()) {
        return Colours::Plain;
    }
    match set("COLORTERM").as_deref() {
        Some("truecolor" | "24bit") => Colours::True,
        _ => Colours::Indexed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_terminal_and_the_user() {
        let with = |variables: &'static [(&str, &str)]| {
            move |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        };
        let xterm = [("TERM", "xterm")].as_slice();
        assert_eq!(colours(When::Auto, true, with(xterm)), Colours::Indexed);
        assert_eq!(colours(When::Auto, false, with(xterm)), Colours::Plain);
        assert_eq!(colours(When::Always, false, with(xterm)), Colours::Indexed);
        assert_eq!(colours(When::Never, true, with(xterm)), Colours::Plain);
        assert_eq!(colours(When::Auto, true, with(&[("TERM", "xterm"), ("COLORTERM", "truecolor")])), Colours::True);
        assert_eq!(colours(When::Auto, true, with(&[("TERM", "xterm"), ("NO_COLOR", "1")])), Colours::Plain);
        assert_eq!(colours(When::Auto, true, with(&[("TERM", "xterm"), ("NO_COLOR", "")])), Colours::Indexed);
        assert_eq!(colours(When::Auto, true, with(&[("TERM", "dumb")])), Colours::Plain);
    }
}
