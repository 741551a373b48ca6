//! A run that is stopped and resumed equals one that never stopped, bit for bit; and what a run cannot go on from is refused.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use heedful_nn::{Gradients, Parameters, Workspace};
use heedful_translate::config::{Criterion, TrainingConfig};
use heedful_translate::corpus::{Reason, Report, encode, group_references};
use heedful_translate::model::{CrossAttention, Decoder, Loss, Model, Regularisation, Shard, Start, build};
use heedful_translate::train::{CHECKPOINT, Event, Observer, StopReason, TrainError, Trainer, TrainingText, Validation, prepare};

/// Stops after some updates.
struct StopAfter {
    update: u64,
    reached: bool,
}

impl StopAfter {
    fn new(update: u64) -> Self {
        Self { update, reached: false }
    }
}

impl Observer for StopAfter {
    fn observe(&mut self, event: Event<'_>) {
        if let Event::Update(report) = event {
            self.reached = report.update >= self.update;
        }
    }

    fn stop(&self) -> bool {
        self.reached
    }
}

fn config(folder: &Path, run: &str, model: &str) -> TrainingConfig {
    let pairs = folder.join("pairs.tsv");
    if !pairs.exists() {
        let mut text = String::new();
        for i in 0..400u32 {
            let words = |salt: u32| (0..3 + i % 5).map(|j| format!("w{}", (i * 7 + j * (13 + salt)) % 23)).collect::<Vec<_>>().join(" ");
            writeln!(text, "{}\t{}", words(0), words(2)).expect("a string");
        }
        std::fs::write(&pairs, text).expect("a temporary folder is writable");
    }
    let mut config = TrainingConfig::default().with_toml(model).expect("a valid configuration");
    config.data.train = vec![pairs];
    config.data.held_out = 40;
    config.tokenizer.vocabulary = 320;
    config.training.output = folder.join(run);
    config.training.batch_tokens = 300;
    config.training.shards = 3;
    config.training.updates = 30;
    config.training.warmup = 10;
    config.training.validate_every = 8;
    config.training.checkpoint_every = 5;
    config
}

const MODELS: [&str; 3] = [
    "[model]\ntype = \"transformer\"\ndim = 16\nfeed_forward = 24\nheads = 2\nencoder_layers = 1\ndecoder_layers = 1\n
     [training]\nconcatenate = 0.3\nbpe_dropout = 0.2\n",
    "[model]\ntype = \"rnn_attention\"\nembedding = 8\nhidden = 12\n",
    "[model]\ntype = \"rnn\"\nembedding = 8\nhidden = 12\n",
];

#[test]
fn stop_and_resume_equal_no_stop_bit_for_bit() {
    for model in MODELS {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let whole = config(folder.path(), "whole", model);
        let mut run = prepare(&whole, false).expect("a run");
        run.trainer.run(&mut StopAfter::new(u64::MAX)).expect("training");
        let expected = run.trainer.model().parameters().values().to_vec();

        // Another number of threads than the uninterrupted run had, and a stop in the middle of a pass over the data.
        let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
        let parts = config(folder.path(), "parts", model);
        let mut run = prepare(&parts, false).expect("a run");
        let outcome = single.install(|| run.trainer.run(&mut StopAfter::new(11))).expect("training");
        assert_eq!((outcome.reason, outcome.updates), (StopReason::Asked, 11));
        drop(run);
        let mut run = prepare(&parts, true).expect("the run goes on");
        let outcome = run.trainer.run(&mut StopAfter::new(u64::MAX)).expect("training");
        assert_eq!((outcome.reason, outcome.updates), (StopReason::Limit, 30));
        assert!(run.trainer.model().parameters().values() == expected, "the weights differ: {model}");

        let [a, b] = ["whole", "parts"].map(|run| {
            let metrics = std::fs::read_to_string(folder.path().join(run).join("metrics.jsonl")).expect("metrics");
            let losses = metrics.lines().map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).expect("a JSON line");
                (line["update"].as_u64(), line["loss"].as_f64(), line["validation"]["bleu"].as_f64())
            });
            losses.collect::<Vec<_>>()
        });
        assert_eq!(a, b);
    }
}

