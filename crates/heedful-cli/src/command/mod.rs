//! One file per subcommand: its arguments, their help, and the way from them to the libraries.

pub mod align;
pub mod attend;
pub mod compare;
pub mod completions;
pub mod evaluate;
pub mod explore;
pub mod info;
pub mod score;
pub mod train;
pub mod translate;
