//! Text to tokens and back.

/// The token that a decoder is fed first.
pub const BOS: u32 = 0;
/// The token that ends every sentence.
pub const EOS: u32 = 1;
