//! Alignment error rate.

use std::fmt;

use super::segments::same_length;
use super::{Link, Links, Result, Scorer, Segments, parse_links};

/// The manual alignment of a sentence pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReferenceLinks {
    /// Links that must be found.
    pub sure: Links,
    /// Links that may be found; every sure link is one.
    pub possible: Links,
}

impl ReferenceLinks {
    /// Links of which those in `only_possible` need not be found.
    pub fn new(sure: Links, only_possible: &Links) -> Self {
        let possible = sure.union(only_possible).copied().collect();
        Self { sure, possible }
    }

    /// Reads a line in the talp format, `i-j` sure and `ipj` only possible: see [`parse_links`].
    ///
    /// # Errors
    ///
    /// [`Error::Link`](super::Error::Link).
    pub fn parse(line: &str, from_one: bool) -> Result<Self> {
        let (sure, possible) = parse_links(line, from_one)?;
        Ok(Self::new(sure, &possible))
    }

    /// With source and target exchanged.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let reversed = |links: &Links| links.iter().map(|&(source, target)| (target, source)).collect();
        Self { sure: reversed(&self.sure), possible: reversed(&self.possible) }
    }

    /// With links that are only possible left out.
    #[must_use]
    pub fn only_sure(&self) -> Self {
        Self { sure: self.sure.clone(), possible: self.sure.clone() }
    }

    /// With every possible link taken for sure.
    #[must_use]
    pub fn all_sure(&self) -> Self {
        Self { sure: self.possible.clone(), possible: self.possible.clone() }
    }
}

/// The alignment error rate (Och and Ney 2003, section 5), between 0 and 1, less is better.
///
/// `1 - (|A & S| + |A & P|) / (|A| + |S|)` for the links found `A`, the sure ones `S` and the possible ones `P`, summed over the corpus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlignmentErrorRate;

/// The alignment error rate and its companions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlignmentQuality {
    /// The alignment error rate, 0 if there is nothing to find and nothing is found.
    pub error_rate: f64,
    /// `|A & P| / |A|`: how many of the links found are right; 1 if none is found.
    pub precision: f64,
    /// `|A & S| / |S|`: how many of the sure links are found; 1 if there are none.
    pub recall: f64,
    /// The links found, `|A|`.
    pub links: usize,
}

impl AlignmentQuality {
    /// From the sums of an alignment's [`Segments`].
    pub fn from_sums(sums: &[f64]) -> Self {
        let [found, sure, found_possible, found_sure] = [sums[0], sums[1], sums[2], sums[3]];
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 1.0 };
        Self {
            error_rate: 1.0 - share(found_possible + found_sure, found + sure),
            precision: share(found_possible, found),
            recall: share(found_sure, sure),
            links: found as usize,
        }
    }

    /// The F-measure `1 / (alpha / precision + (1 - alpha) / recall)` (Fraser and Marcu 2007, section 3); `alpha` 0.5 is the harmonic mean.
    pub fn f_measure(&self, alpha: f64) -> f64 {
        1.0 / (alpha / self.precision + (1.0 - alpha) / self.recall)
    }
}

impl fmt::Display for AlignmentQuality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error_rate, precision, recall, links } = self;
        write!(f, "AER {:.1} % (precision {:.1} %, recall {:.1} %, {links} links)", 100.0 * error_rate, 100.0 * precision, 100.0 * recall)
    }
}

impl Scorer for AlignmentErrorRate {
    fn score(&self, sums: &[f64]) -> f64 {
        AlignmentQuality::from_sums(sums).error_rate
    }
}

/// Compares alignments with manual ones, sentence by sentence; [`AlignmentQuality::from_sums`] tells more of the [sums](Segments::sums).
///
/// # Errors
///
/// [`Error::Lengths`](super::Error::Lengths), [`Error::Empty`](super::Error::Empty).
pub fn evaluate_alignments(found: &[Links], references: &[ReferenceLinks]) -> Result<Segments<'static, AlignmentErrorRate>> {
    same_length(("alignments", found.len()), ("manual alignments", references.len()))?;
    let rows = found
        .iter()
        .zip(references)
        .map(|(found, reference)| {
            let both = |links: &Links| found.iter().filter(|link: &&Link| links.contains(link)).count() as f64;
            vec![found.len() as f64, reference.sure.len() as f64, both(&reference.possible), both(&reference.sure)]
        })
        .collect();
    Ok(Segments::new(&AlignmentErrorRate, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quality(found: &str, reference: &str) -> AlignmentQuality {
        let found = parse_links(found, false).unwrap().0;
        let segments = evaluate_alignments(&[found], &[ReferenceLinks::parse(reference, false).unwrap()]).unwrap();
        AlignmentQuality::from_sums(&segments.sums())
    }

    #[test]
    fn possible_links_cost_nothing_either_way() {
        assert_eq!(quality("0-0 1-1", "0-0 1-1 2p2").error_rate, 0.0);
        assert_eq!(quality("0-0 1-1 2-2", "0-0 1-1 2p2").error_rate, 0.0);
        let half = quality("0-0 3-3", "0-0 1-1 2p2");
        assert_eq!((half.error_rate, half.precision, half.recall, half.links), (0.5, 0.5, 0.5, 2));
        assert_eq!(quality("", "").error_rate, 0.0);
        assert_eq!(quality("", "0-0").error_rate, 1.0);
        let reference = ReferenceLinks::parse("0-1 2p3", false).unwrap();
        assert_eq!(reference.reversed().all_sure().sure, Links::from([(1, 0), (3, 2)]));
        assert_eq!(reference.only_sure().possible, Links::from([(0, 1)]));
    }
}
