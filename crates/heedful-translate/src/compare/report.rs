//! What a comparison found, as data: tables, curves and pictures are made of it elsewhere.

use std::path::PathBuf;

use serde::Serialize;

use super::translations::Translated;
use super::{Budget, CompareError, CurvePoint, Plan, Rung, findings};
use crate::corpus;
use crate::decode::Alignment;
use crate::evaluate::{Bleu, ChrF, Metric, MetricScores, SAMPLES, SEED, Segments, TestSet, compare};
use crate::model::config::ModelConfig;
use crate::text::Tokenizer;
use crate::train::{Prepared, TrainingText};
use crate::translator::Sentence;

/// Everything that is known when a comparison has come to its end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What all rungs learnt from and were scored on.
    pub corpus: Corpus,
    /// What each rung might use.
    pub budget: Budget,
    /// The seed of all of them.
    pub seed: u64,
    /// The rungs in their order.
    pub rungs: Vec<RungReport>,
    /// Each rung against each that comes after it, on the whole test set and on each bucket.
    pub differences: Vec<Difference>,
    /// The same sentences as all rungs translate them.
    pub sentences: Vec<ShownSentence>,
    /// What the numbers show and what they do not, one statement each.
    pub findings: Vec<String>,
}

/// The text that the rungs have in common.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Corpus {
    /// The training text.
    pub training_files: Vec<PathBuf>,
    /// Pairs that were trained on.
    pub training_pairs: u64,
    /// Pairs that chose the best weights.
    pub validation_pairs: usize,
    /// The test set.
    pub test_files: Vec<PathBuf>,
    /// Sentences that were scored.
    pub test_sentences: usize,
    /// Whether these are the validation sentences, which also chose the weights.
    pub tested_on_validation: bool,
    /// Tokens of the tokenizer.
    pub vocabulary: usize,
    /// The language that is read; may be empty.
    pub source_language: String,
    /// The language that is written; may be empty.
    pub target_language: String,
}

/// One rung.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RungReport {
    /// What it is called.
    pub name: String,
    /// The architecture and its sizes.
    pub model: ModelConfig,
    /// Numbers that were learnt.
    pub parameters: usize,
    /// Updates of them.
    pub updates: u64,
    /// Passes over the training text, the last one counted as far as it went.
    pub epochs: f64,
    /// Target tokens that were seen.
    pub tokens: u64,
    /// How long it took.
    pub time: Time,
    /// Its validations.
    pub curve: Vec<CurvePoint>,
    /// BLEU and chrF of the test set.
    pub scores: Vec<MetricScores>,
}

/// How long a rung took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Time {
    /// Minutes of its own turns, validation included.
    pub minutes: f64,
    /// The part of them that was validation.
    pub validation_minutes: f64,
    /// Processor minutes over all threads.
    pub cpu_minutes: f64,
    /// Target tokens a second, without validation.
    pub tokens_per_second: f64,
    /// Seconds to translate the test set.
    pub translation_seconds: f64,
    /// Processor seconds to translate it.
    pub translation_cpu_seconds: f64,
}

/// Two rungs on the same sentences, by paired bootstrap resampling.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The one.
    pub first: String,
    /// The other.
    pub second: String,
    /// The metric.
    pub metric: String,
    /// The lengths in words; `None` is the whole test set.
    pub words: Option<String>,
    /// The score of the second minus that of the first.
    pub difference: f64,
    /// Where that lies in 95 of 100 test sets drawn anew.
    pub interval: [f64; 2],
    /// How likely a difference of this size would come from the choice of sentences alone.
    pub p_value: f64,
}

/// A sentence that is shown.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    pub source: String,
    pub reference: Option<String>,
    pub words: usize,
    pub origin: String,
}

/// A sentence as all rungs translate it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShownSentence {
    /// The sentence.
    pub source: String,
    /// Its reference translation, if it is from the test set.
    pub reference: Option<String>,
    /// Its length, counted as for the buckets.
    pub words: usize,
    /// Why it is shown.
    pub origin: String,
    /// Its words and punctuation marks.
    pub source_words: Vec<String>,
    /// What each rung made of it.
    pub translations: Vec<ShownTranslation>,
}

/// What a rung made of a sentence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShownTranslation {
    /// The rung.
    pub rung: String,
    /// The translation.
    pub text: String,
    /// Its words and punctuation marks.
    pub target_words: Vec<String>,
    /// Which source words each of them looked at; `None` for a model without attention.
    pub alignment: Option<Alignment>,
}

impl Corpus {
    pub(super) fn new(plan: &Plan, text: &TrainingText, tokenizer: &Tokenizer, report: &corpus::Report, test: &TestSet) -> Self {
        let data = &plan.rungs[0].config.data;
        Self {
            training_files: data.train.clone(),
            training_pairs: report.kept,
            validation_pairs: text.held_out.len(),
            test_files: if data.test.is_empty() { data.valid.clone() } else { data.test.clone() },
            test_sentences: test.sources.len(),
            tested_on_validation: text.test.is_empty(),
            vocabulary: tokenizer.vocabulary_size(),
            source_language: data.source_language.clone(),
            target_language: data.target_language.clone(),
        }
    }
}

impl RungReport {
    pub(super) fn of_run(rung: &Rung, prepared: &Prepared, curve: Vec<CurvePoint>) -> Self {
        let trainer = &prepared.trainer;
        let progress = trainer.progress();
        let updating = progress.seconds - progress.validation_seconds;
        Self {
            name: rung.name.clone(),
            model: rung.config.model.clone(),
            parameters: trainer.model().parameters().values().len(),
            updates: trainer.updates(),
            epochs: trainer.epochs(),
            tokens: progress.tokens,
            time: Time {
                minutes: progress.seconds / 60.0,
                validation_minutes: progress.validation_seconds / 60.0,
                cpu_minutes: progress.cpu_seconds / 60.0,
                tokens_per_second: if updating > 0.0 { progress.tokens as f64 / updating } else { 0.0 },
                ..Time::default()
            },
            curve,
            scores: Vec::new(),
        }
    }

