//! `heedful compare`: several architectures on the same text with the same budget, and a report of what that shows.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use heedful_explorer::report;
use heedful_translate::compare::{Budget, CompareError, Comparison, Observer, Phase, Plan, Report, Rung, Settings};
use heedful_translate::config::{PRESETS, TrainingConfig};
use heedful_translate::corpus::Columns;
use heedful_translate::evaluate::Buckets;
use heedful_translate::files::write_atomically;
use heedful_translate::train::Event;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::columns::columns;
use crate::interrupt::Stopped;
use crate::output::tell;
use crate::{arguments, interrupt, output};

/// Parts of a progress bar.
const BAR: u64 = 10_000;

/// Train several architectures on the same text with the same budget, and compare them
///
/// The rungs of the ladder (by default an RNN without attention, an RNN with attention, a Transformer) share corpus, tokenizer, seed and budget. They
/// take turns of some seconds, so that their curves grow together. Then each translates the test set, line by line, and a report says what they score,
/// also by sentence length, how sure that is, and what it does not show. Ctrl-C saves and stops (exit code 130); --resume goes on exactly where it stopped. After the end,
/// --resume makes the report anew without training.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  heedful compare --train pairs.tsv.gz --minutes 30 -o ladder            three rungs, half an hour each
  heedful compare --train train.es train.en --valid valid.es valid.en --test test.es test.en --minutes 60
  heedful compare --train pairs.tsv --rungs rnn,transformer --updates 5000
  heedful compare --train pairs.tsv --rungs rnn,small.toml,large.toml --minutes 20
  heedful compare --resume -o ladder                                     go on, or make the report again
  heedful compare --resume -o ladder --buckets 1-5,6-15,16+ --json       with other buckets, printed as JSON")]
