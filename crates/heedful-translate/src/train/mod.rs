//! Training: updates, validation, checkpoints, and going on where a run stopped.

mod checkpoint;
mod epochs;
mod error;
mod finish;
mod links;
mod metrics;
mod observer;
mod run;
mod step;
mod trainer;
mod validation;

pub use checkpoint::{Best, CHECKPOINT, Progress};
pub use error::TrainError;
pub use links::GuideOptions;
pub use metrics::METRICS;
pub use observer::{Event, Observer, Silent, StopReason, UpdateReport};
pub use run::{Prepared, TOKENIZER, TrainingText, load_tokenizer, prepare, prepare_from};
pub use step::{StepOptions, StepReport, Workers};
pub use trainer::{Outcome, Trainer};
pub use validation::{Validation, ValidationReport};
