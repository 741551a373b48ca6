//! The time-major packed layout: sentences of different lengths side by side, step after step, without padding.
//!
//! A recurrence can only advance all sentences by one token at a time, so the tokens of one step lie together:
//!
//! ```text
//! sentence-major        time-major (longest sentence first)
//! a0 a1                 b0 a0 c0 | b1 a1 | b2
//! b0 b1 b2              step 0     1       2
//! c0                    active 3   2       1
//! ```
//!
//! Since the sentences are sorted by length, those that still have a token at step `t` are always the first `active(t)`: the
//! state of a step is a prefix of the state of the step before. Read from the last step to the first, the same layout starts each sentence at
//! its own last token, which is what a reversed recurrence needs. It is the layout of PyTorch's `PackedSequence`.

use std::ops::Range;

/// Which row of a time-major array holds which token of which sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeMajor {
    order: Vec<usize>,
    lengths: Vec<usize>,
    starts: Vec<usize>,
}

impl TimeMajor {
    /// The layout of sentences with these numbers of tokens. Sentences of the same length keep their order.
    pub fn new(lengths: &[usize]) -> Self {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&sentence| std::cmp::Reverse(lengths[sentence]));
        let sorted: Vec<usize> = order.iter().map(|&sentence| lengths[sentence]).collect();
        let mut starts = vec![0];
        let mut active = sorted.len();
        for t in 0..sorted.first().copied().unwrap_or(0) {
            while sorted[active - 1] <= t {
                active -= 1;
            }
            starts.push(starts[t] + active);
        }
        Self { order, lengths: sorted, starts }
    }

    /// The number of sentences, empty ones included.
    pub fn sentences(&self) -> usize {
        self.order.len()
    }

    /// The length of the longest sentence.
    pub fn steps(&self) -> usize {
        self.starts.len() - 1
    }

    /// The number of tokens of all sentences.
    pub fn total(&self) -> usize {
        self.starts[self.steps()]
    }

    /// Which sentence is at each position: `order()[i]` is the index of the `i`-th longest.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// How many sentences have a token at step `t`.
    pub fn active(&self, t: usize) -> usize {
        self.starts[t + 1] - self.starts[t]
    }

    /// The rows of step `t`; its `i`-th row belongs to the `i`-th longest sentence.
    pub fn rows(&self, t: usize) -> Range<usize> {
        self.starts[t]..self.starts[t + 1]
    }

    /// The rows of the tokens of the sentence at this position, in reading order.
    pub fn sentence_rows(&self, position: usize) -> impl Iterator<Item = usize> + '_ {
        self.starts[..self.lengths[position]].iter().map(move |start| start + position)
    }

    /// Visits all tokens in sentence-major order: `visit(time_major_row, sentence_major_row)`.
    fn pairs(&self, mut visit: impl FnMut(usize, usize)) {
        let mut offsets = vec![0; self.sentences() + 1];
        for (&sentence, &length) in self.order.iter().zip(&self.lengths) {
            offsets[sentence + 1] = length;
        }
        for i in 1..offsets.len() {
            offsets[i] += offsets[i - 1];
        }
        for (position, &sentence) in self.order.iter().enumerate() {
            for (t, row) in self.sentence_rows(position).enumerate() {
                visit(row, offsets[sentence] + t);
            }
        }
    }

    /// Copies sentence-major rows `[total, width]` to `time_major`, of the same size.
    ///
    /// # Panics
    /// If one of the two does not have `total() * width` elements.
    pub fn gather<T: Copy>(&self, sentence_major: &[T], width: usize, time_major: &mut [T]) {
        self.assert_rows(sentence_major.len(), width);
        self.assert_rows(time_major.len(), width);
        self.pairs(|to, from| time_major[to * width..][..width].copy_from_slice(&sentence_major[from * width..][..width]));
    }

    /// Copies time-major rows `[total, width]` to `sentence_major`, of the same size.
    ///
    /// # Panics
    /// If one of the two does not have `total() * width` elements.
    pub fn scatter<T: Copy>(&self, time_major: &[T], width: usize, sentence_major: &mut [T]) {
        self.assert_rows(sentence_major.len(), width);
        self.assert_rows(time_major.len(), width);
        self.pairs(|from, to| sentence_major[to * width..][..width].copy_from_slice(&time_major[from * width..][..width]));
    }

    /// Copies one row a sentence, `[sentences, width]` in the caller's order, to the layout's order.
    pub fn sort<T: Copy>(&self, rows: &[T], width: usize, sorted: &mut [T]) {
        for (to, &from) in sorted.chunks_exact_mut(width).zip(&self.order) {
            to.copy_from_slice(&rows[from * width..][..width]);
        }
    }

    /// Copies one row a sentence, `[sentences, width]` in the layout's order, to the caller's order.
    pub fn unsort<T: Copy>(&self, sorted: &[T], width: usize, rows: &mut [T]) {
        for (from, &to) in sorted.chunks_exact(width).zip(&self.order) {
            rows[to * width..][..width].copy_from_slice(from);
        }
    }

    fn assert_rows(&self, len: usize, width: usize) {
        let total = self.total();
        assert_eq!(len, total * width, "{total} tokens of width {width} are {} numbers, not {len}", total * width);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_module_documentation() {
        let layout = TimeMajor::new(&[2, 3, 1]);
        let mut time_major = ["", "", "", "", "", ""];
        layout.gather(&["a0", "a1", "b0", "b1", "b2", "c0"], 1, &mut time_major);
        assert_eq!(time_major, ["b0", "a0", "c0", "b1", "a1", "b2"]);
        assert_eq!((layout.active(0), layout.active(1), layout.active(2)), (3, 2, 1));
        assert_eq!(layout.sentence_rows(1).collect::<Vec<_>>(), [1, 4]);
    }

    #[test]
    fn no_sentence_and_empty_sentences() {
        assert_eq!((TimeMajor::new(&[]).steps(), TimeMajor::new(&[]).total()), (0, 0));
        let layout = TimeMajor::new(&[0, 2, 0]);
        assert_eq!((layout.order(), layout.steps(), layout.active(1)), (&[1, 0, 2][..], 2, 1));
    }

    proptest! {
        #[test]
        fn there_and_back(lengths in prop::collection::vec(0usize..6, 0..7), width in 1usize..4) {
            let layout = TimeMajor::new(&lengths);
            let tokens: Vec<usize> = (0..lengths.iter().sum::<usize>() * width).collect();
            let (mut time_major, mut back) = (vec![0; tokens.len()], vec![0; tokens.len()]);
            layout.gather(&tokens, width, &mut time_major);
            layout.scatter(&time_major, width, &mut back);
            prop_assert_eq!(&back, &tokens);
            let (mut sorted, mut unsorted) = (lengths.clone(), lengths.clone());
            layout.sort(&lengths, 1, &mut sorted);
            prop_assert!(sorted.is_sorted_by(|a, b| a >= b));
            layout.unsort(&sorted, 1, &mut unsorted);
            prop_assert_eq!(unsorted, lengths);
        }
    }
}