pub struct Arguments {
    /// Training pairs: one TSV file, or a source file and a target file (.gz too)
    #[arg(long, num_args = 1..=2, value_name = "FILE")]
    train: Vec<PathBuf>,
    /// Validation pairs in the same form [default: pairs set aside from the training data]
    #[arg(long, num_args = 1..=2, value_name = "FILE")]
    valid: Vec<PathBuf>,
    /// Test pairs in the same form, which are kept out of the training data [default: the validation pairs]
    #[arg(long, num_args = 1..=2, value_name = "FILE")]
    test: Vec<PathBuf>,
    /// The columns of source and target in a TSV file, counted from 1 [default: 1,2]
    #[arg(long, value_name = "S,T", value_parser = columns)]
    columns: Option<Columns>,
    /// What is compared: presets and configuration files (NAME.toml), with commas between them [default: rnn,rnn-attention,transformer]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    rungs: Vec<String>,
    /// Minutes that each rung may train, validation included
    #[arg(long, value_name = "M")]
    minutes: Option<f64>,
    /// Updates that each rung may make
    #[arg(long, value_name = "N")]
    updates: Option<u64>,
    /// The folder of the comparison
    #[arg(short, long, value_name = "FOLDER", default_value = "comparison")]
    output: PathBuf,
    /// All randomness follows from this number [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Change one setting of all rungs, as `heedful train --print-config` names it; can be given more than once
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Hypotheses kept at each step when the test set is translated; 1 is greedy [default: the configuration's]
    #[arg(long, value_name = "N", value_parser = arguments::at_least_one())]
    beam: Option<usize>,
    /// Ranges of source lengths in words [default: 1-10,11-20,21-30,31-40,41+]
    #[arg(long, value_name = "RANGES")]
    buckets: Option<Buckets>,
    /// Score against all translations of a source, not its first
    #[arg(long)]
    all_references: bool,
    /// Show this sentence too; can be given more than once
    #[arg(long, value_name = "TEXT")]
    sentence: Vec<String>,
    /// Go on with the comparison in the folder
    #[arg(long)]
    resume: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let plan = if self.resume { self.resumed()? } else { self.begun()? };
        let stop = interrupt::flag("stopping after this update and saving; press Ctrl-C again to end at once")?;
        let mut progress = Progress::new(&plan, stop);
        progress.say("reading the text");
        let folder = plan.folder().to_owned();
        let mut comparison = if self.resume { Comparison::resume(plan)? } else { Comparison::begin(plan)? };
        let (training, validation) = comparison.text_reports();
        progress.say(format!("training text: {}", training.to_string().trim_end()));
        if validation.read > 0 {
            progress.say(format!("validation text: {}", validation.to_string().trim_end()));
        }
        let stopped = Stopped(format!("stopped; go on with `heedful compare --resume -o {}`", folder.display()));
        if !comparison.train(&mut progress)? {
            progress.clear();
            return Err(stopped.into());
        }
        let found = match comparison.report(&mut progress) {
            Err(CompareError::Stopped) => {
                progress.clear();
                return Err(stopped.into());
            }
            found => found?,
        };
        progress.clear();
        let json = format!("{:#}\n", serde_json::to_value(&found)?);
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            write_atomically(&path, text.as_bytes()).with_context(|| format!("writing {}", path.display()))
        };
        write("report.json", &json)?;
        write("report.svg", &report::overview(&found).to_svg())?;
        for (name, picture) in report::pictures(&found) {
            write(&format!("pictures/{name}.svg"), &picture.to_svg())?;
        }
        write("report.html", &report::comparison(&found))?;
        output::print(if self.json { json } else { as_text(&found) + &format!("\n{}\n", folder.join("report.html").display()) })
    }

    /// A new comparison, from the arguments.
    fn begun(&self) -> Result<Plan> {
        let budget = Budget { minutes: self.minutes.unwrap_or(0.0), updates: self.updates.unwrap_or(0) };
        if budget == Budget::default() {
            bail!("how long may each rung train? Say it with --minutes or --updates");
        }
        let names =
            if self.rungs.is_empty() { ["rnn", "rnn-attention", "transformer"].map(str::to_owned).to_vec() } else { self.rungs.clone() };
        let rungs = names.iter().map(|name| {
            let (name, mut config) = rung(name)?;
            budget.apply(&mut config.training);
            Ok(Rung { name, config: self.laid_over(config)? })
        });
        let rungs = rungs.collect::<Result<Vec<Rung>>>()?;
        if rungs[0].config.data.train.is_empty() {
            bail!("there is nothing to train on; name a TSV file, or a source file and a target file, with --train");
        }
        Ok(Plan::new(&self.output, rungs, self.settings(Settings::default()))?)
    }

    /// The comparison in the folder, with what the arguments change.
    fn resumed(&self) -> Result<Plan> {
        if !self.rungs.is_empty() {
            bail!("a comparison goes on with the rungs it began with; leave --rungs out, or begin another without --resume");
        }
        let plan = Plan::read(&self.output)?;
        let rungs = plan.rungs().iter().map(|rung| {
            let mut config = rung.config.clone();
            config.training.minutes = self.minutes.unwrap_or(config.training.minutes);
            config.training.updates = self.updates.unwrap_or(config.training.updates);
            Ok(Rung { name: rung.name.clone(), config: self.laid_over(config)? })
        });
        Ok(Plan::new(&self.output, rungs.collect::<Result<_>>()?, self.settings(plan.settings().clone()))?)
    }

    /// A rung's configuration with what the arguments change of all rungs.
    fn laid_over(&self, mut config: TrainingConfig) -> Result<TrainingConfig> {
        for (files, changed) in
            [(&mut config.data.train, &self.train), (&mut config.data.valid, &self.valid), (&mut config.data.test, &self.test)]
        {
            if !changed.is_empty() {
                files.clone_from(changed);
            }
        }
        if let Some(columns) = self.columns {
            (config.data.source_column, config.data.target_column) = (columns.source, columns.target);
        }
        config.training.seed = self.seed.unwrap_or(config.training.seed);
        config.decoding.beam = self.beam.unwrap_or(config.decoding.beam);
        Ok(config.with_overrides(&self.set)?)
    }

    fn settings(&self, mut settings: Settings) -> Settings {
        if let Some(buckets) = &self.buckets {
            settings.buckets = buckets.to_string();
        }
        settings.all_references |= self.all_references;
        if !self.sentence.is_empty() {
            settings.sentences.clone_from(&self.sentence);
        }
        settings
    }
}

