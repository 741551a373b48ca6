//! Values that several commands take.

use clap::builder::RangedU64ValueParser;

/// A count of which there must be one.
pub fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}
