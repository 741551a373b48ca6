//! Both sides of a shard as recurrent layers read them: step after step, the longest sentence first.

use heedful_nn::TimeMajor;

use super::packed::{Packed, TargetPair};

/// Source tokens.
pub(super) struct Source {
    pub layout: TimeMajor,
    /// Time-major.
    pub tokens: Vec<u32>,
    /// Where the sentences start in sentence-major order.
    pub offsets: Vec<usize>,
}

impl Source {
    pub fn new(sentences: &[&[u32]]) -> Self {
        let packed = Packed::new(sentences);
        let layout = layout(sentences);
        Self { tokens: gather(&layout, &packed.tokens), offsets: packed.offsets, layout }
    }
}

/// Target tokens: what the decoder reads at each step, and what it is to predict there.
pub(super) struct Target {
    pub layout: TimeMajor,
    /// Time-major, from `BOS` on.
    pub inputs: Vec<u32>,
    /// Time-major.
    pub outputs: Vec<u32>,
}

impl Target {
    pub fn new(sentences: &[&[u32]]) -> Self {
        let pair = TargetPair::new(sentences);
        let layout = layout(sentences);
        Self { inputs: gather(&layout, &pair.inputs), outputs: gather(&layout, &pair.outputs), layout }
    }
}

fn layout(sentences: &[&[u32]]) -> TimeMajor {
    TimeMajor::new(&sentences.iter().map(|sentence| sentence.len()).collect::<Vec<_>>())
}

fn gather(layout: &TimeMajor, tokens: &[u32]) -> Vec<u32> {
    let mut time_major = vec![0; tokens.len()];
    layout.gather(tokens, 1, &mut time_major);
    time_major
}