/// A preset, with `_` or `-` in its name, or a file; and what it is called.
fn rung(name: &str) -> Result<(String, TrainingConfig)> {
    let preset = name.replace('_', "-");
    if PRESETS.contains(&preset.as_str()) {
        let config = TrainingConfig::preset(&preset)?;
        return Ok((preset, config));
    }
    let path = PathBuf::from(name);
    if path.extension().is_none_or(|extension| extension != "toml") {
        bail!("`{name}` is no rung; name a preset ({}) or a configuration file (NAME.toml)", PRESETS.join(", "));
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading the configuration {}", path.display()))?;
    let config = TrainingConfig::default().with_toml(&text).with_context(|| format!("in {}", path.display()))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok((name, config))
}

/// The table and what it means.
fn as_text(report: &Report) -> String {
    let widest = report.rungs.iter().map(|rung| rung.name.len()).max().unwrap_or(0).max(4);
    let mut lines = vec![format!(
        "{:widest$}  {:>9}  {:>8}  {:>7}  {:>7}  {:>20}  {:>20}",
        "rung", "weights", "tokens/s", "minutes", "CPU min", "BLEU", "chrF"
    )];
    for rung in &report.rungs {
        let score = |metric: usize| {
            let Some(scores) = rung.scores.get(metric) else { return String::new() };
            let interval = scores.interval.map(|[low, high]| format!(" [{low:.1}, {high:.1}]")).unwrap_or_default();
            format!("{:.1}{interval}", scores.score)
        };
        lines.push(format!(
            "{:widest$}  {:>8.2}M  {:>8.0}  {:>7.1}  {:>7.1}  {:>20}  {:>20}",
            rung.name,
            rung.parameters as f64 / 1e6,
            rung.time.tokens_per_second,
            rung.time.minutes,
            rung.time.cpu_minutes,
            score(0),
            score(1)
        ));
    }
    lines.push(String::new());
    lines.extend(report.findings.iter().cloned());
    lines.join("\n") + "\n"
}

/// Shows a comparison on standard error: a bar for each rung on a terminal, and a line for each validation everywhere.
struct Progress {
    all: MultiProgress,
    rungs: Vec<RungProgress>,
    stop: Arc<AtomicBool>,
}

struct RungProgress {
    name: String,
    bar: ProgressBar,
    /// Target tokens per second, smoothed.
    speed: f64,
    /// Seconds of training in this session.
    seconds: f64,
    /// The shares of the budget that were done when this session began, and are done now.
    share: Option<(f64, f64)>,
}

impl RungProgress {
    /// Seconds of its own turns that this rung still needs.
    fn left(&self) -> f64 {
        match self.share {
            Some((from, now)) if now > from => self.seconds * (1.0 - now) / (now - from),
            _ => 0.0,
        }
    }
}

impl Progress {
    fn new(plan: &Plan, stop: Arc<AtomicBool>) -> Self {
        let all = MultiProgress::new();
        let widest = plan.rungs().iter().map(|rung| rung.name.len()).max().unwrap_or(0);
        let template = format!("{{prefix:{widest}}} {{bar:25}} {{percent:>3}} % {{msg}}");
        let rungs = plan.rungs().iter().map(|rung| {
            let bar = all.add(ProgressBar::new(BAR));
            bar.set_style(ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(rung.name.clone());
            bar.enable_steady_tick(Duration::from_secs(1));
            RungProgress { name: rung.name.clone(), bar, speed: 0.0, seconds: 0.0, share: None }
        });
        Self { rungs: rungs.collect(), all, stop }
    }

    fn say(&self, line: impl AsRef<str>) {
        self.all.suspend(|| tell(line.as_ref()));
    }

    fn clear(&self) {
        for rung in &self.rungs {
            rung.bar.finish_and_clear();
        }
    }
}

impl Observer for Progress {
    fn observe(&mut self, rung: usize, event: Event<'_>) {
        match event {
            Event::Started { update, parameters, pairs } => {
                let from = if update > 0 { format!(", going on after update {update}") } else { String::new() };
                self.say(format!(
                    "{}: training {:.2} million weights on {pairs} pairs{from}",
                    self.rungs[rung].name,
                    parameters as f64 / 1e6
                ));
            }
            Event::Update(report) => {
                let at = &mut self.rungs[rung];
                let speed = report.tokens as f64 / report.seconds.max(1e-9);
                at.speed = if at.speed > 0.0 { 0.95 * at.speed + 0.05 * speed } else { speed };
                match &mut at.share {
                    // The first update's own share is not known: the clock starts after it.
                    None => at.share = Some((report.done, report.done)),
                    Some((_, now)) => {
                        at.seconds += report.seconds;
                        *now = report.done;
                    }
                }
                at.bar.set_position((report.done * BAR as f64) as u64);
                // The rungs take turns: each ends when all have trained what they still have to.
                let left: f64 = self.rungs.iter().map(RungProgress::left).sum();
                let at = &self.rungs[rung];
                let eta = Duration::from_secs(left as u64);
                at.bar.set_message(format!(
                    "eta {} update {} epoch {} loss {:.3} {:.0} tokens/s",
                    indicatif::FormattedDuration(eta),
                    report.update,
                    report.epoch + 1,
                    report.loss,
                    at.speed
                ));
            }
            Event::Validated { update, report, best } => {
                let mark = if best { "  best so far" } else { "" };
                self.say(format!(
                    "{}: update {update:>7}  loss {:.3}  BLEU {:.2}  chrF {:.2}{mark}",
                    self.rungs[rung].name, report.loss, report.bleu, report.chrf
                ));
            }
            _ => {}
        }
    }

    fn begin(&mut self, rung: usize, phase: Phase) {
        let name = &self.rungs[rung].name;
        match phase {
            Phase::Save => self.say(format!("{name}: averaging and saving the best weights")),
            Phase::Translate => self.say(format!("{name}: translating the test set")),
            Phase::Score => self.say("scoring"),
        }
    }

    fn stop(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}