#[test]
fn a_checkpoint_survives_a_run_that_was_killed_while_writing_the_next() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = config(folder.path(), "run", MODELS[0]);
    let mut run = prepare(&settings, false).expect("a run");
    run.trainer.run(&mut StopAfter::new(5)).expect("training");
    // What a killed writer leaves behind: a file that was never renamed.
    std::fs::write(settings.training.output.join(".tmpKilled"), b"half a checkpoint").expect("writable");
    let run = prepare(&settings, true).expect("the run goes on");
    assert_eq!(run.trainer.progress().batch, 5);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = config(folder.path(), "run", MODELS[0]);
    prepare(&settings, false).expect("a run").trainer.run(&mut StopAfter::new(3)).expect("training");
    let refused = |settings: &TrainingConfig, resume| match prepare(settings, resume) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was taken"),
    };

    assert!(matches!(prepare(&settings, false), Err(TrainError::Exists { .. })));
    let mut other = settings.clone();
    other.training.seed = 99;
    assert!(refused(&other, true).ends_with(&format!(
        "other settings: seed is {} there and 99 here; start a new run in another folder, or give this one the settings it began with",
        settings.training.seed
    )));
    let mut other = settings.clone();
    other.training.bpe_dropout = 0.1;
    assert!(refused(&other, true).contains("other settings"));
    let mut other = settings.clone();
    other.training.keep_best = Criterion::Loss;
    assert!(refused(&other, true).contains("training.keep_best"));
    let mut other = settings.clone();
    other.training.output = folder.path().join("nowhere");
    assert!(refused(&other, true).contains("nowhere"));
    let mut other = settings.clone();
    other.training.dropout = 1.5;
    other.training.output = folder.path().join("new");
    assert!(refused(&other, false).contains("dropout"));

    let path = settings.training.output.join(CHECKPOINT);
    let good = std::fs::read(&path).expect("the checkpoint");
    for (bytes, what) in [(&good[..good.len() - 7], "cannot be used"), (&good[..20], "cannot be used"), (&[][..], "cannot be used")] {
        std::fs::write(&path, bytes).expect("writable");
        assert!(refused(&settings, true).contains(what));
    }
    let mut nan = good.clone();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, &nan).expect("writable");
    assert!(refused(&settings, true).contains("NaN"));
    std::fs::write(&path, &good).expect("writable");
    assert!(prepare(&settings, true).is_ok());
}

#[test]
fn a_validation_sentence_that_no_model_can_read_is_left_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let valid = folder.path().join("valid.tsv");
    std::fs::write(&valid, format!("w1 w2\tw3\n{}\tw3\n", "w1 w2 ".repeat(400))).expect("writable");
    for model in MODELS {
        let mut settings = config(folder.path(), &format!("run {}", model.len()), model);
        settings.data.valid = vec![valid.clone()];
        settings.data.max_words = 10_000;
        let mut run = prepare(&settings, false).expect("a run");
        assert_eq!(run.validation_report.dropped[&Reason::TooManyTokens].count, 1);
        run.trainer.run(&mut StopAfter::new(9)).expect("training");
    }
}

/// A model of which some updates have no finite gradient.
struct Faulty {
    model: Box<dyn Model>,
    /// Calls of `train_step` so far.
    calls: AtomicUsize,
    bad: std::ops::Range<usize>,
}

impl Model for Faulty {
    fn parameters(&self) -> &Parameters {
        self.model.parameters()
    }
    fn parameters_mut(&mut self) -> &mut Parameters {
        self.model.parameters_mut()
    }
    fn vocabulary(&self) -> usize {
        self.model.vocabulary()
    }
    fn cross_attention(&self) -> Option<CrossAttention> {
        self.model.cross_attention()
    }
    fn train_step(&self, shard: &Shard<'_>, how: Regularisation, gradients: &mut Gradients, workspace: &mut Workspace) -> Loss {
        let loss = self.model.train_step(shard, how, gradients, workspace);
        if self.bad.contains(&self.calls.fetch_add(1, Ordering::Relaxed)) {
            gradients.values_mut()[0] = f32::NAN;
        }
        loss
    }
    fn loss(&self, shard: &Shard<'_>, workspace: &mut Workspace) -> Loss {
        self.model.loss(shard, workspace)
    }
    fn decoder<'m>(&'m self, sources: &[&[u32]]) -> Box<dyn Decoder + 'm> {
        self.model.decoder(sources)
    }
}

/// The updates after which a run was validated.
#[derive(Default)]
struct Validations(Vec<u64>);

impl Observer for Validations {
    fn observe(&mut self, event: Event<'_>) {
        if let Event::Validated { update, .. } = event {
            self.0.push(update);
        }
    }
}

#[test]
fn updates_without_a_finite_gradient_are_not_validated_again() {
    // The first two; and five after the eighth update, which is validated.
    for bad in [0..2, 8..13] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut settings = config(folder.path(), "run", MODELS[2]);
        (settings.training.patience, settings.training.average, settings.training.shards) = (4, 1, 1);
        let text = TrainingText::read(&settings.data, settings.training.seed).expect("text");
        let tokenizer = text.learn_tokenizer(settings.tokenizer.vocabulary).expect("a tokenizer");
        let [pairs, held_out] = [&text.training, &text.held_out].map(|pairs| encode(pairs, &tokenizer, 200, &mut Report::default()));
        let validation = Validation::new(held_out, &group_references(&text.held_out), tokenizer.clone());
        let model = build(&settings.model, tokenizer.vocabulary_size(), Start::Random(1));
        let model = Box::new(Faulty { model, calls: AtomicUsize::new(0), bad });
        let mut run = Trainer::new(settings.training.clone(), model, pairs, tokenizer, validation, false).expect("a run");
        let mut validations = Validations::default();
        let outcome = run.run(&mut validations).expect("training");
        assert_eq!((outcome.reason, validations.0), (StopReason::Limit, vec![8, 16, 24, 30]));
        run.take_best().expect("the best weights are still there");
    }
}
