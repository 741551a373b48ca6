//! From a run to a model file.

use super::{Prepared, TrainError};
use crate::bundle::{Bundle, BundleConfig, Card, CardScore};
use crate::config::TrainingConfig;

impl Prepared {
    /// The model with the mean of the run's best weights, its tokenizer, and a card that says how it was trained and what it scores on the
    /// validation sentences. Attention that was guided is what alignments are read from. `config` is the one that the run was prepared with.
    ///
    /// # Errors
    /// If the best weights cannot be read, or their scores are no numbers.
    pub fn into_bundle(self, config: &TrainingConfig) -> Result<Bundle, TrainError> {
        let Self { mut trainer, tokenizer, training_report, .. } = self;
        trainer.take_best()?;
        let report = trainer.evaluate()?;
        let progress = trainer.progress();
        let from = match config.card.started_from.as_str() {
            "" => String::new(),
            name => format!("started from {name}; "),
        };
        let training = format!(
            "{from}{} updates with {} target tokens of {} pairs in {:.0} minutes, seed {}; weights averaged over {} checkpoints",
            trainer.updates(),
            progress.tokens,
            training_report.kept,
            progress.seconds / 60.0,
            config.training.seed,
            progress.best.len().max(1),
        );
        let score = |metric: &str, value: f64| CardScore {
            test_set: "validation set".to_owned(),
            metric: metric.to_owned(),
            value,
            signature: "greedy, first reference, cased, 13a".to_owned(),
        };
        let card = Card {
            name: config.card.name.clone(),
            source_language: config.data.source_language.clone(),
            target_language: config.data.target_language.clone(),
            data: config.card.data.clone(),
            licence: config.card.licence.clone(),
            attribution: config.card.attribution.clone(),
            training,
            scores: report.map(|report| vec![score("BLEU", report.bleu), score("chrF", report.chrf)]).unwrap_or_default(),
        };
        let mut bundle_config = BundleConfig { model: config.model.clone(), decoding: config.decoding.clone() };
        if trainer.is_guided() {
            bundle_config.decoding.reading = config.training.guide_reading;
        }
        Ok(Bundle { config: bundle_config, tokenizer, model: trainer.into_model(), card })
    }
}
