//! The training loop.

use std::path::{Path, PathBuf};
use std::time::Instant;

use cpu_time::ProcessTime;
use heedful_nn::Schedule;
use heedful_nn::optimiser::Adam;
use serde_json::json;

use super::checkpoint::{self, Identity};
use super::epochs::Epochs;
use super::metrics::Metrics;
use super::{
    Best, CHECKPOINT, Event, GuideOptions, Observer, Progress, StepOptions, StopReason, TrainError, UpdateReport, Validation,
    ValidationReport, Workers,
};
use crate::config::{Criterion, RunConfig, ScheduleConfig};
use crate::corpus::{Augmentation, EncodedPair};
use crate::model::transformer::MAX_POSITIONS;
use crate::model::{Guided, Model};
use crate::text::Tokenizer;

/// A run without a single finite gradient in this many updates has diverged.
const MOST_SKIPPED: usize = 20;
/// Updates between two lines of the metrics file.
const METRICS_EVERY: u64 = 10;

/// A run: a model, what it learns from, and where it stands.
pub struct Trainer {
    config: RunConfig,
    model: Box<dyn Model>,
    epochs: Epochs,
    guide: Option<GuideOptions>,
    validation: Validation,
    adam: Adam,
    workers: Workers,
    progress: Progress,
    identity: Identity,
    ongoing: Option<Ongoing>,
}

/// What a run that was begun needs between two slices of it.
struct Ongoing {
    metrics: Metrics,
    /// Updates in a row without a finite gradient.
    skipped: usize,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Why it ended.
    pub reason: StopReason,
    /// Updates in all.
    pub updates: u64,
    /// The best validation, if there was one.
    pub best: Option<Best>,
    /// Seconds spent on updates and validation.
    pub seconds: f64,
}

impl Trainer {
    /// A run in `config.output`; `tokenizer` is what `pairs` were encoded with. With `resume`, it goes on from the checkpoint there; without, there must be none.
    ///
    /// # Errors
    /// If settings make no sense, there is nothing to train on, or the folder does not fit what is asked.
    pub fn new(
        config: RunConfig,
        model: Box<dyn Model>,
        pairs: Vec<EncodedPair>,
        tokenizer: Tokenizer,
        validation: Validation,
        resume: bool,
    ) -> Result<Self, TrainError> {
        check(&config)?;
        if pairs.is_empty() {
            return Err(TrainError::Empty("train on"));
        }
        let identity = identity(&config, model.as_ref(), &pairs, &validation);
        let augmentation = Augmentation {
            concatenate: config.concatenate,
            bpe_dropout: config.bpe_dropout,
            longest: MAX_POSITIONS.min(config.batch_tokens),
        };
        let guided = pairs.iter().any(|pair| !pair.links.is_empty());
        let guide = guided.then(|| GuideOptions::new(config.guide_reading, config.guide_weight, &tokenizer));
        if guided {
            Guided::check(config.guide_reading, model.cross_attention().ok_or(TrainError::NoAttention)?)?;
        }
        let epochs = Epochs::new(pairs, tokenizer, augmentation, config.batch_tokens, config.seed);
        let mut adam = Adam::new(model.parameters());
        adam.weight_decay = config.weight_decay;
        let workers = Workers::new(model.as_ref(), config.shards);
        let mut trainer =
            Self { config, model, epochs, guide, validation, adam, workers, progress: Progress::default(), identity, ongoing: None };
        let path = trainer.checkpoint_path();
        match (resume, path.exists()) {
            (true, _) => trainer.progress = checkpoint::load(&path, &trainer.identity, trainer.model.parameters_mut(), &mut trainer.adam)?,
            (false, true) => return Err(TrainError::Exists { path: trainer.config.output }),
            (false, false) => {}
        }
        Ok(trainer)
    }

    /// The model as it stands.
    pub fn model(&self) -> &dyn Model {
        self.model.as_ref()
    }

    /// Whether word links guide the attention.
    pub fn is_guided(&self) -> bool {
        self.guide.is_some()
    }

    /// Updates in all.
    pub fn updates(&self) -> u64 {
        self.adam.updates()
    }

    /// Passes over the data; the current one counts as far as it went, once [`run`](Self::run) has made its batches.
    pub fn epochs(&self) -> f64 {
        let batches = self.epochs.len();
        let part = if batches > 0 { self.progress.batch as f64 / batches as f64 } else { 0.0 };
        self.progress.epoch as f64 + part
    }

    /// Where the run stands.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Trains until a limit is reached, patience is over, or the observer asks to stop. A checkpoint of the end is written in each case.
    ///
    /// # Errors
    /// If a file cannot be written or the loss stays without a finite gradient.
    pub fn run(&mut self, observer: &mut dyn Observer) -> Result<Outcome, TrainError> {
        let outcome = self.run_while(observer, &mut |_| true)?;
        Ok(outcome.expect("only a pause ends without an outcome"))
    }

