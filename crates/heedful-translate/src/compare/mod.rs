//! The lecture's experiment: several architectures learn from the same text with the same tokenizer and budget, and are then compared.
//!
//! A comparison is a folder. Each rung of the ladder has a folder of its own in it, which is an ordinary training run; the tokenizer is learnt
//! once and shared. The rungs take turns of some seconds, so that their curves grow together and whatever else the machine does slows all of
//! them alike; their clocks run in their own turns only.
//!
//! ```no_run
//! use heedful_translate::compare::{Budget, Comparison, Plan, Rung, Settings, Silent};
//! use heedful_translate::config::TrainingConfig;
//!
//! let mut rungs = Vec::new();
//! for name in ["rnn", "rnn-attention", "transformer"] {
//!     let mut config = TrainingConfig::preset(name)?;
//!     config.data.train = vec!["pairs.tsv".into()];
//!     config.data.test = vec!["test.tsv".into()];
//!     Budget { minutes: 30.0, updates: 0 }.apply(&mut config.training);
//!     rungs.push(Rung { name: name.to_owned(), config });
//! }
//! let mut comparison = Comparison::begin(Plan::new("ladder", rungs, Settings::default())?)?;
//! if comparison.train(&mut Silent)? {
//!     let report = comparison.report(&mut Silent)?;
//!     println!("{}", serde_json::to_string_pretty(&report)?);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod curve;
mod error;
mod findings;
mod plan;
mod report;
mod run;
mod translations;

pub use curve::CurvePoint;
pub use error::CompareError;
pub use plan::{Budget, Plan, Rung, Settings};
pub use report::{Corpus, Difference, Report, RungReport, ShownSentence, ShownTranslation, Time};
pub use run::{Comparison, Observer, Phase, Silent};
