//! `heedful train`: from parallel text to a model file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use heedful_translate::bundle::Bundle;
use heedful_translate::config::{PRESETS, TrainingConfig};
use heedful_translate::corpus::{Columns, Report};
use heedful_translate::files::write_atomically;
use heedful_translate::train::{CHECKPOINT, Event, Observer, Prepared, StopReason, prepare, prepare_from};
use indicatif::{ProgressBar, ProgressStyle};

use crate::columns::columns;
use crate::interrupt::Stopped;
use crate::output::tell;
use crate::{interrupt, model, output};

/// The configuration's file in a run's folder.
const CONFIG: &str = "config.toml";
/// The model's file in a run's folder.
const MODEL: &str = "model.safetensors";
/// Parts of a progress bar.
const BAR: u64 = 10_000;

/// Train a translation model on parallel text
///
/// Settings come from a preset or a model to start from, then a configuration file, then --set, then the other arguments; each of them goes over the ones before. The
/// run's folder holds the configuration, the tokenizer, checkpoints, metrics.jsonl and, in the end, model.safetensors. Ctrl-C saves and stops (exit code 130);
/// --resume goes on exactly where the run stopped.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  heedful train pairs.tsv.gz -o model                             source and target in the columns of a TSV file
  heedful train train.de train.en --valid valid.de valid.en       two files, line by line
  heedful train --preset rnn-attention pairs.tsv --set training.minutes=30
  heedful train --print-config > my.toml                          all settings with what they mean, to edit
  heedful train --config my.toml
  heedful train pairs.tsv --links pairs.links                     attention that is taught which words belong together
  heedful train --from built-in mine.tsv --set training.learning_rate=0.0003
                                                                  adapt a model to the text of your own domain
  heedful train --resume -o model                                 go on with a run that was stopped
  heedful translate --model model/model.safetensors \"Hallo!\"      use what came out")]
pub struct Arguments {
    /// Training pairs: one TSV file, or a source file and a target file (.gz too)
    #[arg(num_args = 0..=2, value_name = "FILE")]
    train: Vec<PathBuf>,
    /// Validation pairs in the same form [default: pairs set aside from the training data]
    #[arg(long, num_args = 1..=2, value_name = "FILE")]
    valid: Vec<PathBuf>,
    /// Word links of the training pairs that guide the attention: `i-j` for source and target word, counted from 0, a line a pair
    #[arg(long, value_name = "FILE")]
    links: Option<PathBuf>,
    /// The columns of source and target in a TSV file, counted from 1 [default: 1,2]
    #[arg(long, value_name = "S,T", value_parser = columns)]
    columns: Option<Columns>,
    /// The run's folder [default: model]
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Start from a model that is there, or from the one that is `built-in`, instead of from random weights: with its sizes and its tokenizer,
    /// and, unless you say otherwise, its way of decoding, its languages and its licence
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["preset", "resume"])]
    from: Option<PathBuf>,
    /// Settings to start from
    #[arg(long, value_parser = PRESETS)]
    preset: Option<String>,
    /// A configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Change one setting; can be given more than once
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Go on with the run in the folder
    #[arg(long)]
    resume: bool,
    /// Print all settings with what they mean, as they would be used, and do nothing
    #[arg(long)]
    print_config: bool,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let (start, base) = match (&self.from, &self.preset) {
            (Some(path), _) => {
                let (start, base) = Self::start(path)?;
                (Some(start), base)
            }
            (None, Some(preset)) => (None, TrainingConfig::preset(preset)?),
            (None, None) => (None, TrainingConfig::default()),
        };
        let config = self.settings(base)?;
        if self.print_config {
            return output::print(config.to_commented_toml()?);
        }
        if config.data.train.is_empty() {
            bail!("there is nothing to train on; name a TSV file, or a source file and a target file");
        }
        let stop = interrupt::flag("stopping after this update and saving; press Ctrl-C again to end at once")?;
        let mut progress = Progress::new(stop);
        progress.bar.set_message("reading the text");
        let mut prepared = match start {
            Some(start) => prepare_from(&config, start)?,
            None => prepare(&config, self.resume)?,
        };
        write_config(&config)?;
        progress.reports(&prepared);
        let outcome = prepared.trainer.run(&mut progress)?;
        progress.bar.finish_and_clear();
        let path = config.training.output.join(MODEL);
        prepared.into_bundle(&config)?.save(&path, config.training.storage)?;
        output::print(format!("{}\n", path.display()))?;
        let folder = config.training.output.display();
        let how = match outcome.reason {
            StopReason::Limit => "reached its limit".to_owned(),
            StopReason::Patience => format!("did not get better for {} validations", config.training.patience),
            StopReason::Asked => format!("was stopped; go on with `heedful train --resume -o {folder}`"),
        };
        let end = format!("after {} updates the run {how}", outcome.updates);
        if outcome.reason == StopReason::Asked {
            return Err(Stopped(end).into());
        }
        tell(end);
        Ok(())
    }

    /// The model to start from, and the settings that it brings with it.
    fn start(path: &Path) -> Result<(Bundle, TrainingConfig)> {
        let start = model::open(path)?;
        let card = start.card.clone();
        let mut config =
            TrainingConfig { model: start.config.model.clone(), decoding: start.config.decoding.clone(), ..Default::default() };
        config.tokenizer.vocabulary = start.tokenizer.vocabulary_size();
        (config.data.source_language, config.data.target_language) = (card.source_language, card.target_language);
        (config.card.licence, config.card.attribution) = (card.licence, card.attribution);
        config.card.started_from = if card.name.is_empty() { path.display().to_string() } else { card.name };
        Ok((start, config))
    }

    /// File, single keys and arguments, one over the other and all over `config`; a run that goes on starts from its own settings.
    fn settings(&self, mut config: TrainingConfig) -> Result<TrainingConfig> {
        if let Some(output) = &self.output {
            config.training.output.clone_from(output);
        }
        let stored = config.training.output.join(CONFIG);
        if self.resume && self.preset.is_none() && self.config.is_none() {
            if !config.training.output.join(CHECKPOINT).exists() {
                bail!("there is no run in {}; start one without --resume, or name its folder with -o", config.training.output.display());
            }
            config = with_file(&config, &stored)?;
        }
        if let Some(path) = &self.config {
            config = with_file(&config, path)?;
        }
        config = config.with_overrides(&self.set)?;
        if let Some(output) = &self.output {
            config.training.output.clone_from(output);
        }
        if !self.train.is_empty() {
            config.data.train.clone_from(&self.train);
        }
        if !self.valid.is_empty() {
            config.data.valid.clone_from(&self.valid);
        }
        if let Some(links) = &self.links {
            config.data.links.clone_from(links);
        }
        if let Some(columns) = self.columns {
            (config.data.source_column, config.data.target_column) = (columns.source, columns.target);
        }
        Ok(config)
    }
}

