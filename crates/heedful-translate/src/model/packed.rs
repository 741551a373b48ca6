//! Sentences of token ids laid one after the other, without padding.

use crate::text::BOS;

/// Sentence `i` is `tokens[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Packed {
    pub tokens: Vec<u32>,
    pub offsets: Vec<usize>,
}

impl Packed {
    pub fn new(sentences: &[&[u32]]) -> Self {
        Self { tokens: sentences.concat(), offsets: offsets(sentences) }
    }
}

/// Targets as a decoder in training sees them: it reads `BOS` and all tokens but the last, and is to predict all tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TargetPair {
    pub inputs: Vec<u32>,
    pub outputs: Vec<u32>,
    pub offsets: Vec<usize>,
}

impl TargetPair {
    pub fn new(sentences: &[&[u32]]) -> Self {
        let inputs = sentences.iter().filter_map(|s| s.split_last()).flat_map(|(_, init)| std::iter::once(BOS).chain(init.iter().copied()));
        Self { inputs: inputs.collect(), outputs: sentences.concat(), offsets: offsets(sentences) }
    }
}

fn offsets(sentences: &[&[u32]]) -> Vec<usize> {
    std::iter::once(0)
        .chain(sentences.iter().scan(0, |end, sentence| {
            *end += sentence.len();
            Some(*end)
        }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_shifted_by_one() {
        let pair = TargetPair::new(&[&[7, 8, 1], &[1], &[9, 1]]);
        assert_eq!(pair.inputs, [BOS, 7, 8, BOS, BOS, 9]);
        assert_eq!(pair.outputs, [7, 8, 1, 1, 9, 1]);
        assert_eq!(pair.offsets, [0, 3, 4, 6]);
        assert_eq!(Packed::new(&[&[7, 8, 1], &[1]]), Packed { tokens: vec![7, 8, 1, 1], offsets: vec![0, 3, 4] });
    }
}
