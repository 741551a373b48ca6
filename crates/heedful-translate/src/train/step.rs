//! One update: the shards of a batch run side by side, their gradients are summed in order, and Adam moves the weights.

use heedful_nn::optimiser::{Adam, clip_factor, sum_gradients};
use heedful_nn::{Gradients, Workspace};
use rayon::prelude::*;

use super::GuideOptions;
use crate::corpus::EncodedPair;
use crate::model::{Guided, Loss, Model, Regularisation, Shard};
use crate::random::mix;

/// What an update depends on besides the weights and the batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOptions<'a> {
    /// The probability with which an activation is dropped.
    pub dropout: f32,
    /// The probability mass that label smoothing spreads.
    pub label_smoothing: f32,
    /// The longest gradient; 0 leaves it as it is.
    pub clip: f32,
    /// This update's learning rate.
    pub learning_rate: f32,
    /// The run's seed.
    pub seed: u64,
    /// What the links of the pairs guide.
    pub guide: Option<&'a GuideOptions>,
}

/// What came out of an update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Sums over the batch.
    pub loss: Loss,
    /// The length of the mean gradient before clipping; the weights are left as they were if it is not finite.
    pub gradient_norm: f32,
}

/// Gradients and buffers of each shard, used again by every update.
pub struct Workers {
    shards: Vec<(Gradients, Workspace)>,
}

impl Workers {
    /// Room for batches that are cut into `shards` parts.
    pub fn new(model: &dyn Model, shards: usize) -> Self {
        Self { shards: (0..shards.max(1)).map(|_| (model.parameters().gradients(), Workspace::new())).collect() }
    }

    /// One update on a batch. The result depends on the number of shards, but not on the number of threads.
    pub fn step(&mut self, model: &mut dyn Model, adam: &mut Adam, batch: &[&EncodedPair], options: StepOptions<'_>) -> StepReport {
        let update = adam.updates();
        let shards = cut(batch, self.shards.len(), options.guide);
        let loss = {
            let model: &dyn Model = model;
            let losses: Vec<Loss> = self
                .shards
                .par_iter_mut()
                .zip(&shards)
                .enumerate()
                .map(|(i, ((gradients, workspace), shard))| {
                    gradients.clear();
                    let randomness = mix(&[options.seed, update, i as u64]);
                    let how = Regularisation { dropout: options.dropout, label_smoothing: options.label_smoothing, randomness };
                    if shard.targets.is_empty() { Loss::default() } else { model.train_step(shard, how, gradients, workspace) }
                })
                .collect();
            losses.into_iter().fold(Loss::default(), |sum, loss| sum + loss)
        };
        let (first, rest) = self.shards.split_first_mut().expect("at least one shard");
        let gradients = &mut first.0;
        let others: Vec<&Gradients> = rest.iter().map(|(gradients, _)| gradients).collect();
        let mean = 1.0 / loss.tokens.max(1) as f32;
        let norm = sum_gradients(gradients, &others) * mean;
        if norm.is_finite() {
            let clip = if options.clip > 0.0 { clip_factor(norm, options.clip) } else { 1.0 };
            adam.update(model.parameters_mut(), gradients, mean * clip, options.learning_rate);
        }
        StepReport { loss, gradient_norm: norm }
    }
}

/// Deals the pairs out, so that the shards of a batch of similar lengths are of similar size.
fn cut<'a>(batch: &[&'a EncodedPair], shards: usize, guide: Option<&GuideOptions>) -> Vec<Shard<'a>> {
    let guided = guide.map(|guide| Guided { reading: guide.reading, weight: guide.weight, links: Vec::new() });
    let mut parts = vec![Shard { guide: guided, ..Shard::default() }; shards];
    for (i, pair) in batch.iter().enumerate() {
        let part = &mut parts[i % shards];
        part.sources.push(&pair.source);
        part.targets.push(&pair.target);
        if let (Some(guide), Some(guided)) = (guide, &mut part.guide) {
            guided.links.push(guide.token_links(pair));
        }
    }
    parts
}

impl std::ops::Add for Loss {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { objective: self.objective + other.objective, nll: self.nll + other.nll, tokens: self.tokens + other.tokens }
    }
}
