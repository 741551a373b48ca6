//! The best tokens of one row of next-token scores.

/// A token that may come next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub token: u32,
    pub score: f32,
}

/// Scores that are looked at together: one comparison tells whether any of them can be among the best.
const CHUNK: usize = 32;

/// The `k` best tokens that are not `forbidden`, best first and the smaller token first among equals, into `best`.
///
/// A token whose score is negative infinity is impossible and left out. Takes one pass over `scores`, and sorts nothing but the best.
pub(super) fn top_k(scores: &[f32], k: usize, forbidden: &[u32], best: &mut Vec<Candidate>) {
    best.clear();
    if k == 0 {
        return;
    }
    let mut threshold = f32::NEG_INFINITY;
    for (chunk, first) in scores.chunks(CHUNK).zip((0u32..).step_by(CHUNK)) {
        if chunk.iter().map(|&score| u32::from(score > threshold)).sum::<u32>() == 0 {
            continue;
        }
        for (&score, token) in chunk.iter().zip(first..) {
            if score > threshold && !forbidden.contains(&token) {
                best.truncate(k - 1);
                // Tokens come in ascending order, so an equal score that is already there stays ahead.
                let place = best.partition_point(|c| c.score >= score);
                best.insert(place, Candidate { token, score });
                if best.len() == k {
                    threshold = best[k - 1].score;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_best_are_those_of_a_full_sort(
            scores in prop::collection::vec(prop_oneof![4 => (-8i8..8).prop_map(f32::from), 1 => Just(f32::NEG_INFINITY)], 0..200),
            k in 0usize..20,
            forbidden in prop::collection::vec(0u32..200, 0..4),
        ) {
            let mut sorted: Vec<Candidate> = scores.iter().zip(0..).map(|(&score, token)| Candidate { token, score }).collect();
            sorted.retain(|c| c.score > f32::NEG_INFINITY && !forbidden.contains(&c.token));
            sorted.sort_by(|a, b| b.score.total_cmp(&a.score));
            sorted.truncate(k);
            let mut best = vec![Candidate { token: 7, score: 7.0 }];
            top_k(&scores, k, &forbidden, &mut best);
            prop_assert_eq!(best, sorted);
        }
    }
}