    pub(super) fn with_translation(mut self, translated: &Translated) -> Self {
        self.time.translation_seconds = translated.seconds;
        self.time.translation_cpu_seconds = translated.cpu_seconds;
        self
    }

    /// The scores of a metric, by its name.
    pub fn metric(&self, name: &str) -> Option<&MetricScores> {
        self.scores.iter().find(|scores| scores.metric == name)
    }
}

/// The sentences to show: of each bucket the one of median length, the first of equals, so that nobody has picked them; and those that were
/// asked for.
pub(super) fn choose(test: &TestSet, plan: &Plan) -> Vec<Shown> {
    let mut chosen = Vec::new();
    for bucket in 0..plan.buckets.len() {
        let mut inside: Vec<usize> = (0..test.sources.len()).filter(|&i| plan.buckets.of(test.lengths[i]) == bucket).collect();
        inside.sort_by_key(|&i| test.lengths[i]);
        let Some(&median) = inside.get(inside.len().saturating_sub(1) / 2) else { continue };
        let first = inside.iter().copied().find(|&i| test.lengths[i] == test.lengths[median]).unwrap_or(median);
        chosen.push(Shown {
            source: test.sources[first].clone(),
            reference: test.references[first].first().cloned(),
            words: test.lengths[first],
            origin: format!("the first test sentence of median length among those of {} words", plan.buckets.name(bucket)),
        });
    }
    chosen.extend(plan.settings.sentences.iter().map(|source| Shown {
        source: source.clone(),
        reference: None,
        words: source.split_whitespace().count(),
        origin: "asked for".to_owned(),
    }));
    chosen
}

/// Scores the translations and says what that means.
pub(super) fn assemble(
    plan: &Plan,
    corpus: Corpus,
    mut rungs: Vec<RungReport>,
    test: &TestSet,
    translations: &[Vec<String>],
    shown: &[Shown],
    shown_translations: Vec<Vec<Option<Sentence>>>,
) -> Result<Report, CompareError> {
    let (bleu, chrf) = (Bleu::default(), ChrF::default());
    let mut differences = Vec::new();
    for metric in [&bleu as &dyn Metric, &chrf] {
        let segments = translations.iter().map(|translations| test.segments(metric, translations)).collect::<Result<Vec<_>, _>>()?;
        for (rung, segments) in rungs.iter_mut().zip(&segments) {
            rung.scores.push(test.scores(metric, segments, &plan.buckets)?);
        }
        for (i, first) in segments.iter().enumerate() {
            for (j, second) in segments.iter().enumerate().skip(i + 1) {
                let names = [&rungs[i].name, &rungs[j].name];
                differences.extend(pairwise(plan, names, metric, test, first, second)?);
            }
        }
    }
    let training = &plan.rungs[0].config.training;
    let sentences = sentences(&rungs, shown, shown_translations);
    let mut report = Report {
        corpus,
        budget: Budget { minutes: training.minutes, updates: training.updates },
        seed: training.seed,
        rungs,
        differences,
        sentences,
        findings: Vec::new(),
    };
    report.findings = findings::of(&report);
    Ok(report)
}

/// Two rungs on the whole test set and on each bucket that has sentences.
fn pairwise(
    plan: &Plan,
    [first_name, second_name]: [&String; 2],
    metric: &dyn Metric,
    test: &TestSet,
    first: &Segments<'_, dyn Metric + '_>,
    second: &Segments<'_, dyn Metric + '_>,
) -> Result<Vec<Difference>, CompareError> {
    let mut differences = Vec::new();
    for bucket in std::iter::once(None).chain((0..plan.buckets.len()).map(Some)) {
        let inside = |sentence: usize| bucket.is_none_or(|bucket| plan.buckets.of(test.lengths[sentence]) == bucket);
        let (first, second) = (first.part(inside), second.part(inside));
        if first.is_empty() {
            continue;
        }
        let found = compare(&first, &second, SAMPLES, SEED)?;
        differences.push(Difference {
            first: first_name.clone(),
            second: second_name.clone(),
            metric: metric.name(),
            words: bucket.map(|bucket| plan.buckets.name(bucket)),
            difference: found.difference,
            interval: [found.interval.low, found.interval.high],
            p_value: found.p_value,
        });
    }
    Ok(differences)
}

/// `translations` are those of each rung; they become those of each sentence.
fn sentences(rungs: &[RungReport], shown: &[Shown], translations: Vec<Vec<Option<Sentence>>>) -> Vec<ShownSentence> {
    let mut of_rungs: Vec<_> = translations.into_iter().map(Vec::into_iter).collect();
    let mut sentences = Vec::new();
    for shown in shown {
        let mut source_words = Vec::new();
        let mut translations = Vec::new();
        for (rung, of_rung) in rungs.iter().zip(&mut of_rungs) {
            let Some(sentence) = of_rung.next().flatten() else { continue };
            source_words = sentence.source_words;
            translations.push(ShownTranslation {
                rung: rung.name.clone(),
                text: sentence.best.text,
                target_words: sentence.best.target_words,
                alignment: sentence.best.alignment,
            });
        }
        let Shown { source, reference, words, origin } = shown.clone();
        sentences.push(ShownSentence { source, reference, words, origin, source_words, translations });
    }
    sentences
}
