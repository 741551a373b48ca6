//! BLEU.

use std::collections::HashMap;
use std::fmt;

use super::text::{case, is_space, signature, split, yes};
use super::{Metric, Scorer, Tokenization};

/// What happens to n-gram orders without a match (Chen and Cherry 2014).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Smoothing {
    /// Nothing: the score is 0.
    None,
    /// Such an order counts as this many matches (method 1; 0.1 there).
    Floor(f64),
    /// Every order beyond the first has this many matches and n-grams more (method 2; 1 there).
    AddK(f64),
    /// The first such order counts as half a match, the next as a quarter, and so on (method 3, as in mteval-v13a).
    #[default]
    Exp,
}

impl Smoothing {
    /// Method 1 with its usual value.
    pub const FLOOR: Self = Self::Floor(0.1);
    /// Method 2 with its usual value.
    pub const ADD_K: Self = Self::AddK(1.0);
}

impl fmt::Display for Smoothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Floor(value) => write!(f, "floor[{value:.2}]"),
            Self::AddK(value) => write!(f, "add-k[{value:.2}]"),
            Self::Exp => f.write_str("exp"),
        }
    }
}

/// BLEU (Papineni et al. 2002), the numbers of sacreBLEU (Post 2018).
///
/// `score = 100 * bp * exp(1/N * sum_n ln p_n)`, where `p_n` is the share of n-grams that occur in a reference, each at most as often as in
/// the one that has it most often, and `bp = exp(min(0, 1 - r/h))` for `h` words in the translations and `r` in the references of nearest
/// length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bleu {
    /// How text is cut into words.
    pub tokenization: Tokenization,
    /// Whether case is ignored.
    pub lowercase: bool,
    /// What happens to orders without a match.
    pub smoothing: Smoothing,
    /// Whether orders that the translations are too short for are left out: for single sentences.
    pub effective_order: bool,
    /// `N`, the longest n-grams.
    pub max_order: usize,
}

impl Default for Bleu {
    /// `13a`, with case, exponential smoothing, up to 4-grams: sacreBLEU's defaults.
    fn default() -> Self {
        Self { tokenization: Tokenization::V13a, lowercase: false, smoothing: Smoothing::Exp, effective_order: false, max_order: 4 }
    }
}

/// BLEU and what it is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct BleuScore {
    /// The score, 0 to 100.
    pub score: f64,
    /// Matching n-grams of each order, smoothed if `add-k` is.
    pub counts: Vec<f64>,
    /// N-grams of each order in the translations, smoothed if `add-k` is.
    pub totals: Vec<f64>,
    /// The precision of each order, smoothed, 0 to 100.
    pub precisions: Vec<f64>,
    /// The brevity penalty.
    pub brevity_penalty: f64,
    /// Words in the translations.
    pub hypothesis_length: f64,
    /// Words in the references.
    pub reference_length: f64,
}

impl fmt::Display for BleuScore {
    /// `score p1/p2/p3/p4 (BP = .. ratio = .. hyp_len = .. ref_len = ..)`, as sacreBLEU prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let precisions: Vec<String> = self.precisions.iter().map(|precision| format!("{precision:.1}")).collect();
        let ratio = if self.reference_length > 0.0 { self.hypothesis_length / self.reference_length } else { 0.0 };
        write!(
            f,
            "{:.1} {} (BP = {:.3} ratio = {ratio:.3} hyp_len = {} ref_len = {})",
            self.score,
            precisions.join("/"),
            self.brevity_penalty,
            self.hypothesis_length,
            self.reference_length
        )
    }
}

impl Bleu {
    /// For single sentences: as the default, with the effective order.
    pub fn sentence() -> Self {
        Self { effective_order: true, ..Self::default() }
    }

    /// The score from the sums of [`statistics`](Metric::statistics): the two lengths, then the matches, then the n-grams of each order.
    pub fn details(&self, sums: &[f64]) -> BleuScore {
        let (counts, totals) = sums[2..].split_at(self.max_order);
        self.score_counts(counts, totals, sums[0], sums[1])
    }

