//! Beam search: the best prefixes of each sentence, side by side.

use std::rc::Rc;

use super::path::{Path, log_prob};
use super::top_k::top_k;
use super::{DecodeError, Hypothesis, Normalisation, Request, SearchOptions, check};
use crate::model::Decoder;
use crate::text::EOS;

/// How wide a beam is and how much of it is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beam {
    /// How many unfinished prefixes of a sentence go on after each step.
    pub width: usize,
    /// How many hypotheses of a sentence are returned, if there are as many.
    pub n_best: usize,
}

impl Default for Beam {
    fn default() -> Self {
        Self { width: 5, n_best: 1 }
    }
}

/// The best hypotheses that a beam finds for each row of the decoder, best first; all sentences of the batch advance together.
///
/// At each step the continuations of a sentence's prefixes are ranked by log-probability. Those that end the sentence are finished if
/// they are among the first `width`; the first `width` others go on. A sentence is left as soon as nothing that goes on can reach the
/// score of the last of its `n_best` finished hypotheses: what is returned is what a search to the largest length would
/// return. Hypotheses that were cut at the largest length rank after all finished ones.
///
/// # Errors
/// If the requests are not those of the decoder's rows, an option makes no sense, a prefix holds an unknown token, or the model's scores
/// are no numbers.
pub fn beam(
    decoder: &mut dyn Decoder,
    requests: &[Request<'_>],
    beam: &Beam,
    options: &SearchOptions<'_>,
) -> Result<Vec<Vec<Hypothesis>>, DecodeError> {
    check(decoder, requests, options)?;
    for (name, value) in [("the width of the beam", beam.width), ("the number of hypotheses", beam.n_best)] {
        if value == 0 {
            return Err(DecodeError::Option { name, value: 0.0, allowed: "at least 1" });
        }
    }
    let mut ends: Vec<Ends> = requests.iter().map(|_| Ends::default()).collect();
    let mut paths = Path::starts(requests.len());
    while !paths.is_empty() {
        let continuations = continuations(decoder, &paths, requests, beam.width, options)?;
        let mut attention: Vec<Option<Rc<[f32]>>> = vec![None; paths.len()];
        let mut grow = |&Continuation { row, token, log_prob, .. }: &Continuation| {
            let mut path = paths[row].clone();
            path.push(token, log_prob);
            if options.attention {
                path.attention.push(Rc::clone(attention[row].get_or_insert_with(|| decoder.attention(row).into())));
            }
            path
        };
        let mut stuck = vec![true; paths.len()];
        for continuation in &continuations {
            stuck[continuation.row] = false;
        }
        for (path, _) in paths.iter().zip(stuck).filter(|(_, stuck)| *stuck) {
            // All that could follow is forbidden or impossible.
            ends[path.sentence].cut.push(path.clone());
        }
        let mut rows = Vec::with_capacity(paths.len());
        let mut next = Vec::with_capacity(paths.len());
        for ranked in continuations.chunk_by(|a, b| paths[a.row].sentence == paths[b.row].sentence) {
            let sentence = paths[ranked[0].row].sentence;
            let ends = &mut ends[sentence];
            let limit = options.max_length.of(&requests[sentence]);
            let last_step = paths[ranked[0].row].tokens.len() + 1 >= limit;
            for ending in ranked[..beam.width.min(ranked.len())].iter().filter(|c| c.token == EOS) {
                ends.finish(ending.total, grow(ending), beam.n_best, options.normalisation);
            }
            let others = ranked.iter().filter(|c| c.token != EOS).take(beam.width);
            if last_step {
                ends.cut.extend(others.take(beam.n_best).map(&mut grow));
                continue;
            }
            for other in others.filter(|c| !ends.out_of_reach(c.total, limit, beam.n_best, options.normalisation)) {
                rows.push(other.row);
                next.push(grow(other));
            }
        }
        if !rows.is_empty() {
            decoder.select(&rows);
        }
        paths = next;
    }
    Ok(ends.into_iter().map(|ends| ends.into_hypotheses(beam.n_best, options.normalisation)).collect())
}

/// One more token of the path in `row`.
#[derive(Clone, Copy, Debug)]
struct Continuation {
    row: usize,
    token: u32,
    log_prob: f32,
    /// The log-probability of the path with this token.
    total: f64,
}

/// One step of the decoder: what can follow each sentence's paths, sentence by sentence and best first.
fn continuations(
    decoder: &mut dyn Decoder,
    paths: &[Path],
    requests: &[Request<'_>],
    width: usize,
    options: &SearchOptions<'_>,
) -> Result<Vec<Continuation>, DecodeError> {
    options.go_on()?;
    let scores = Path::step(paths, decoder, requests);
    let vocabulary = scores.len() / paths.len();
    let (mut best, mut forbidden) = (Vec::new(), Vec::new());
    let mut all: Vec<Continuation> = Vec::new();
    let mut first_of_sentence = 0;
    for (row, (path, scores)) in paths.iter().zip(scores.chunks_exact(vocabulary)).enumerate() {
        let (lse, given) = path.next(scores, &requests[path.sentence])?;
        if row > 0 && paths[row - 1].sentence != path.sentence {
            first_of_sentence = all.len();
        }
        let continuation = |token: u32| {
            let log_prob = log_prob(scores[token as usize], lse);
            Continuation { row, token, log_prob, total: path.log_prob + f64::from(log_prob) }
        };
        if let Some(token) = given {
            all.push(continuation(token));
        } else {
            path.forbidden(options.no_repeat_ngram, &mut forbidden);
            // One of them may be the end of sentence, which takes no place from those that go on.
            top_k(scores, width + 1, &forbidden, &mut best);
            all.extend(best.iter().map(|c| continuation(c.token)));
        }
        let last_of_sentence = paths.get(row + 1).is_none_or(|next| next.sentence != path.sentence);
        if last_of_sentence {
            all[first_of_sentence..].sort_by(|a, b| b.total.total_cmp(&a.total).then_with(|| (a.row, a.token).cmp(&(b.row, b.token))));
        }
    }
    Ok(all)
}

/// The hypotheses of a sentence that go no further.
#[derive(Debug, Default)]
struct Ends {
    /// Best first.
    finished: Vec<(f64, Path)>,
    /// In no order.
    cut: Vec<Path>,
}

impl Ends {
    fn finish(&mut self, log_prob: f64, path: Path, n_best: usize, normalisation: Normalisation) {
        let score = normalisation.score(log_prob, path.tokens.len());
        // Among equals, the one that finished first stays ahead.
        let place = self.finished.partition_point(|(other, _)| *other >= score);
        self.finished.insert(place, (score, path));
        self.finished.truncate(n_best);
    }

    /// Whether no continuation of a path of this log-probability can still be among the `n_best`.
    ///
    /// Further tokens only lower a log-probability, which is negative, so its score is highest if all tokens up to the largest
    /// length cost nothing. Of two paths at the same step the less probable one has the lower bound: all that would take the place of a
    /// path that is left out is out of reach as well, so leaving out single paths does not change the result either.
    fn out_of_reach(&self, log_prob: f64, max_length: usize, n_best: usize, normalisation: Normalisation) -> bool {
        self.finished.len() == n_best && normalisation.score(log_prob, max_length) <= self.finished[n_best - 1].0
    }

    fn into_hypotheses(self, n_best: usize, normalisation: Normalisation) -> Vec<Hypothesis> {
        let mut cut: Vec<Hypothesis> = self.cut.into_iter().map(|path| path.into_hypothesis(normalisation)).collect();
        cut.sort_by(|a, b| b.score.total_cmp(&a.score));
        let finished = self.finished.into_iter().map(|(_, path)| path.into_hypothesis(normalisation));
        finished.chain(cut).take(n_best).collect()
    }
}
