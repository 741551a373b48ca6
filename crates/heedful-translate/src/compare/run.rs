//! The rungs take turns until each has used its budget; then they are scored.

use std::path::{Path, PathBuf};

use super::plan::{Plan, Rung};
use super::report::{self, Report, RungReport};
use super::translations::translate;
use super::{CompareError, curve, plan};
use crate::corpus::Pair;
use crate::evaluate::TestSet;
use crate::text::Tokenizer;
use crate::train::{self, CHECKPOINT, Event, Outcome, Prepared, StopReason, TOKENIZER, TrainError, TrainingText, load_tokenizer};
use crate::translator::Translator;

/// Seconds of training in one turn.
const TURN: f64 = 10.0;
/// The model's file in a rung's folder.
const MODEL: &str = "model.safetensors";

/// Watches a comparison, and may stop it.
pub trait Observer {
    /// Is told what a rung does in its turn.
    fn observe(&mut self, rung: usize, event: Event<'_>);

    /// Is told what begins after the training.
    fn begin(&mut self, rung: usize, phase: Phase);

    /// Asked often; after a yes, everything is saved.
    fn stop(&self) -> bool {
        false
    }
}

/// What happens to a rung after its training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its best weights are averaged and written as a model file.
    Save,
    /// The test set is translated.
    Translate,
    /// The translations are scored.
    Score,
}

/// Watches in silence.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn observe(&mut self, _: usize, _: Event<'_>) {}

    fn begin(&mut self, _: usize, _: Phase) {}
}

/// One rung's view of the observer.
struct Watch<'a> {
    rung: usize,
    observer: &'a mut dyn Observer,
}

impl train::Observer for Watch<'_> {
    fn observe(&mut self, event: Event<'_>) {
        self.observer.observe(self.rung, event);
    }

    fn stop(&self) -> bool {
        self.observer.stop()
    }
}

/// A comparison that is under way.
pub struct Comparison {
    plan: Plan,
    text: TrainingText,
    tokenizer: Tokenizer,
    test: TestSet,
    runs: Vec<Run>,
}

/// The training of a rung.
struct Run {
    prepared: Prepared,
    outcome: Option<Outcome>,
}

impl Comparison {
    /// Begins a comparison in a folder that holds none yet.
    ///
    /// # Errors
    /// If there is one, or the text cannot be used.
    pub fn begin(plan: Plan) -> Result<Self, CompareError> {
        if Plan::exists(&plan.folder) {
            return Err(CompareError::Exists(plan.folder));
        }
        Self::open(plan, false)
    }

    /// Goes on with the comparison in the plan's folder, as if it had not been stopped. Budgets may be other than they were, and so may everything
    /// that is about scoring.
    ///
    /// # Errors
    /// If there is none, its files cannot be used, or the plan has another corpus, other models or other settings than they belong to.
    pub fn resume(plan: Plan) -> Result<Self, CompareError> {
        if !Plan::exists(&plan.folder) {
            return Err(CompareError::Missing(plan.folder));
        }
        Self::open(plan, true)
    }

    fn open(plan: Plan, resume: bool) -> Result<Self, CompareError> {
        let first = &plan.rungs[0].config;
        let text = TrainingText::read(&first.data, first.training.seed).map_err(CompareError::Text)?;
        if !text.test_report.dropped.is_empty() {
            return Err(CompareError::TestText(text.test_report.to_string()));
        }
        let path = plan.folder.join(TOKENIZER);
        let tokenizer = if resume {
            load_tokenizer(&path).map_err(CompareError::Text)?
        } else {
            let tokenizer = text.learn_tokenizer(first.tokenizer.vocabulary).map_err(CompareError::Text)?;
            plan::write(&path, tokenizer.to_json().as_bytes())?;
            tokenizer
        };
        // Before hours of training, not after.
        let test = TestSet::new(&test_pairs(&text, &tokenizer)?, plan.settings.all_references);
        if test.sources.is_empty() {
            return Err(CompareError::NoTest);
        }
        let prepare = |rung: &Rung| {
            // A rung that was stopped before its first checkpoint begins anew.
            let resume = resume && rung.config.training.output.join(CHECKPOINT).exists();
            let prepared = text.prepare(&rung.config, &tokenizer, resume);
            Ok(Run { prepared: prepared.map_err(|source| failed(rung, source))?, outcome: None })
        };
        let runs = plan.rungs.iter().map(prepare).collect::<Result<_, CompareError>>()?;
        plan.write()?;
        Ok(Self { plan, text, tokenizer, test, runs })
    }

    /// The comparison's plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What was left out of the training text and of the validation text, and why.
    pub fn text_reports(&self) -> (&crate::corpus::Report, &crate::corpus::Report) {
        let prepared = &self.runs[0].prepared;
        (&prepared.training_report, &prepared.validation_report)
    }