    /// The same, but as soon as `wanted` says no after an update, the run pauses: nothing is written, and the next call goes on as if there had
    /// been no pause. `None` says that it pauses; [`checkpoint`](Self::checkpoint) brings a paused run to the disk.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_while(
        &mut self,
        observer: &mut dyn Observer,
        wanted: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<Option<Outcome>, TrainError> {
        let mut ongoing = match self.ongoing.take() {
            Some(ongoing) => ongoing,
            None => self.begin(observer)?,
        };
        let reason = self.go_on(&mut ongoing, observer, wanted);
        let Some(reason) = reason? else {
            self.ongoing = Some(ongoing);
            return Ok(None);
        };
        if reason != StopReason::Asked && self.progress.validated != self.adam.updates() {
            self.validate(&mut ongoing.metrics, observer)?;
        }
        self.checkpoint(observer)?;
        observer.observe(Event::Finished { reason });
        Ok(Some(Outcome {
            reason,
            updates: self.adam.updates(),
            best: self.progress.best.first().cloned(),
            seconds: self.progress.seconds,
        }))
    }

    fn begin(&mut self, observer: &mut dyn Observer) -> Result<Ongoing, TrainError> {
        let metrics = Metrics::open(&self.config.output, self.adam.updates())?;
        observer.observe(Event::Started {
            update: self.adam.updates(),
            parameters: self.model.parameters().values().len(),
            pairs: self.epochs.pairs().len(),
        });
        self.epochs.begin(self.progress.epoch);
        Ok(Ongoing { metrics, skipped: 0 })
    }

