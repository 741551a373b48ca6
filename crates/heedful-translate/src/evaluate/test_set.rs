//! A test set, and what is said about translations of it.

use serde::Serialize;

use super::{Buckets, Metric, Result, Segments, evaluate};
use crate::corpus::{Pair, group_references};

/// Resamples behind each confidence interval.
pub const SAMPLES: usize = 1000;
/// The seed of the resamples.
pub const SEED: u64 = 1;

/// Sources with their references, each source once.
#[derive(Clone, Debug, PartialEq)]
pub struct TestSet {
    /// The sentences to translate.
    pub sources: Vec<String>,
    /// One or more translations of each.
    pub references: Vec<Vec<String>>,
    /// How many words, parted by white space, each source has.
    pub lengths: Vec<usize>,
}

/// What a metric says about the translations of a test set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricScores {
    /// Its name.
    pub metric: String,
    /// The score of the whole set.
    pub score: f64,
    /// Where that lies in 95 of 100 sets drawn anew; `None` without sentences.
    pub interval: Option<[f64; 2]>,
    /// All that the score depends on, as sacreBLEU writes it.
    pub signature: String,
    /// The same for the sentences of similar length; buckets without a sentence are left out.
    pub by_source_length: Vec<BucketScore>,
}

/// What a metric says about the sentences of similar length.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BucketScore {
    /// The lengths in words, such as `11-20` or `41+`.
    pub words: String,
    /// How many sentences there are.
    pub sentences: usize,
    /// Their score as a set of their own.
    pub score: f64,
    /// Where that lies in 95 of 100 sets drawn anew.
    pub interval: Option<[f64; 2]>,
}

impl TestSet {
    /// From the pairs of a file: a source that occurs more than once has several references, of which the first is used unless
    /// `all_references` is set.
    pub fn new(pairs: &[Pair], all_references: bool) -> Self {
        let mut set = Self { sources: Vec::new(), references: Vec::new(), lengths: Vec::new() };
        for mut group in group_references(pairs) {
            if !all_references {
                group.references.truncate(1);
            }
            set.lengths.push(group.source.split_whitespace().count());
            set.sources.push(group.source);
            set.references.push(group.references);
        }
        set
    }

    /// What a metric sees in translations of all sources.
    ///
    /// # Errors
    /// If there are not as many translations as sources.
    pub fn segments<'m, M: Metric + ?Sized, H: AsRef<str> + Sync>(&self, metric: &'m M, translations: &[H]) -> Result<Segments<'m, M>> {
        evaluate(metric, translations, &self.references)
    }

    /// The scores of translations, with intervals.
    ///
    /// # Errors
    /// If these are segments of another set.
    pub fn scores<M: Metric + ?Sized>(&self, metric: &M, segments: &Segments<'_, M>, buckets: &Buckets) -> Result<MetricScores> {
        let ends = |interval: super::Interval| [interval.low, interval.high];
        let by_length = segments.by_length(&self.lengths, buckets.bounds(), SAMPLES, SEED)?;
        let bucket = |(index, bucket): (usize, &super::Bucket)| BucketScore {
            words: buckets.name(index),
            sentences: bucket.sentences,
            score: bucket.score,
            interval: bucket.interval.map(ends),
        };
        Ok(MetricScores {
            metric: metric.name(),
            score: segments.score(),
            interval: segments.interval(SAMPLES, SEED).map(ends),
            signature: metric.signature(segments.reference_count()),
            by_source_length: by_length.iter().enumerate().filter(|(_, bucket)| bucket.sentences > 0).map(bucket).collect(),
        })
    }
}
