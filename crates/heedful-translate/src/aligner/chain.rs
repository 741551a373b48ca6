//! Where the next word comes from, given where the last one came from: forward-backward over the source words of a pair.

use super::Text;
use super::lexicon::{Lexicon, NO_WORD};

/// Jumps that are further count as this far.
const FARTHEST: usize = 100;
/// What each distance is given beside what was seen.
const UNSEEN: f64 = 0.5;

/// How often the source word of the next target word stands so much further to the right, from `-FARTHEST` to `FARTHEST`.
#[derive(Clone, Debug)]
pub(super) enum Jumps {
    /// Nothing is known: all source words are equally likely.
    Uniform,
    /// Counts by distance.
    Seen(Vec<f64>),
}

/// Where the words of a target sentence come from, and what that says of the tables.
pub(super) struct Posteriors {
    /// `p(a_j = i | s, t)`, `[target][source]`, the last source word being none.
    probabilities: Vec<f64>,
    /// The place in the lexicon of each of them.
    places: Vec<usize>,
    /// How many source words there are, none included.
    width: usize,
    /// Expected jumps by distance.
    pub jumps: Vec<f64>,
}

impl Posteriors {
    /// For each target word the source word that is likeliest, as `((source, target), probability)`, the first of equal ones.
    pub fn best(&self) -> impl Iterator<Item = ((usize, usize), f64)> + '_ {
        let rows = self.probabilities.chunks_exact(self.width).enumerate();
        rows.filter_map(|(target, row)| {
            let words = row[..row.len() - 1].iter().enumerate();
            let (source, &probability) = words.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
            Some(((source, target), probability))
        })
    }

    /// Adds each probability to the count of its pair of words.
    pub fn add_to(&self, counts: &mut [f64]) {
        for (&place, &probability) in self.places.iter().zip(&self.probabilities) {
            counts[place] += probability;
        }
    }
}

impl Jumps {
    /// Counts of nothing, to add to.
    pub fn nothing_seen() -> Self {
        Self::Seen(vec![UNSEEN; 2 * FARTHEST + 1])
    }

    /// Adds expected jumps, if they are counted.
    pub fn add(&mut self, jumps: &[f64]) {
        if let Self::Seen(counts) = self {
            counts.iter_mut().zip(jumps).for_each(|(count, jump)| *count += jump);
        }
    }

    /// `p(to | from)`, `[from][to]`, for `words` source words; `from` is counted from 1, and 0 is where a sentence starts, left of the first word.
    fn transitions(&self, words: usize) -> Vec<f64> {
        let mut rows = Vec::with_capacity((words + 1) * words);
        for from in 0..=words {
            let start = rows.len();
            rows.extend((0..words).map(|to| match self {
                Self::Uniform => 1.0,
                Self::Seen(counts) => counts[distance(from, to)],
            }));
            let sum: f64 = rows[start..].iter().sum();
            for share in &mut rows[start..] {
                *share /= sum;
            }
        }
        rows
    }

    /// Where each target word comes from (Rabiner 1989, section III). A word that comes from none remembers where the one before it came from.
    pub fn posteriors(&self, text: &Text<'_>, lexicon: &Lexicon, no_source: f64) -> Posteriors {
        let (words, states) = (text.source.len(), text.source.len() + 1);
        let place = |&target: &u32| text.source.iter().chain(&[NO_WORD]).map(move |&source| lexicon.place(source, target));
        let places: Vec<usize> = text.target.iter().flat_map(place).collect();
        // p(t_j | s_i) with the probability that it comes from a word, or from none: [target][source].
        let share =
            |(at, &place): (usize, &usize)| lexicon.probability(place) * if at % states == words { no_source } else { 1.0 - no_source };
        let emissions: Vec<f64> = places.iter().enumerate().map(share).collect();
        let transitions = self.transitions(words);

        // Pass 1, forward: `before[j]` is the distribution of where the last word came from, 0 the start, before word j is written.
        let mut before = vec![0.0; (text.target.len() + 1) * states];
        before[0] = 1.0;
        let mut scales = Vec::with_capacity(text.target.len());
        for (target, emissions) in emissions.chunks_exact(states).enumerate() {
            let (past, next) = before[target * states..].split_at_mut(states);
            let next = &mut next[..states];
            next[1..].fill(0.0);
            for (from, &past) in past.iter().enumerate() {
                let row = &transitions[from * words..][..words];
                next[1..].iter_mut().zip(row).for_each(|(next, transition)| *next += past * transition);
            }
            next[1..].iter_mut().zip(emissions).for_each(|(next, emission)| *next *= emission);
            next.iter_mut().zip(past.iter()).for_each(|(next, past)| *next += past * emissions[words]);
            let scale = next.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            for next in next.iter_mut() {
                *next /= scale;
            }
            scales.push(scale);
        }

        // Pass 2, backward: `after[from]` is how likely the rest is, to scale, given where word j came from.
        let mut after = vec![1.0; states];
        let mut earlier = vec![0.0; states];
        let mut probabilities = vec![0.0; emissions.len()];
        let mut jumps = vec![0.0; 2 * FARTHEST + 1];
        for (target, emissions) in emissions.chunks_exact(states).enumerate().rev() {
            let past = &before[target * states..][..states];
            let row = &mut probabilities[target * states..][..states];
            for from in 0..states {
                let none = emissions[words] * after[from];
                row[words] += past[from] * none / scales[target];
                let mut rest = none;
                for to in 0..words {
                    let through = transitions[from * words + to] * emissions[to] * after[to + 1];
                    rest += through;
                    let expected = past[from] * through / scales[target];
                    row[to] += expected;
                    jumps[distance(from, to)] += expected;
                }
                earlier[from] = rest / scales[target];
            }
            std::mem::swap(&mut after, &mut earlier);
        }
        Posteriors { probabilities, places, width: states, jumps }
    }
}

/// The index of the jump from word `from`, counted from 1 (0 is the start), to word `to`, counted from 0.
fn distance(from: usize, to: usize) -> usize {
    (to + 1 + FARTHEST).saturating_sub(from).min(2 * FARTHEST)
}
