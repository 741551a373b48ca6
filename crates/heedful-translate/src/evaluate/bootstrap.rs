//! How sure a score, or the difference between two, is.

use rayon::prelude::*;

use super::segments::same_length;
use super::{Result, Scorer, Segments};
use crate::random::{below, mix};

/// Where a score lies in 95 of 100 corpora drawn anew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The mean over the corpora.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// How two systems compare on the same sentences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The second one's score minus the first one's.
    pub difference: f64,
    /// Where that difference lies.
    pub interval: Interval,
    /// How likely a difference of this size would come from the choice of sentences alone.
    pub p_value: f64,
}

impl<S: Scorer + ?Sized> Segments<'_, S> {
    /// The confidence interval of the score by bootstrap resampling (Koehn 2004, section 3): the score of `samples` corpora of the same
    /// size whose sentences are drawn with replacement; a pure function of `seed`. `None` if there is nothing to draw.
    pub fn interval(&self, samples: usize, seed: u64) -> Option<Interval> {
        (samples > 0 && !self.is_empty()).then(|| interval(self.resampled(samples, seed)))
    }

    /// The scores of the corpora; those of another system on the same sentences, with the same seed, are of the same sentences.
    fn resampled(&self, samples: usize, seed: u64) -> Vec<f64> {
        let draw = |sample: usize| (0..self.len()).map(move |i| below(mix(&[seed, sample as u64, i as u64]), self.len()));
        (0..samples).into_par_iter().map(|sample| self.scorer.score(&self.sums_of(draw(sample)))).collect()
    }
}

fn interval(mut scores: Vec<f64>) -> Interval {
    scores.sort_by(f64::total_cmp);
    let outside = scores.len() / 40;
    Interval { mean: mean(&scores), low: scores[outside], high: scores[scores.len() - 1 - outside] }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Compares two systems by paired bootstrap resampling (Koehn 2004, section 4): both are scored on the same `samples` corpora. The p-value
/// is the share of corpora whose difference is further from the mean difference than the real one is from 0, as in sacreBLEU.
///
/// # Errors
///
/// [`Error::Lengths`](super::Error::Lengths) if the two did not translate the same number of sentences,
/// [`Error::Empty`](super::Error::Empty) if none.
pub fn compare<S: Scorer + ?Sized>(first: &Segments<'_, S>, second: &Segments<'_, S>, samples: usize, seed: u64) -> Result<Comparison> {
    same_length(("sentences of the first system", first.len()), ("of the second", second.len()))?;
    let samples = samples.max(1);
    let difference = second.score() - first.score();
    let differences: Vec<f64> =
        first.resampled(samples, seed).into_iter().zip(second.resampled(samples, seed)).map(|(first, second)| second - first).collect();
    let centre = mean(&differences);
    let further = differences.iter().filter(|&&sample| (sample - centre).abs() > difference.abs()).count();
    Ok(Comparison { difference, p_value: (further + 1) as f64 / (samples + 1) as f64, interval: interval(differences) })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Mean;

    impl Scorer for Mean {
        fn score(&self, sums: &[f64]) -> f64 {
            sums[0] / sums[1]
        }
    }

    fn segments(value: impl Fn(usize) -> f64) -> Segments<'static, Mean> {
        Segments::new(&Mean, (0..400).map(|i| vec![value(i), 1.0]).collect())
    }

    #[test]
    fn the_interval_of_a_mean_has_the_width_that_statistics_says() {
        // Values 0 and 1 in equal parts: the standard error of the mean is 0.5 / 20, and 95 % lie within 1.96 of it on either side.
        let segments = segments(|i| (i % 2) as f64);
        let Interval { mean, low, high } = segments.interval(2000, 5).unwrap();
        assert!((mean - 0.5).abs() < 0.003, "{mean}");
        assert!(((high - low) / 2.0 - 1.96 * 0.025).abs() < 0.004, "{low} {high}");
        assert_eq!(segments.interval(2000, 5), segments.interval(2000, 5));
        assert_ne!(segments.interval(2000, 5), segments.interval(2000, 6));
        assert_eq!(segments.interval(0, 5), None);
    }

    #[test]
    fn pairing_sees_a_small_steady_difference_and_no_difference_in_noise() {
        let noise = |i: usize| below(mix(&[i as u64]), 1000) as f64 / 1000.0;
        let first = segments(noise);
        let better = compare(&first, &segments(|i| noise(i) + 0.01), 500, 1).unwrap();
        assert!((better.difference - 0.01).abs() < 1e-9 && better.p_value < 0.01 && better.interval.low > 0.009, "{better:?}");
        let same = compare(&first, &segments(|i| noise(i + 1000)), 500, 1).unwrap();
        assert!(same.p_value > 0.05, "{same:?}");
        assert!(compare(&first, &Segments::new(&Mean, vec![]), 500, 1).is_err());
    }

    #[test]
    fn buckets_cover_all_lengths() {
        let lengths: Vec<usize> = (0..400).map(|i| i % 40).collect();
        let buckets = segments(|i| (i % 40) as f64).by_length(&lengths, &[9, 19], 10, 1).unwrap();
        assert_eq!(
            buckets.iter().map(|b| (b.from, b.to, b.sentences)).collect::<Vec<_>>(),
            [(0, Some(9), 100), (10, Some(19), 100), (20, None, 200)]
        );
        assert_eq!(buckets.iter().map(|b| b.score).collect::<Vec<_>>(), [4.5, 14.5, 29.5]);
        assert!(buckets.iter().all(|b| b.interval.unwrap().low <= b.score && b.score <= b.interval.unwrap().high));
        assert!(segments(|_| 0.0).by_length(&lengths[1..], &[9], 10, 1).is_err());
    }
}
