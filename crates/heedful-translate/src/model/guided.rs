//! Attention that is taught where to look: which of it, and where.

use std::ops::Range;

use heedful_nn::{Guide, TimeMajor};

use super::CrossAttention;
use crate::decode::{Layers, Reading, ReadingError};

/// Links that guide the attention of a training step (Garg et al. 2019, section 3.2): to what it minimises, the cross-entropy of a reading of
/// the attention is added.
#[derive(Clone, Debug, PartialEq)]
pub struct Guided {
    /// Which attention is guided; see [`Guided::check`].
    pub reading: Reading,
    /// What the cross-entropy is multiplied with.
    pub weight: f32,
    /// For each pair the target tokens and source tokens `[target, source]` that belong together, ascending.
    pub links: Vec<Vec<[u32; 2]>>,
}

impl Guided {
    /// Whether a reading of a model can be guided: the mean of the heads of one layer, or one head. Returns the layer and its heads.
    ///
    /// # Errors
    /// If the model does not have what is read, or it is the mean over several layers.
    pub fn check(reading: Reading, model: CrossAttention) -> Result<(usize, Range<usize>), ReadingError> {
        reading.check(model)?;
        match reading.layers {
            Layers::Last => Ok((model.layers - 1, 0..model.heads)),
            Layers::Layer(layer) => Ok((layer, 0..model.heads)),
            Layers::Head { layer, head } => Ok((layer, head..head + 1)),
            Layers::Mean => Err(ReadingError::Guided),
        }
    }

    /// The layer that is guided, and its guide for sentences that lie one after the other: query `i` of a target reads token `i - 1` and
    /// chooses token `i`.
    pub(super) fn packed(&self, model: CrossAttention, offsets: &[usize], memory_offsets: &[usize]) -> Option<(usize, Guide)> {
        let (layer, heads) = Self::check(self.reading, model).ok()?;
        let shift = usize::from(self.reading.shift);
        let mut packed = Vec::new();
        for (links, (target, source)) in self.links.iter().zip(offsets.windows(2).zip(memory_offsets.windows(2))) {
            for &[token, source_token] in links {
                let (query, key) = (target[0] + token as usize + shift, source[0] + source_token as usize);
                // The last token has no step after it.
                if query < target[1] && key < source[1] {
                    packed.push([query as u32, key as u32]);
                }
            }
        }
        Some((layer, Guide { heads, weight: self.weight, links: packed }))
    }

    /// The same for targets that lie step by step.
    pub(super) fn time_major(&self, model: CrossAttention, targets: &TimeMajor, memory_offsets: &[usize]) -> Option<Guide> {
        // The time-major row of each token, sentence after sentence.
        let mut rows = vec![Vec::new(); targets.sentences()];
        for (position, &sentence) in targets.order().iter().enumerate() {
            rows[sentence] = targets.sentence_rows(position).collect();
        }
        let mut offsets = vec![0];
        for sentence in &rows {
            offsets.push(offsets[offsets.len() - 1] + sentence.len());
        }
        let rows = rows.concat();
        let (_, mut guide) = self.packed(model, &offsets, memory_offsets)?;
        for [query, _] in &mut guide.links {
            *query = rows[*query as usize] as u32;
        }
        Some(guide)
    }
}
