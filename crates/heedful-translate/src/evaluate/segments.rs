//! A corpus of scored sentences.

use rayon::prelude::*;

use super::{Error, Result};

/// A score that is computed from sums over sentences.
pub trait Scorer: Sync {
    /// The score of sentences whose statistics add up to `sums`.
    fn score(&self, sums: &[f64]) -> f64;
}

/// A measure of translations against references.
pub trait Metric: Scorer {
    /// What it is called, such as `BLEU` or `chrF2++`.
    fn name(&self) -> String;

    /// What a sentence adds to the sums. There is at least one reference.
    fn statistics(&self, hypothesis: &str, references: &[&str]) -> Vec<f64>;

    /// All that the score depends on, in sacreBLEU's form. `references` is how many there are of each sentence, `None` where that varies.
    fn signature(&self, references: Option<usize>) -> String;
}

/// What each sentence of a corpus adds to its score.
pub struct Segments<'s, S: ?Sized> {
    pub(super) scorer: &'s S,
    pub(super) rows: Vec<Vec<f64>>,
    reference_count: Option<usize>,
}

/// The sentences of similar length, and their score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The shortest length in the bucket.
    pub from: usize,
    /// The longest; `None` in the last bucket, which has no end.
    pub to: Option<usize>,
    /// How many sentences there are.
    pub sentences: usize,
    /// Their score as a corpus of their own; 0 if there are none.
    pub score: f64,
    /// Its confidence interval; `None` if there are no sentences.
    pub interval: Option<super::Interval>,
}

/// Scores translations, on all cores. `references[k]` are those of sentence `k`, one or more; a sentence may have more than another.
///
/// # Errors
///
/// [`Error::Empty`], [`Error::Lengths`], [`Error::NoReference`].
pub fn evaluate<'m, M, H, R>(metric: &'m M, hypotheses: &[H], references: &[Vec<R>]) -> Result<Segments<'m, M>>
where
    M: Metric + ?Sized,
    H: AsRef<str> + Sync,
    R: AsRef<str> + Sync,
{
    same_length(("translations", hypotheses.len()), ("sentences with references", references.len()))?;
    if let Some(sentence) = references.iter().position(Vec::is_empty) {
        return Err(Error::NoReference(sentence + 1));
    }
    let rows = hypotheses
        .par_iter()
        .zip(references)
        .map(|(hypothesis, references)| {
            let references: Vec<&str> = references.iter().map(AsRef::as_ref).collect();
            metric.statistics(hypothesis.as_ref(), &references)
        })
        .collect();
    let count = references[0].len();
    let reference_count = references.iter().all(|references| references.len() == count).then_some(count);
    Ok(Segments { scorer: metric, rows, reference_count })
}

/// Refuses sides of different length, and empty ones.
pub(super) fn same_length((left_name, left): (&'static str, usize), (right_name, right): (&'static str, usize)) -> Result<()> {
    if left != right {
        return Err(Error::Lengths { left_name, left, right_name, right });
    }
    if left == 0 { Err(Error::Empty) } else { Ok(()) }
}

impl<'s, S: Scorer + ?Sized> Segments<'s, S> {
    pub(super) fn new(scorer: &'s S, rows: Vec<Vec<f64>>) -> Self {
        Self { scorer, rows, reference_count: Some(1) }
    }

    /// How many sentences there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many references each sentence has; `None` if that varies.
    pub fn reference_count(&self) -> Option<usize> {
        self.reference_count
    }

    /// The sums over all sentences, that the score is computed from.
    pub fn sums(&self) -> Vec<f64> {
        self.sums_of(0..self.rows.len())
    }

    /// The score of the corpus.
    pub fn score(&self) -> f64 {
        self.scorer.score(&self.sums())
    }

    /// The score of each sentence by itself.
    pub fn sentence_scores(&self) -> Vec<f64> {
        self.rows.iter().map(|row| self.scorer.score(row)).collect()
    }

    /// The score of sentences by their length: one bucket up to each of the rising `bounds`, and one beyond the last. `lengths[k]` is that
    /// of sentence `k`, of its source usually. Intervals are those of [`interval`](Self::interval).
    ///
    /// # Errors
    ///
    /// [`Error::Lengths`] if there are not as many lengths as sentences.
    pub fn by_length(&self, lengths: &[usize], bounds: &[usize], samples: usize, seed: u64) -> Result<Vec<Bucket>> {
        same_length(("lengths", lengths.len()), ("sentences", self.len()))?;
        let starts = std::iter::once(0).chain(bounds.iter().map(|bound| bound + 1));
        let ends = bounds.iter().copied().map(Some).chain([None]);
        Ok(starts
            .zip(ends)
            .map(|(from, to)| {
                let inside = |length: usize| length >= from && to.is_none_or(|to| length <= to);
                let part = self.part(|sentence| inside(lengths[sentence]));
                let score = if part.is_empty() { 0.0 } else { part.score() };
                Bucket { from, to, sentences: part.len(), score, interval: part.interval(samples, seed) }
            })
            .collect())
    }

    /// The sentences that are wanted, as a corpus of their own.
    #[must_use]
    pub fn part(&self, wanted: impl Fn(usize) -> bool) -> Self {
        let rows = self.rows.iter().enumerate().filter(|&(sentence, _)| wanted(sentence)).map(|(_, row)| row.clone()).collect();
        Self { scorer: self.scorer, rows, reference_count: self.reference_count }
    }

    /// The sums over some sentences; one may occur more than once.
    pub(super) fn sums_of(&self, sentences: impl Iterator<Item = usize>) -> Vec<f64> {
        let mut sums = vec![0.0; self.rows.first().map_or(0, Vec::len)];
        for sentence in sentences {
            for (sum, value) in sums.iter_mut().zip(&self.rows[sentence]) {
                *sum += value;
            }
        }
        sums
    }
}
