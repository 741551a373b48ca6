//! Sampling: tokens drawn from the model's distribution, or from its head.

use super::path::follow;
use super::top_k::{Candidate, top_k};
use super::{DecodeError, Hypothesis, Request, SearchOptions};
use crate::model::Decoder;
use crate::random::{mix, unit};

/// From what tokens are drawn: the softmax of `score / temperature`, restricted to the `top_k` most probable tokens, and of these to
/// the fewest that hold at least `top_p` of the probability ("nucleus", Holtzman et al. 2020), renormalised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Above 0; below 1 sharpens, above 1 flattens.
    pub temperature: f32,
    /// 0 is no restriction.
    pub top_k: usize,
    /// Above 0 and at most 1, which is no restriction.
    pub top_p: f32,
    /// Draws are a pure function of this seed, the request's stream and the place of the token in the target.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0, seed: 0 }
    }
}

/// A hypothesis whose tokens are drawn at random, for each row of the decoder. Its log-probabilities are the model's own, before
/// temperature and restrictions.
///
/// # Errors
/// If the requests are not those of the decoder's rows, an option makes no sense, a prefix holds an unknown token, or the model's scores
/// are no numbers.
pub fn sample(
    decoder: &mut dyn Decoder,
    requests: &[Request<'_>],
    sampling: &Sampling,
    options: &SearchOptions<'_>,
) -> Result<Vec<Hypothesis>, DecodeError> {
    let Sampling { temperature, top_p, .. } = *sampling;
    if !(temperature > 0.0 && temperature.is_finite()) {
        return Err(DecodeError::Option {
            name: "temperature",
            value: f64::from(temperature),
            allowed: "above 0; for no randomness, decode greedily",
        });
    }
    if !(top_p > 0.0 && top_p <= 1.0) {
        return Err(DecodeError::Option { name: "top_p", value: f64::from(top_p), allowed: "above 0 and at most 1" });
    }
    let mut best = Vec::new();
    follow(decoder, requests, options, |choice| {
        nucleus(choice.scores, choice.forbidden, sampling, &mut best);
        draw(&best, temperature, unit(mix(&[sampling.seed, requests[choice.sentence].stream, choice.step as u64])))
    })
}

/// How many tokens are sorted at first to find a nucleus.
const FIRST_GUESS: usize = 64;

/// The tokens that can be drawn.
fn nucleus(scores: &[f32], forbidden: &[u32], sampling: &Sampling, best: &mut Vec<Candidate>) {
    let limit = if sampling.top_k == 0 { scores.len() } else { sampling.top_k.min(scores.len()) };
    if sampling.top_p >= 1.0 {
        if limit < scores.len() {
            return top_k(scores, limit, forbidden, best);
        }
        best.clear();
        let all = (0u32..).zip(scores).map(|(token, &score)| Candidate { token, score });
        best.extend(all.filter(|c| c.score > f32::NEG_INFINITY && !forbidden.contains(&c.token)));
        return;
    }
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |score: f32| f64::from((score - max) / sampling.temperature).exp();
    let everything: f64 = if sampling.top_k == 0 {
        (0u32..).zip(scores).filter(|(token, _)| !forbidden.contains(token)).map(|(_, &score)| weight(score)).sum()
    } else {
        top_k(scores, limit, forbidden, best);
        best.iter().map(|c| weight(c.score)).sum()
    };
    let wanted = everything * f64::from(sampling.top_p);
    let mut k = FIRST_GUESS.min(limit);
    loop {
        top_k(scores, k, forbidden, best);
        let mut held = 0.0;
        let enough = best.iter().position(|c| {
            held += weight(c.score);
            held >= wanted
        });
        if let Some(last) = enough {
            return best.truncate(last + 1);
        }
        if k == limit {
            return;
        }
        k = (4 * k).min(limit);
    }
}

/// The candidate at `point`, from 0 to 1, of their distribution.
fn draw(best: &[Candidate], temperature: f32, point: f64) -> Option<u32> {
    let max = best.iter().map(|c| c.score).fold(f32::NEG_INFINITY, f32::max);
    let weight = |c: &Candidate| f64::from((c.score - max) / temperature).exp();
    let mut left = point * best.iter().map(weight).sum::<f64>();
    let drawn = best.iter().find(|c| {
        left -= weight(c);
        left < 0.0
    });
    // Rounding can leave a trace of the mass after the last candidate.
    drawn.or(best.last()).map(|c| c.token)
}
