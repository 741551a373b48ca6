//! Moving words of a hypothesis to where the reference has them.

use std::cmp::Reverse;
use std::ops::Range;

use super::distance::{Distance, Edit};

/// The most words that move together.
const LONGEST: usize = 10;
/// How far apart two equal phrases may begin.
const FARTHEST: usize = 50;
/// How many moves are tried for a sentence.
const MOST_TRIED: usize = 1000;

/// The fewest edits found that turn the hypothesis into the reference: moves, as long as one of them saves more than itself costs, and then
/// words.
pub(super) fn edits(hypothesis: &[u32], reference: &[u32]) -> usize {
    if reference.is_empty() {
        return hypothesis.len();
    }
    let mut words = hypothesis.to_vec();
    let mut moves = 0;
    let mut tried = 0;
    while let Some(shifted) = best_shift(&words, reference, &mut tried) {
        words = shifted;
        moves += 1;
    }
    moves + Distance::new(&words, reference).edits() as usize
}

/// The words after the move that saves the most edits; `None` if none saves any or enough were tried.
fn best_shift(words: &[u32], reference: &[u32], tried: &mut usize) -> Option<Vec<u32>> {
    let before = Distance::new(words, reference);
    let aligned = Alignment::new(&before.path());
    let mut best = None;
    for (from, to) in equal_phrases(words, reference) {
        // Only words that are wrong where they are move, and only to where others are wrong.
        let wrong = |errors: &[bool], range: &Range<usize>| errors[range.clone()].contains(&true);
        if !wrong(&aligned.hypothesis_errors, &from) || !wrong(&aligned.reference_errors, &to) {
            continue;
        }
        if aligned.of_reference[to.start].is_some_and(|at| from.contains(&at)) {
            continue;
        }
        let mut previous = None;
        // Before the first word, or after the word that each word of the phrase, and the one before it, is aligned with.
        for after in std::iter::once(to.start.checked_sub(1)).chain(to.clone().map(Some)) {
            let target = after.map_or(0, |word| aligned.of_reference[word].map_or(0, |at| at + 1));
            if previous.replace(target) == Some(target) {
                continue;
            }
            let shifted = shift(words, &from, target);
            let saved = i64::from(before.edits()) - i64::from(Distance::new(&shifted, reference).edits());
            let rank = (saved, from.len(), Reverse(from.start), Reverse(target));
            *tried += 1;
            if best.as_ref().is_none_or(|(best, _)| rank > *best) {
                best = Some((rank, shifted));
            }
        }
        if *tried >= MOST_TRIED {
            return None;
        }
    }
    best.filter(|((saved, ..), _)| *saved > 0).map(|(_, shifted)| shifted)
}

/// Which words are aligned, and which are wrong.
struct Alignment {
    /// For each word of the reference the word of the hypothesis beside it: itself, or the last one before; `None` before the first.
    of_reference: Vec<Option<usize>>,
    reference_errors: Vec<bool>,
    hypothesis_errors: Vec<bool>,
}

impl Alignment {
    fn new(path: &[Edit]) -> Self {
        let mut alignment = Self { of_reference: Vec::new(), reference_errors: Vec::new(), hypothesis_errors: Vec::new() };
        for &edit in path {
            let wrong = edit != Edit::Keep;
            if edit != Edit::Insert {
                alignment.hypothesis_errors.push(wrong);
            }
            if edit != Edit::Delete {
                alignment.of_reference.push(alignment.hypothesis_errors.len().checked_sub(1));
                alignment.reference_errors.push(wrong);
            }
        }
        alignment
    }
}

/// Phrases of up to [`LONGEST`] words that both have, as ranges in the hypothesis and in the reference.
fn equal_phrases<'w>(hypothesis: &'w [u32], reference: &'w [u32]) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + 'w {
    (0..hypothesis.len()).flat_map(move |from| {
        let near = from.saturating_sub(FARTHEST)..reference.len().min(from + FARTHEST + 1);
        near.flat_map(move |to| {
            let equal = hypothesis[from..].iter().zip(&reference[to..]).take(LONGEST).take_while(|(a, b)| a == b).count();
            (1..=equal).map(move |length| (from..from + length, to..to + length))
        })
    })
}

/// The words with those in `from` moved to before position `target`; a target among them moves them that far to the right.
fn shift(words: &[u32], from: &Range<usize>, target: usize) -> Vec<u32> {
    let mut shifted = words.to_vec();
    if target < from.start {
        shifted[target..from.end].rotate_right(from.len());
    } else {
        let end = if target > from.end { target } else { target + from.len() };
        let end = end.min(words.len());
        shifted[from.start..end].rotate_left(from.len());
    }
    shifted
}
