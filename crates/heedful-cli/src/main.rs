//! The `heedful` program.

fn main() {}
