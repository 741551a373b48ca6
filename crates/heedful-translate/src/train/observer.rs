use std::path::Path;

use super::ValidationReport;

/// What a run tells whoever watches it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Training begins, or goes on after `update`.
    Started {
        /// Updates done before.
        update: u64,
        /// Numbers in the model.
        parameters: usize,
        /// Sentence pairs.
        pairs: usize,
    },
    /// An update was done.
    Update(UpdateReport),
    /// The validation sentences were translated and scored.
    Validated {
        /// After this update.
        update: u64,
        /// The scores.
        report: ValidationReport,
        /// Whether it is the best so far.
        best: bool,
    },
    /// A checkpoint was written.
    Saved {
        /// The file.
        path: &'a Path,
    },
    /// No more updates.
    Finished {
        /// Why.
        reason: StopReason,
    },
}

/// Numbers about the last update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpdateReport {
    /// Its number, from 1.
    pub update: u64,
    /// The pass over the data, from 0.
    pub epoch: u64,
    /// Negative log-likelihood per target token, in nats.
    pub loss: f64,
    /// Target tokens of this update.
    pub tokens: usize,
    /// Seconds that this update took.
    pub seconds: f64,
    /// This update's learning rate.
    pub learning_rate: f32,
    /// The length of the gradient before clipping.
    pub gradient_norm: f32,
    /// How much of the run is done, in `[0, 1]`, by the limit that will be reached first.
    pub done: f64,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// A limit of epochs, updates or minutes.
    Limit,
    /// No better validation for `patience` validations.
    Patience,
    /// The observer asked for it; a checkpoint was written and the run can go on.
    Asked,
}

/// Watches a run, and may stop it.
pub trait Observer {
    /// Is told what happens.
    fn observe(&mut self, event: Event<'_>);

    /// Asked between updates; after a yes, the run writes a checkpoint and returns.
    fn stop(&self) -> bool {
        false
    }
}

/// Watches in silence.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn observe(&mut self, _: Event<'_>) {}
}
