//! Leaving out what would only disturb training.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use rayon::prelude::*;

use super::{Pair, Reason, Report};
use crate::text::{normalise, words};

/// Which pairs are left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cleaning {
    /// The most words, punctuation included, that a side may have.
    pub max_words: usize,
    /// One side may have at most this many times the words of the other; 0 allows any ratio. Sides of at most [`SHORT`](Self::SHORT) words
    /// always pass.
    pub max_ratio: f32,
    /// Whether a pair that was there before is left out.
    pub drop_duplicates: bool,
}

impl Cleaning {
    /// Up to this many words a ratio means nothing: an exclamation may take one word here and five there.
    pub const SHORT: usize = 8;
}

impl Default for Cleaning {
    fn default() -> Self {
        Self { max_words: 100, max_ratio: 4.0, drop_duplicates: true }
    }
}

/// The pairs that are fit for training; what was left out is added to `report`.
///
/// A pair is left out if a side is blank, has too many words or too many times the words of the other, if the same pair (after
/// normalisation) was there before, or if **either** of its sides is, but for case and punctuation, a side of one of the `held_out` pairs.
pub fn clean(pairs: Vec<Pair>, cleaning: &Cleaning, held_out: &[&[Pair]], report: &mut Report) -> Vec<Pair> {
    let keys = |side: fn(&Pair) -> &str| -> HashSet<String> { held_out.iter().copied().flatten().map(|pair| key(side(pair))).collect() };
    let (held_sources, held_targets) = (keys(|pair| &pair.source), keys(|pair| &pair.target));
    let held =
        |pair: &Pair| !held_sources.is_empty() && (held_sources.contains(&key(&pair.source)) || held_targets.contains(&key(&pair.target)));

    let judged: Vec<(Option<Reason>, [u64; 2])> = pairs
        .par_iter()
        .map(|pair| {
            let (source, target) = (normalise(&pair.source), normalise(&pair.target));
            let lengths = [&source, &target].map(|side| words(side).len());
            let (shorter, longer) = (lengths[0].min(lengths[1]), lengths[0].max(lengths[1]));
            let reason = if shorter == 0 {
                Some(Reason::Empty)
            } else if longer > cleaning.max_words {
                Some(Reason::TooManyWords)
            } else if cleaning.max_ratio > 0.0 && longer > Cleaning::SHORT && longer as f32 > cleaning.max_ratio * shorter as f32 {
                Some(Reason::LengthRatio)
            } else if held(pair) {
                Some(Reason::HeldOut)
            } else {
                None
            };
            (reason, fingerprint(&source, &target))
        })
        .collect();

    let mut seen = HashSet::new();
    let kept: Vec<Pair> = pairs
        .into_iter()
        .zip(judged)
        .filter_map(|(pair, (reason, fingerprint))| {
            let repeated = || (cleaning.drop_duplicates && !seen.insert(fingerprint)).then_some(Reason::Duplicate);
            match reason.or_else(repeated) {
                Some(reason) => {
                    report.drop_pair(reason, &pair);
                    None
                }
                None => Some(pair),
            }
        })
        .collect();
    report.kept = kept.len() as u64;
    kept
}

/// 128 bits stand for a pair, so that a corpus of any size is compared without being held twice.
fn fingerprint(source: &str, target: &str) -> [u64; 2] {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    [hasher.hash_one((source, target)), hasher.hash_one((target, source, 1u8))]
}

/// What two spellings of the same sentence share: its words without case and punctuation, or, if there are none, the sentence itself.
pub(super) fn key(text: &str) -> String {
    let normal = normalise(text).to_lowercase();
    let mut key = String::with_capacity(normal.len());
    for word in words(&normal).into_iter().map(|range| &normal[range]).filter(|word| word.contains(char::is_alphanumeric)) {
        key.push_str(word);
        key.push(' ');
    }
    if key.is_empty() { normal } else { key }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(texts: &[(&str, &str)]) -> Vec<Pair> {
        (1..).zip(texts).map(|(line, (source, target))| Pair { line, source: (*source).into(), target: (*target).into() }).collect()
    }

    #[test]
    fn leaves_out_what_it_should_and_says_why() {
        let long = "w ".repeat(30);
        let given = pairs(&[
            ("Hallo.", "Hello."),
            (" \u{ad}", "Hello."),
            ("Hallo.", "Hello ."),
            ("Hallo.", " Hello."),
            ("Ja, ja, ja, ja, ja!", "Yes!"),
            ("Ach!", "Oh dear me, what now?"),
            (&long, "w w w w w w w w w w"),
            ("Geh weg", "Leave me alone!"),
            ("Lass mich", "Go away."),
            ("Guten Tag.", "Good day."),
        ]);
        let held = pairs(&[("Geh weg!", "Go away")]);
        let mut report = Report { read: 10, kept: 10, ..Report::default() };
        let kept = clean(given, &Cleaning { max_words: 20, ..Cleaning::default() }, &[&held], &mut report);
        assert_eq!(kept.iter().map(|pair| pair.line).collect::<Vec<_>>(), [1, 3, 6, 10]);
        assert_eq!(report.kept, 4);
        let lines = |reason| report.dropped[&reason].examples.iter().map(|(line, _)| *line).collect::<Vec<_>>();
        assert_eq!(lines(Reason::Empty), [2]);
        assert_eq!(lines(Reason::Duplicate), [4]);
        assert_eq!(lines(Reason::LengthRatio), [5]);
        assert_eq!(lines(Reason::TooManyWords), [7]);
        assert_eq!(lines(Reason::HeldOut), [8, 9]);
        assert!(report.to_string().contains("in the validation or test set: 2\n    line 8: Geh weg | Leave me alone!"), "{report}");
    }

    #[test]
    fn keys_ignore_case_and_punctuation_but_are_never_nothing() {
        assert_eq!(key("Geh weg!"), key("geh, WEG"));
        assert_ne!(key("Geh weg!"), key("Gehweg!"));
        assert_ne!(key("?"), key("!"));
    }
}
