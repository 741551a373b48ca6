//! Forced decoding: what the model thinks of a target that is given.

use super::path::follow;
use super::{DecodeError, Hypothesis, Request, SearchOptions};
use crate::model::Decoder;

/// The given target of each row of the decoder as a hypothesis: the log-probability of every token, and where it looked.
///
/// A target is its request's prefix. If it does not end with [`EOS`](crate::text::EOS), it is scored as the beginning of a sentence,
/// and the hypothesis is not `finished`.
///
/// # Errors
/// If the requests are not those of the decoder's rows, an option makes no sense, a target holds an unknown token, or the model's scores
/// are no numbers.
pub fn force(decoder: &mut dyn Decoder, requests: &[Request<'_>], options: &SearchOptions<'_>) -> Result<Vec<Hypothesis>, DecodeError> {
    follow(decoder, requests, options, |_| None)
}
