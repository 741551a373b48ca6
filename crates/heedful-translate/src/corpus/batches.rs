//! Batches of about the same number of tokens, from sentences of about the same length.

use crate::random::{mix, shuffle};

/// How many batches are drawn at random before their pairs are sorted by length: enough that the lengths in a batch are nearly the same,
/// few enough that batches differ from epoch to epoch.
const POOL: usize = 50;

/// Every pair in one batch, as indices into `lengths`.
///
/// `lengths` are the tokens of source and target; a batch has at most `tokens` of them on either side, or is a single pair that has more.
/// The pairs are shuffled, sorted by length within pools of about 50 batches, cut into batches, and the batches shuffled. The result is a
/// pure function of its arguments; `seed` is of any length, such as `[seed, epoch]`.
pub fn batches(lengths: &[[usize; 2]], tokens: usize, seed: &[u64]) -> Vec<Vec<usize>> {
    let key = mix(seed);
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    shuffle(&mut order, &[key, 0]);

    let mut batches = Vec::new();
    for pool in cut(&order, lengths, tokens.saturating_mul(POOL)) {
        let mut pool = pool.to_vec();
        // Stable, so that equal lengths stay shuffled.
        pool.sort_by_key(|&pair| (lengths[pair][1], lengths[pair][0]));
        batches.extend(cut(&pool, lengths, tokens).into_iter().map(<[usize]>::to_vec));
    }
    shuffle(&mut batches, &[key, 1]);
    batches
}

/// Consecutive parts of `order` with at most `tokens` on either side, or of one pair.
fn cut<'a>(order: &'a [usize], lengths: &[[usize; 2]], tokens: usize) -> Vec<&'a [usize]> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut sums = [0; 2];
    for (end, &pair) in order.iter().enumerate() {
        let with_pair = [sums[0] + lengths[pair][0], sums[1] + lengths[pair][1]];
        if end > start && with_pair.iter().any(|&sum| sum > tokens) {
            parts.push(&order[start..end]);
            start = end;
            sums = lengths[pair];
        } else {
            sums = with_pair;
        }
    }
    if start < order.len() {
        parts.push(&order[start..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::batches;

    proptest! {
        #[test]
        fn every_pair_once_within_the_budget(lengths in prop::collection::vec([1usize..40, 1usize..40], 0..300), tokens in 1usize..120, epoch in 0u64..3) {
            let cut = batches(&lengths, tokens, &[7, epoch]);
            let mut pairs: Vec<usize> = cut.iter().flatten().copied().collect();
            pairs.sort_unstable();
            prop_assert_eq!(pairs, (0..lengths.len()).collect::<Vec<_>>());
            for batch in &cut {
                let sum = |side: usize| batch.iter().map(|&pair| lengths[pair][side]).sum::<usize>();
                prop_assert!(batch.len() == 1 || (!batch.is_empty() && sum(0) <= tokens && sum(1) <= tokens));
            }
            prop_assert_eq!(&cut, &batches(&lengths, tokens, &[7, epoch]));
        }
    }

    #[test]
    fn epochs_differ_and_batches_hold_like_lengths() {
        let lengths: Vec<[usize; 2]> = (0..4000).map(|i| [1 + i % 30, 1 + i % 30]).collect();
        let first = batches(&lengths, 500, &[1, 0]);
        assert_ne!(first, batches(&lengths, 500, &[1, 1]));
        assert_ne!(first, batches(&lengths, 500, &[2, 0]));
        let spread = |batch: &[usize]| {
            let of = |pair: &usize| lengths[*pair][1];
            batch.iter().map(of).max().unwrap() - batch.iter().map(of).min().unwrap()
        };
        let mean = first.iter().map(|batch| spread(batch) as f64).sum::<f64>() / first.len() as f64;
        assert!(mean < 3.0, "lengths in a batch differ by {mean} on average");
        let fill = lengths.iter().map(|length| length[1]).sum::<usize>() as f64 / (first.len() * 500) as f64;
        assert!(fill > 0.9, "batches are filled to {fill}");
    }
}