    /// Updates until the run ends or pauses; `None` is a pause.
    fn go_on(
        &mut self,
        ongoing: &mut Ongoing,
        observer: &mut dyn Observer,
        wanted: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<Option<StopReason>, TrainError> {
        loop {
            if let Some(reason) = self.ended() {
                return Ok(Some(reason));
            }
            if observer.stop() {
                return Ok(Some(StopReason::Asked));
            }
            if self.progress.batch == self.epochs.len() {
                self.next_epoch();
                continue;
            }
            let report = self.update();
            ongoing.skipped = if report.gradient_norm.is_finite() { 0 } else { ongoing.skipped + 1 };
            if ongoing.skipped == MOST_SKIPPED {
                return Err(TrainError::Diverged(ongoing.skipped));
            }
            if report.update.is_multiple_of(METRICS_EVERY) {
                ongoing.metrics.append(&json!({
                    "update": report.update, "epoch": report.epoch, "seconds": self.progress.seconds,
                    "cpu_seconds": self.progress.cpu_seconds, "loss": report.loss,
                    "tokens_per_second": report.tokens as f64 / report.seconds, "learning_rate": report.learning_rate,
                    "gradient_norm": report.gradient_norm,
                }))?;
            }
            observer.observe(Event::Update(report));
            if self.validation_is_due() {
                self.validate(&mut ongoing.metrics, observer)?;
                self.checkpoint(observer)?;
            } else if report.update.is_multiple_of(self.config.checkpoint_every) {
                self.checkpoint(observer)?;
            }
            if !wanted(&self.progress) {
                return Ok(None);
            }
        }
    }

    fn validation_is_due(&self) -> bool {
        let (updates, minutes) = (self.adam.updates(), self.config.validate_minutes);
        // An update without a finite gradient leaves the weights as they were, and the count too.
        updates != self.progress.validated && updates.is_multiple_of(self.config.validate_every)
            || minutes > 0.0 && self.progress.seconds - self.progress.validated_at >= 60.0 * minutes
    }

    /// Puts the mean of the best weights into the model: what a bundle is made of. Without a validation, the weights stay the last ones.
    ///
    /// # Errors
    /// If the weights of a good validation cannot be read.
    pub fn take_best(&mut self) -> Result<(), TrainError> {
        let paths: Vec<PathBuf> = self.progress.best.iter().map(|best| self.best_path(best)).collect();
        if !paths.is_empty() {
            let mean = checkpoint::average_weights(&paths, self.model.parameters().values().len())?;
            self.model.parameters_mut().values_mut().copy_from_slice(&mean);
        }
        Ok(())
    }

    /// The scores of the model as it stands on the validation sentences, or `None` if there are none.
    ///
    /// # Errors
    /// If the model's scores are no numbers.
    pub fn evaluate(&self) -> Result<Option<ValidationReport>, TrainError> {
        Ok(self.validation.evaluate(self.model.as_ref())?)
    }

    /// The run's model, at its end.
    pub fn into_model(self) -> Box<dyn Model> {
        self.model
    }

    fn next_epoch(&mut self) {
        let clocks = Clocks::start();
        self.progress.epoch += 1;
        self.progress.batch = 0;
        self.epochs.begin(self.progress.epoch);
        clocks.add_to(&mut self.progress);
    }

    fn update(&mut self) -> UpdateReport {
        let clocks = Clocks::start();
        let update = self.adam.updates() + 1;
        let learning_rate = self.config.learning_rate * self.schedule_factor(update);
        let options = StepOptions {
            dropout: self.config.dropout,
            label_smoothing: self.config.label_smoothing,
            clip: self.config.clip,
            learning_rate,
            seed: self.config.seed,
            guide: self.guide.as_ref(),
        };
        let batch = self.epochs.batch(self.progress.batch);
        let step = self.workers.step(self.model.as_mut(), &mut self.adam, &batch, options);
        let seconds = clocks.add_to(&mut self.progress);
        self.progress.batch += 1;
        self.progress.tokens += step.loss.tokens as u64;
        UpdateReport {
            update,
            epoch: self.progress.epoch,
            loss: step.loss.nll / step.loss.tokens.max(1) as f64,
            tokens: step.loss.tokens,
            seconds,
            learning_rate,
            gradient_norm: step.gradient_norm,
            done: self.done(),
        }
    }

    fn validate(&mut self, metrics: &mut Metrics, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let clocks = Clocks::start();
        let Some(report) = self.validation.evaluate(self.model.as_ref())? else { return Ok(()) };
        let update = self.adam.updates();
        let score = match self.config.keep_best {
            Criterion::Loss => -report.loss,
            Criterion::Bleu => report.bleu,
        };
        let best = self.progress.best.first().is_none_or(|best| score > best.score);
        self.progress.stale = if best { 0 } else { self.progress.stale + 1 };
        self.keep(Best { update, score })?;
        self.progress.validation_seconds += clocks.add_to(&mut self.progress);
        self.progress.validated = update;
        self.progress.validated_at = self.progress.seconds;
        metrics.append(&json!({
            "update": update, "epoch": self.progress.epoch, "seconds": self.progress.seconds, "cpu_seconds": self.progress.cpu_seconds,
            "tokens": self.progress.tokens,
            "validation": { "loss": report.loss, "bleu": report.bleu, "chrf": report.chrf },
        }))?;
        observer.observe(Event::Validated { update, report, best });
        Ok(())
    }

    /// Keeps the weights if they are among the best; those of a later validation come first among equals.
    fn keep(&mut self, new: Best) -> Result<(), TrainError> {
        let place = self.progress.best.partition_point(|best| best.score > new.score);
        if place >= self.config.average.max(1) {
            return Ok(());
        }
        checkpoint::save_weights(&self.best_path(&new), self.model.parameters())?;
        self.progress.best.insert(place, new);
        // Weights that fell out are removed only after the checkpoint that no longer names them is on the disk: see `checkpoint`.
        Ok(())
    }

    /// Writes where the run stands, so that it can go on from there another day.
    ///
    /// # Errors
    /// If the file cannot be written; an older checkpoint is still there then.
    pub fn checkpoint(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let out = self.progress.best.split_off(self.progress.best.len().min(self.config.average.max(1)));
        let path = self.checkpoint_path();
        checkpoint::save(&path, &self.identity, &self.progress, self.model.parameters(), &self.adam)?;
        for best in out {
            // A file that stays behind does no harm.
            let _ = std::fs::remove_file(self.best_path(&best));
        }
        observer.observe(Event::Saved { path: &path });
        Ok(())
    }

    fn schedule_factor(&self, update: u64) -> f32 {
        let warmup = self.config.warmup;
        let schedule = match self.config.schedule {
            ScheduleConfig::Constant => Schedule::Constant,
            ScheduleConfig::InverseSqrt => Schedule::InverseSquareRoot { warmup },
            ScheduleConfig::Linear if self.config.updates > 0 => Schedule::Linear { warmup, total: self.config.updates },
            // How many updates there will be is not known: the share of the minutes that are left takes their place.
            ScheduleConfig::Linear => {
                let left = 1.0 - self.progress.seconds / (60.0 * self.config.minutes);
                return (update as f64 / warmup.max(1) as f64).min(left.max(0.0)) as f32;
            }
        };
        schedule.factor(update)
    }

    fn ended(&self) -> Option<StopReason> {
        let c = &self.config;
        let reached = (c.epochs > 0 && self.progress.epoch >= c.epochs)
            || (c.updates > 0 && self.adam.updates() >= c.updates)
            || (c.minutes > 0.0 && self.progress.seconds >= c.minutes * 60.0);
        if reached {
            Some(StopReason::Limit)
        } else if c.patience > 0 && self.progress.stale >= c.patience {
            Some(StopReason::Patience)
        } else {
            None
        }
    }

    /// How much of the run is done, in `[0, 1]`, by the limit that will be reached first.
    pub fn done(&self) -> f64 {
        let c = &self.config;
        let share = |value: f64, limit: f64| if limit > 0.0 { value / limit } else { 0.0 };
        let epochs = self.progress.epoch as f64 + share(self.progress.batch as f64, self.epochs.len() as f64);
        [
            share(epochs, c.epochs as f64),
            share(self.adam.updates() as f64, c.updates as f64),
            share(self.progress.seconds, c.minutes * 60.0),
        ]
        .into_iter()
        .fold(0.0, f64::max)
        .min(1.0)
    }

    fn checkpoint_path(&self) -> PathBuf {
        self.config.output.join(CHECKPOINT)
    }

    fn best_path(&self, best: &Best) -> PathBuf {
        checkpoint::best_path(&self.config.output, best.update)
    }
}

/// The time that passes, on the wall and in the processors.
struct Clocks {
    wall: Instant,
    processors: ProcessTime,
}

impl Clocks {
    fn start() -> Self {
        Self { wall: Instant::now(), processors: ProcessTime::now() }
    }