    /// The score from matches and n-grams of each order, and the lengths of translations and references in words.
    pub fn score_counts(&self, counts: &[f64], totals: &[f64], hypothesis_length: f64, reference_length: f64) -> BleuScore {
        let brevity_penalty = if hypothesis_length >= reference_length {
            1.0
        } else if hypothesis_length > 0.0 {
            (1.0 - reference_length / hypothesis_length).exp()
        } else {
            0.0
        };
        let mut scored = BleuScore {
            score: 0.0,
            counts: counts.to_vec(),
            totals: totals.to_vec(),
            precisions: vec![0.0; counts.len()],
            brevity_penalty,
            hypothesis_length,
            reference_length,
        };
        if counts.iter().all(|&count| count == 0.0) {
            return scored;
        }
        let mut order = counts.len();
        let mut halving = 1.0;
        for n in 0..counts.len() {
            if let (Smoothing::AddK(k), true) = (self.smoothing, n > 0) {
                scored.counts[n] += k;
                scored.totals[n] += k;
            }
            let (count, total) = (scored.counts[n], scored.totals[n]);
            if total == 0.0 {
                break;
            }
            if self.effective_order {
                order = n + 1;
            }
            scored.precisions[n] = match self.smoothing {
                _ if count > 0.0 => 100.0 * count / total,
                Smoothing::Exp => {
                    halving *= 2.0;
                    100.0 / (halving * total)
                }
                Smoothing::Floor(value) => 100.0 * value / total,
                Smoothing::None | Smoothing::AddK(_) => 0.0,
            };
        }
        // An order that stays at 0 makes the score 0: the logarithm of sacreBLEU ends at -9999999999.
        let log = |precision: f64| if precision == 0.0 { -9_999_999_999.0 } else { precision.ln() };
        scored.score = brevity_penalty * (scored.precisions[..order].iter().map(|&p| log(p)).sum::<f64>() / order as f64).exp();
        scored
    }

    fn tokens(&self, text: &str) -> String {
        let lower = if self.lowercase { text.to_lowercase() } else { text.to_owned() };
        self.tokenization.apply(lower.trim_end_matches(is_space))
    }
}

/// How often each n-gram of up to `max_order` words occurs.
fn ngrams<'w, 't>(words: &'w [&'t str], max_order: usize) -> HashMap<&'w [&'t str], u32> {
    let mut counts = HashMap::new();
    for n in 1..=max_order {
        for ngram in words.windows(n) {
            *counts.entry(ngram).or_default() += 1;
        }
    }
    counts
}

impl Scorer for Bleu {
    fn score(&self, sums: &[f64]) -> f64 {
        self.details(sums).score
    }
}

impl Metric for Bleu {
    fn name(&self) -> String {
        "BLEU".into()
    }

    fn statistics(&self, hypothesis: &str, references: &[&str]) -> Vec<f64> {
        let hypothesis = self.tokens(hypothesis);
        let hypothesis: Vec<&str> = split(&hypothesis).collect();
        let references: Vec<String> = references.iter().map(|reference| self.tokens(reference)).collect();
        let references: Vec<Vec<&str>> = references.iter().map(|reference| split(reference).collect()).collect();

        let nearest = references.iter().map(Vec::len).min_by_key(|&length| (length.abs_diff(hypothesis.len()), length)).unwrap_or_default();
        let of_references: Vec<HashMap<&[&str], u32>> = references.iter().map(|reference| ngrams(reference, self.max_order)).collect();

        let mut statistics = vec![0.0; 2 + 2 * self.max_order];
        statistics[0] = hypothesis.len() as f64;
        statistics[1] = nearest as f64;
        for (ngram, count) in ngrams(&hypothesis, self.max_order) {
            let allowed = of_references.iter().filter_map(|reference| reference.get(ngram)).max().copied().unwrap_or_default();
            statistics[1 + ngram.len()] += f64::from(count.min(allowed));
            statistics[1 + self.max_order + ngram.len()] += f64::from(count);
        }
        statistics
    }

    fn signature(&self, references: Option<usize>) -> String {
        let Self { tokenization, smoothing, .. } = self;
        let settings = format!("case:{}|eff:{}|tok:{tokenization}|smooth:{smoothing}", case(self.lowercase), yes(self.effective_order));
        signature(references, &settings)
    }
}
