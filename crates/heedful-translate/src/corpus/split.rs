//! Setting sentences aside.

use std::collections::HashMap;

use super::{Pair, clean::key};
use crate::random::mix;

/// Pairs that share a sentence with more than this many others stay in training: they would swallow the set that is held out.
const LARGEST_GROUP: usize = 20;

/// A corpus in two parts without a common sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// What to train on.
    pub training: Vec<Pair>,
    /// What was set aside.
    pub held_out: Vec<Pair>,
}

/// Sets about `count` pairs aside so that no sentence of them, on either side, is in training, not even with other case or punctuation.
///
/// Pairs that share a sentence, directly or through others, form a group; whole groups are drawn at random, a pure function of `seed` and
/// the pairs, until `count` is reached. Groups of more than 20 pairs are never drawn, and at most half of the corpus is: so fewer pairs may
/// be set aside.
pub fn split(pairs: Vec<Pair>, count: usize, seed: u64) -> Split {
    let group = groups(&pairs);
    let mut sizes: HashMap<usize, usize> = HashMap::new();
    for &root in &group {
        *sizes.entry(root).or_default() += 1;
    }
    let mut candidates: Vec<(u64, usize, usize)> =
        sizes.into_iter().filter(|&(_, size)| size <= LARGEST_GROUP).map(|(root, size)| (mix(&[seed, root as u64]), root, size)).collect();
    candidates.sort_unstable();

    let count = count.min(pairs.len() / 2);
    let mut is_drawn = vec![false; pairs.len()];
    let mut drawn = 0;
    for (_, root, size) in candidates {
        if drawn + size <= count {
            is_drawn[root] = true;
            drawn += size;
        }
    }
    let mut split = Split::default();
    for (pair, root) in pairs.into_iter().zip(group) {
        if is_drawn[root] { &mut split.held_out } else { &mut split.training }.push(pair);
    }
    split
}

/// For each pair the first pair of its group (union-find over equal keys of either side).
fn groups(pairs: &[Pair]) -> Vec<usize> {
    let mut parent: Vec<usize> = (0..pairs.len()).collect();
    let mut first: [HashMap<String, usize>; 2] = Default::default();
    for (index, pair) in pairs.iter().enumerate() {
        for (side, first) in [&pair.source, &pair.target].into_iter().zip(&mut first) {
            let other = *first.entry(key(side)).or_insert(index);
            let (a, b) = (root(&mut parent, other), root(&mut parent, index));
            parent[a.max(b)] = a.min(b);
        }
    }
    (0..pairs.len()).map(|index| root(&mut parent, index)).collect()
}

fn root(parent: &mut [usize], mut index: usize) -> usize {
    while parent[index] != index {
        parent[index] = parent[parent[index]];
        index = parent[index];
    }
    index
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_sentence_is_on_both_sides(texts in prop::collection::vec((0u32..60, 0u32..60), 0..80), count in 0usize..40, seed: u64) {
            let pairs: Vec<Pair> = texts
                .iter()
                .zip(1..)
                .map(|(&(source, target), line)| Pair { line, source: format!("S {source}!"), target: format!("t {target}") })
                .collect();
            let parts = split(pairs.clone(), count, seed);
            prop_assert_eq!(&parts, &split(pairs.clone(), count, seed));
            prop_assert!(parts.held_out.len() <= count && parts.training.len() + parts.held_out.len() == pairs.len());
            for side in [|pair: &Pair| key(&pair.source), |pair: &Pair| key(&pair.target)] {
                let training: HashSet<String> = parts.training.iter().map(side).collect();
                prop_assert!(parts.held_out.iter().all(|pair| !training.contains(&side(pair))));
            }
        }
    }

    #[test]
    fn draws_what_was_asked_for_and_depends_on_the_seed() {
        let pairs: Vec<Pair> = (1..=1000).map(|line| Pair { line, source: format!("s{line}"), target: format!("t{}", line / 2) }).collect();
        let lines = |seed| split(pairs.clone(), 100, seed).held_out.iter().map(|pair| pair.line).collect::<Vec<_>>();
        assert_eq!(lines(1).len(), 100);
        assert_ne!(lines(1), lines(2));
    }
}