    /// Trains all rungs in turns. Whether they came to their end: if not, the observer asked to stop, and all is saved.
    ///
    /// # Errors
    /// If a rung cannot go on; the others are saved.
    pub fn train(&mut self, observer: &mut dyn Observer) -> Result<bool, CompareError> {
        loop {
            let waiting = (0..self.runs.len()).filter(|&rung| self.runs[rung].outcome.is_none());
            let done = |rung: &usize| self.runs[*rung].prepared.trainer.done();
            let Some(rung) = waiting.min_by(|a, b| done(a).total_cmp(&done(b))) else { return Ok(true) };
            if let Err(error) = self.turn(rung, observer) {
                self.save_all(observer)?;
                return Err(error);
            }
            if self.runs[rung].outcome.as_ref().is_some_and(|outcome| outcome.reason == StopReason::Asked) {
                self.save_all(observer)?;
                return Ok(false);
            }
        }
    }

    fn turn(&mut self, rung: usize, observer: &mut dyn Observer) -> Result<(), CompareError> {
        let (plan, run) = (&self.plan.rungs[rung], &mut self.runs[rung]);
        if run.prepared.trainer.done() < 1.0 {
            // A model file tells what a finished run gave; while the run goes on, there is none.
            remove(&model_path(plan))?;
        }
        let end = run.prepared.trainer.progress().seconds + TURN;
        let mut watch = Watch { rung, observer };
        run.outcome =
            run.prepared.trainer.run_while(&mut watch, &mut |progress| progress.seconds < end).map_err(|source| failed(plan, source))?;
        Ok(())
    }

    fn save_all(&mut self, observer: &mut dyn Observer) -> Result<(), CompareError> {
        for (rung, (plan, run)) in self.plan.rungs.iter().zip(&mut self.runs).enumerate() {
            run.prepared.trainer.checkpoint(&mut Watch { rung, observer }).map_err(|source| failed(plan, source))?;
        }
        Ok(())
    }

    /// Writes the model files that are missing, translates the test set with each and scores the translations. Translations are kept: who
    /// asks again for the same ones, with other buckets maybe, gets them without waiting.
    ///
    /// # Errors
    /// If files cannot be written, a model cannot translate the test set, or the observer asks to stop.
    pub fn report(self, observer: &mut dyn Observer) -> Result<Report, CompareError> {
        let Self { plan, text, tokenizer, test, runs } = self;
        let shown = report::choose(&test, &plan);
        let mut rungs = Vec::new();
        let mut translations = Vec::new();
        let mut shown_translations = Vec::new();
        let corpus = report::Corpus::new(&plan, &text, &tokenizer, &runs[0].prepared.training_report, &test);
        for (index, (rung, run)) in plan.rungs.iter().zip(runs).enumerate() {
            if observer.stop() {
                return Err(CompareError::Stopped);
            }
            let facts = RungReport::of_run(rung, &run.prepared, curve::read(&rung.config.training.output)?);
            let path = model_path(rung);
            if !path.exists() {
                observer.begin(index, Phase::Save);
                save(rung, run.prepared, &path)?;
            }
            observer.begin(index, Phase::Translate);
            let translated = translate(rung, &path, &test, &shown)?;
            rungs.push(facts.with_translation(&translated));
            translations.push(translated.translations);
            shown_translations.push(translated.shown);
        }
        observer.begin(0, Phase::Score);
        report::assemble(&plan, corpus, rungs, &test, &translations, &shown, shown_translations)
    }
}

/// What is scored: the whole test set or, if there is none, what a model can read of the validation text.
fn test_pairs(text: &TrainingText, tokenizer: &Tokenizer) -> Result<Vec<Pair>, CompareError> {
    let limit = Translator::LONGEST;
    let tokens = |pair: &Pair| tokenizer.encode_ids(&pair.source).len() + 1;
    if text.test.is_empty() {
        return Ok(text.held_out.iter().filter(|pair| tokens(pair) <= limit).cloned().collect());
    }
    match text.test.iter().map(|pair| (pair.line, tokens(pair))).find(|&(_, tokens)| tokens > limit) {
        Some((line, tokens)) => Err(CompareError::TestLine { line, tokens, limit }),
        None => Ok(text.test.clone()),
    }
}

fn failed(rung: &Rung, source: TrainError) -> CompareError {
    CompareError::Train { rung: rung.name.clone(), source }
}

fn model_path(rung: &Rung) -> PathBuf {
    rung.config.training.output.join(MODEL)
}

fn save(rung: &Rung, prepared: Prepared, path: &Path) -> Result<(), CompareError> {
    let bundle = prepared.into_bundle(&rung.config).map_err(|source| failed(rung, source))?;
    let saved = bundle.save(path, rung.config.training.storage);
    saved.map_err(|source| CompareError::Bundle { rung: rung.name.clone(), source })
}

fn remove(path: &Path) -> Result<(), CompareError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(CompareError::Write { path: path.to_owned(), source }),
        _ => Ok(()),
    }
}
