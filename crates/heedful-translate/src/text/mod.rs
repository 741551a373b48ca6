//! Text to tokens and back.
//!
//! [`normalise`](normalise()) makes different spellings of the same text one; [`words`](words()) splits it as a reader would; a
//! [`Tokenizer`] cuts each word into tokens of a vocabulary that both languages share, and puts words back together for people.

mod dropout;
mod error;
mod json;
mod learn;
mod normalise;
mod tokenizer;
mod words;

pub use error::{Error, Result};
pub use learn::learn;
pub use normalise::normalise;
pub use tokenizer::{DecodedWord, Encoding, Tokenizer, Word};
pub use words::words;

/// The token that a decoder is fed first.
pub const BOS: u32 = 0;
/// The token that ends every sentence.
pub const EOS: u32 = 1;
/// The token of byte 0; that of byte `b` is `FIRST_BYTE + b`.
pub const FIRST_BYTE: u32 = 2;
/// How many tokens there are before the first that stands for a character.
pub const RESERVED: usize = FIRST_BYTE as usize + 256;
