//! What a run goes through: epoch by epoch, the training pairs in batches.

use crate::corpus::{Augmentation, EncodedPair, batches};
use crate::text::Tokenizer;

/// The training pairs, and the batches of one epoch of them at a time. Everything is a pure function of the pairs, the settings and the epoch.
pub(super) struct Epochs {
    pairs: Vec<EncodedPair>,
    tokenizer: Tokenizer,
    augmentation: Augmentation,
    batch_tokens: usize,
    seed: u64,
    /// The pairs as they are in the current epoch, if they are not as they were given.
    augmented: Vec<EncodedPair>,
    /// The batches of the current epoch, as indices of pairs.
    order: Vec<Vec<usize>>,
}

impl Epochs {
    /// No epoch has begun yet.
    pub(super) fn new(pairs: Vec<EncodedPair>, tokenizer: Tokenizer, augmentation: Augmentation, batch_tokens: usize, seed: u64) -> Self {
        Self { pairs, tokenizer, augmentation, batch_tokens, seed, augmented: Vec::new(), order: Vec::new() }
    }

    /// The pairs as they were given.
    pub(super) fn pairs(&self) -> &[EncodedPair] {
        &self.pairs
    }

    /// Makes an epoch the current one.
    pub(super) fn begin(&mut self, epoch: u64) {
        let seed = [self.seed, epoch];
        if !self.augmentation.is_off() {
            self.augmented = self.augmentation.epoch(&self.pairs, &self.tokenizer, &seed);
        }
        let lengths: Vec<[usize; 2]> = self.current().iter().map(|pair| [pair.source.len(), pair.target.len()]).collect();
        self.order = batches(&lengths, self.batch_tokens, &seed);
    }

    /// How many batches the current epoch has.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// A batch of the current epoch.
    pub(super) fn batch(&self, index: usize) -> Vec<&EncodedPair> {
        let pairs = self.current();
        self.order[index].iter().map(|&pair| &pairs[pair]).collect()
    }

    fn current(&self) -> &[EncodedPair] {
        if self.augmentation.is_off() { &self.pairs } else { &self.augmented }
    }
}
