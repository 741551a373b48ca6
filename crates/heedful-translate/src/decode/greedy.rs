//! Greedy search: always the most probable token.

use super::path::follow;
use super::top_k::top_k;
use super::{DecodeError, Hypothesis, Request, SearchOptions};
use crate::model::Decoder;

/// The hypothesis that takes the most probable token at every step, for each row of the decoder.
///
/// # Errors
/// If the requests are not those of the decoder's rows, an option makes no sense, a prefix holds an unknown token, or the model's scores
/// are no numbers.
pub fn greedy(decoder: &mut dyn Decoder, requests: &[Request<'_>], options: &SearchOptions<'_>) -> Result<Vec<Hypothesis>, DecodeError> {
    let mut best = Vec::new();
    follow(decoder, requests, options, |choice| {
        top_k(choice.scores, 1, choice.forbidden, &mut best);
        best.first().map(|c| c.token)
    })
}