fn with_file(config: &TrainingConfig, path: &Path) -> Result<TrainingConfig> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading the configuration {}", path.display()))?;
    config.with_toml(&text).with_context(|| format!("in {}", path.display()))
}

fn write_config(config: &TrainingConfig) -> Result<()> {
    let path = config.training.output.join(CONFIG);
    write_atomically(&path, config.to_commented_toml()?.as_bytes()).with_context(|| format!("writing {}", path.display()))
}

/// Shows a run on standard error: a bar on a terminal, and a line for each validation everywhere.
struct Progress {
    bar: ProgressBar,
    stop: Arc<AtomicBool>,
    /// Target tokens per second, smoothed.
    speed: f64,
}

impl Progress {
    fn new(stop: Arc<AtomicBool>) -> Self {
        let bar = ProgressBar::new(BAR);
        let style = ProgressStyle::with_template("{elapsed_precise} {bar:25} {percent:>3} % eta {eta} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar, stop, speed: 0.0 }
    }

    fn line(&self, text: &str) {
        self.bar.suspend(|| tell(text));
    }

    fn reports(&self, prepared: &Prepared) {
        let show = |name: &str, report: &Report| self.line(&format!("{name}: {}", report.to_string().trim_end()));
        show("training text", &prepared.training_report);
        if prepared.validation_report.read > 0 {
            show("validation text", &prepared.validation_report);
        }
    }
}

impl Observer for Progress {
    fn observe(&mut self, event: Event<'_>) {
        match event {
            Event::Started { update, parameters, pairs } => {
                let from = if update > 0 { format!(", going on after update {update}") } else { String::new() };
                self.line(&format!("training {:.2} million weights on {pairs} pairs{from}", parameters as f64 / 1e6));
            }
            Event::Update(report) => {
                let speed = report.tokens as f64 / report.seconds.max(1e-9);
                self.speed = if self.speed > 0.0 { 0.95 * self.speed + 0.05 * speed } else { speed };
                self.bar.set_position((report.done * BAR as f64) as u64);
                self.bar.set_message(format!(
                    "update {} epoch {} loss {:.3} {:.0} tokens/s",
                    report.update,
                    report.epoch + 1,
                    report.loss,
                    self.speed
                ));
            }
            Event::Validated { update, report, best } => {
                let mark = if best { "  best so far" } else { "" };
                self.line(&format!("update {update:>7}  loss {:.3}  BLEU {:.2}  chrF {:.2}{mark}", report.loss, report.bleu, report.chrf));
            }
            _ => {}
        }
    }

    fn stop(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}
