//! A target prefix that grows, and the loop of every search that follows a single one for each sentence.

use std::rc::Rc;

use heedful::kernel::slice::log_sum_exp;
use heedful_nn::incremental::Imposed;

use super::{DecodeError, Hypothesis, Normalisation, Request, SearchOptions, check};
use crate::model::Decoder;
use crate::text::{BOS, EOS};

/// A target prefix: one row of the decoder.
#[derive(Clone, Debug)]
pub(super) struct Path {
    /// The place of its sentence in the batch.
    pub sentence: usize,
    pub tokens: Vec<u32>,
    pub log_probs: Vec<f32>,
    /// The sum of `log_probs`.
    pub log_prob: f64,
    /// One step each; paths that fork share what lies before the fork.
    pub attention: Vec<Rc<[f32]>>,
}

impl Path {
    /// One empty path for each of the `sentences`.
    pub fn starts(sentences: usize) -> Vec<Self> {
        let start = |sentence| Self { sentence, tokens: Vec::new(), log_probs: Vec::new(), log_prob: 0.0, attention: Vec::new() };
        (0..sentences).map(start).collect()
    }

    /// What the decoder is fed next.
    fn last(&self) -> u32 {
        self.tokens.last().copied().unwrap_or(BOS)
    }

    /// The scores of the next token of all paths, the rows of the decoder.
    pub fn step<'d>(paths: &[Self], decoder: &'d mut dyn Decoder, requests: &[Request<'_>]) -> &'d [f32] {
        for (row, path) in paths.iter().enumerate() {
            for look in requests[path.sentence].looks.iter().filter(|look| look.step == path.tokens.len()) {
                decoder.impose(Imposed { row, source: look.source.clone(), bias: look.bias });
            }
        }
        let tokens: Vec<u32> = paths.iter().map(Self::last).collect();
        decoder.step(&tokens)
    }

    pub fn push(&mut self, token: u32, log_prob: f32) {
        self.tokens.push(token);
        self.log_probs.push(log_prob);
        self.log_prob += f64::from(log_prob);
    }

    /// The log-normaliser of this path's next-token `scores`, and the token that its request prescribes, if any.
    pub fn next(&self, scores: &[f32], request: &Request<'_>) -> Result<(f32, Option<u32>), DecodeError> {
        let step = self.tokens.len();
        let lse = log_sum_exp(scores);
        // NaN and infinities among the scores all end up here.
        if !lse.is_finite() {
            return Err(DecodeError::Scores { sentence: self.sentence, step });
        }
        let given = request.prefix.get(step).copied();
        match given {
            Some(token) if token as usize >= scores.len() => {
                Err(DecodeError::Token { sentence: self.sentence, token, vocabulary: scores.len() })
            }
            _ => Ok((lse, given)),
        }
    }

    /// Tokens that must not come next: the one that only starts sentences, and those that would repeat `ngram` tokens.
    pub fn forbidden(&self, ngram: usize, forbidden: &mut Vec<u32>) {
        forbidden.clear();
        forbidden.push(BOS);
        if ngram > 0 && self.tokens.len() >= ngram {
            let ending = &self.tokens[self.tokens.len() - (ngram - 1)..];
            forbidden.extend(self.tokens.windows(ngram).filter(|w| w[..ngram - 1] == *ending).map(|w| w[ngram - 1]));
        }
    }

    pub fn into_hypothesis(mut self, normalisation: Normalisation) -> Hypothesis {
        let score = normalisation.score(self.log_prob, self.tokens.len());
        let finished = self.tokens.last() == Some(&EOS);
        if finished {
            self.tokens.pop();
        }
        Hypothesis { tokens: self.tokens, log_probs: self.log_probs, score, attention: self.attention.concat(), finished }
    }
}

/// A log-probability; rounding must not make it positive.
pub(super) fn log_prob(score: f32, lse: f32) -> f32 {
    (score - lse).min(0.0)
}

/// The choice of the next token of a path.
pub(super) struct Choice<'a> {
    /// The place of the sentence in the batch.
    pub sentence: usize,
    /// How many tokens there are already.
    pub step: usize,
    /// The scores of the next token, before the softmax.
    pub scores: &'a [f32],
    /// Tokens that must not be chosen.
    pub forbidden: &'a [u32],
}

/// Follows one path for each sentence; what its request does not prescribe, `choose` does. No choice ends a path as if it were cut.
pub(super) fn follow(
    decoder: &mut dyn Decoder,
    requests: &[Request<'_>],
    options: &SearchOptions<'_>,
    mut choose: impl FnMut(&Choice<'_>) -> Option<u32>,
) -> Result<Vec<Hypothesis>, DecodeError> {
    check(decoder, requests, options)?;
    let mut done: Vec<Option<Hypothesis>> = vec![None; requests.len()];
    let mut paths = Path::starts(requests.len());
    let mut forbidden = Vec::new();
    while !paths.is_empty() {
        options.go_on()?;
        let scores = Path::step(&paths, decoder, requests);
        let vocabulary = scores.len() / paths.len();
        let mut over = vec![false; paths.len()];
        for ((path, scores), over) in paths.iter_mut().zip(scores.chunks_exact(vocabulary)).zip(&mut over) {
            let request = &requests[path.sentence];
            let (lse, given) = path.next(scores, request)?;
            let token = given.or_else(|| {
                path.forbidden(options.no_repeat_ngram, &mut forbidden);
                choose(&Choice { sentence: path.sentence, step: path.tokens.len(), scores, forbidden: &forbidden })
            });
            if let Some(token) = token {
                path.push(token, log_prob(scores[token as usize], lse));
            }
            *over = token.is_none_or(|t| t == EOS) || path.tokens.len() >= options.max_length.of(request);
        }
        let mut rows = Vec::with_capacity(paths.len());
        let mut rest = Vec::with_capacity(paths.len());
        for (row, mut path) in paths.into_iter().enumerate() {
            if options.attention && path.attention.len() < path.tokens.len() {
                path.attention.push(decoder.attention(row).into());
            }
            if over[row] {
                let sentence = path.sentence;
                done[sentence] = Some(path.into_hypothesis(options.normalisation));
            } else {
                rows.push(row);
                rest.push(path);
            }
        }
        if rows.len() < over.len() && !rows.is_empty() {
            decoder.select(&rows);
        }
        paths = rest;
    }
    Ok(done.into_iter().flatten().collect())
}