    /// Adds what has passed since the start; the seconds on the wall.
    fn add_to(&self, progress: &mut Progress) -> f64 {
        let seconds = self.wall.elapsed().as_secs_f64();
        progress.seconds += seconds;
        progress.cpu_seconds += self.processors.elapsed().as_secs_f64();
        seconds
    }
}

/// Settings that make no sense get an error before anything is written.
fn check(config: &RunConfig) -> Result<(), TrainError> {
    let setting = |name, value: String, fix| Err(TrainError::Setting { name, value, fix });
    if !(0.0..1.0).contains(&config.dropout) {
        return setting("dropout", config.dropout.to_string(), "it is a probability in [0, 1)");
    }
    if !(0.0..1.0).contains(&config.label_smoothing) {
        return setting("label_smoothing", config.label_smoothing.to_string(), "it is a probability mass in [0, 1)");
    }
    for (name, value) in [("concatenate", config.concatenate), ("bpe_dropout", config.bpe_dropout)] {
        if !(0.0..=1.0).contains(&value) {
            return setting(name, value.to_string(), "it is a probability in [0, 1]");
        }
    }
    if !(config.learning_rate > 0.0 && config.learning_rate.is_finite()) {
        return setting("learning_rate", config.learning_rate.to_string(), "it must be above 0");
    }
    if config.batch_tokens == 0 {
        return setting("batch_tokens", "0".to_owned(), "a batch needs at least one token");
    }
    if config.schedule == ScheduleConfig::Linear && config.updates == 0 && config.minutes <= 0.0 {
        return setting(
            "schedule",
            "linear".to_owned(),
            "it needs training.updates or training.minutes: at its end the learning rate is zero",
        );
    }
    if config.epochs == 0 && config.updates == 0 && config.minutes <= 0.0 && config.patience == 0 {
        return setting("epochs", "0".to_owned(), "the run would never end: set epochs, updates, minutes or patience");
    }
    Ok(())
}

/// What of the settings the weights depend on: how long the run goes and what is written is left out, so that a resumed run may go on longer.
fn identity(config: &RunConfig, model: &dyn Model, pairs: &[EncodedPair], validation: &Validation) -> Identity {
    let settings = json!({
        "seed": config.seed, "batch_tokens": config.batch_tokens, "shards": config.shards, "label_smoothing": config.label_smoothing,
        "dropout": config.dropout, "concatenate": config.concatenate, "bpe_dropout": config.bpe_dropout,
        "guide": [config.guide_reading.to_string(), config.guide_weight.to_string()],
        "learning_rate": config.learning_rate, "schedule": config.schedule, "warmup": config.warmup,
        "weight_decay": config.weight_decay, "clip": config.clip,
        "parameters": model.parameters().entries().iter().map(|e| (e.name.clone(), e.shape.clone())).collect::<Vec<_>>(),
    });
    let validation = format!("{:?} of {:016x}", config.keep_best, checksum(validation.pairs()));
    Identity { settings: settings.to_string(), corpus: format!("{:016x}", checksum(pairs)), validation }
}

fn checksum(pairs: &[EncodedPair]) -> u64 {
    let mut checksum = crate::random::mix(&[pairs.len() as u64]);
    for pair in pairs {
        let links: Vec<u32> = pair.links.iter().flatten().copied().collect();
        for side in [&pair.source, &pair.target, &links] {
            checksum = side.iter().fold(crate::random::mix(&[checksum, side.len() as u64]), |sum, &token| {
                sum.rotate_left(5).wrapping_mul(0x0100_0000_01b3) ^ u64::from(token)
            });
        }
    }
    checksum
}

/// Whether a folder holds a run that can be resumed.
pub fn is_run(folder: &Path) -> bool {
    folder.join(CHECKPOINT).exists()
}
