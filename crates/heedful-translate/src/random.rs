//! Randomness as a pure function of numbers, so that nothing about it has to be stored to resume.

use heedful_nn::dropout::mix as finalise;

/// A well-mixed 64-bit number that depends on each of `parts` and on their order (SplitMix64's finaliser, Steele et al. 2014).
pub(crate) fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |state, &part| finalise(state.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ finalise(part)))
}

/// A number in `[0, 1)`, uniform if `bits` are.
pub(crate) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Shuffles in place (Fisher and Yates); the order is a pure function of `seed` and the length.
pub(crate) fn shuffle<T>(items: &mut [T], seed: &[u64]) {
    let key = mix(seed);
    for i in (1..items.len()).rev() {
        items.swap(i, below(mix(&[key, i as u64]), i + 1));
    }
}

/// A number in `0..bound`, uniform if `bits` are.
pub(crate) fn below(bits: u64, bound: usize) -> usize {
    ((u128::from(bits) * bound as u128) >> 64) as usize
}
