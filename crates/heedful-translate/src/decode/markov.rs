//! A small model whose best translations are found by trying all of them.

use crate::decode::{Normalisation, Request, SearchOptions};
use crate::model::Decoder;
use crate::text::{BOS, EOS};

/// The number of tokens of every [`Markov`] model: `BOS`, `EOS` and three words.
pub const VOCABULARY: usize = 5;
/// The attention distributions of each step.
pub const LAYERS_HEADS: usize = 2 * 3;

/// Scores follow from the sentence and the last two tokens; attention follows from the whole prefix, so that it tells prefixes apart.
#[derive(Clone, Debug)]
pub struct Markov {
    rows: Vec<Row>,
    scores: Vec<f32>,
    /// How many rows went through `step` in all.
    pub work: usize,
}

#[derive(Clone, Debug)]
struct Row {
    seed: u64,
    source_len: usize,
    fed: Vec<u32>,
    attention: Vec<f32>,
}

fn noise(numbers: impl IntoIterator<Item = u64>) -> f32 {
    let hash = numbers.into_iter().fold(0x9e37_79b9_7f4a_7c15_u64, |hash, number| {
        let mixed = (hash ^ number).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 29)
    });
    (hash >> 40) as f32 / (1u64 << 24) as f32
}

/// The scores of the token after `prefix`. In coarse steps, so that ties occur.
pub fn scores(seed: u64, prefix: &[u32]) -> [f32; VOCABULARY] {
    let back = |n: usize| prefix.len().checked_sub(n).map_or(u64::from(BOS), |i| u64::from(prefix[i]));
    std::array::from_fn(|token| (noise([seed, back(1), back(2), token as u64]) * 16.0).floor() / 4.0)
}

/// Where the step after `prefix` looks, `[LAYERS_HEADS, source_len]`.
pub fn attention(seed: u64, prefix: &[u32], source_len: usize) -> Vec<f32> {
    let number = |i: usize| noise([seed, i as u64].into_iter().chain(prefix.iter().map(|&t| u64::from(t) + 10)));
    (0..LAYERS_HEADS * source_len).map(number).collect()
}

impl Markov {
    /// One row for each `(seed, source_len)`.
    pub fn new(sentences: &[(u64, usize)]) -> Self {
        let row = |&(seed, source_len): &(u64, usize)| Row { seed, source_len, fed: Vec::new(), attention: Vec::new() };
        Self { rows: sentences.iter().map(row).collect(), scores: Vec::new(), work: 0 }
    }
}

impl Decoder for Markov {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn step(&mut self, tokens: &[u32]) -> &[f32] {
        assert_eq!(tokens.len(), self.rows.len());
        self.work += tokens.len();
        self.scores.clear();
        for (row, &token) in self.rows.iter_mut().zip(tokens) {
            row.fed.push(token);
            assert!(row.fed[0] == BOS && !row.fed[1..].contains(&EOS), "{:?}", row.fed);
            self.scores.extend(scores(row.seed, &row.fed[1..]));
            row.attention = attention(row.seed, &row.fed[1..], row.source_len);
        }
        &self.scores
    }

    fn attention(&self, row: usize) -> &[f32] {
        &self.rows[row].attention
    }

    fn select(&mut self, rows: &[usize]) {
        self.rows = rows.iter().map(|&row| self.rows[row].clone()).collect();
    }
}

/// The log-probability in f64 of each token of `tokens`.
pub fn log_probs(seed: u64, tokens: &[u32]) -> Vec<f64> {
    let log_prob = |i: usize| {
        let scores = scores(seed, &tokens[..i]).map(f64::from);
        scores[tokens[i] as usize] - scores.iter().map(|s| s.exp()).sum::<f64>().ln()
    };
    (0..tokens.len()).map(log_prob).collect()
}

/// Every finished target with its score, best first.
pub fn exhaustive(seed: u64, request: &Request<'_>, options: &SearchOptions<'_>) -> Vec<(Vec<u32>, f64)> {
    fn visit(seed: u64, tokens: &mut Vec<u32>, limit: usize, normalisation: Normalisation, all: &mut Vec<(Vec<u32>, f64)>) {
        if tokens.last() == Some(&EOS) {
            let score = normalisation.score(log_probs(seed, tokens).iter().sum(), tokens.len());
            all.push((tokens[..tokens.len() - 1].to_vec(), score));
        } else if tokens.len() < limit {
            for token in (0..VOCABULARY as u32).filter(|&t| t != BOS) {
                tokens.push(token);
                visit(seed, tokens, limit, normalisation, all);
                tokens.pop();
            }
        }
    }
    let mut all = Vec::new();
    visit(seed, &mut request.prefix.to_vec(), options.max_length.of(request), options.normalisation, &mut all);
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all
}
