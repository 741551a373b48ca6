//! Training as a whole, on tasks of which every answer is known: copying a sentence, and reversing it.
//!
//! They cannot be solved from one hidden state as reliably as with a look back at the source, so they show that attention learns where to look.

use std::path::Path;
use std::sync::Arc;

use heedful_translate::config::TrainingConfig;
use heedful_translate::decode::Reading;
use heedful_translate::train::{Silent, StopReason, prepare};
use heedful_translate::translator::{Search, TranslateOptions, Translator};

const WORDS: [&str; 12] = ["ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe"];

/// Sentence `i` of a fixed sequence without repetition pattern, 2 to 8 words long.
fn sentence(i: u64) -> Vec<&'static str> {
    let mut state = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x1234_5678;
    let mut next = |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) % bound
    };
    (0..2 + next(7)).map(|_| WORDS[next(12) as usize]).collect()
}

fn write_pairs(path: &Path, sentences: impl Iterator<Item = Vec<&'static str>>, answer: fn(&mut Vec<&'static str>)) {
    let lines = sentences.map(|source| {
        let mut target = source.clone();
        answer(&mut target);
        format!("{}\t{}\n", source.join(" "), target.join(" "))
    });
    std::fs::write(path, lines.collect::<String>()).expect("a temporary folder is writable");
}

/// The share of held-out sentences that come out exactly right after training, and the translator.
fn learn(model: &str, answer: fn(&mut Vec<&'static str>)) -> (f64, Translator) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (train, valid) = (folder.path().join("train.tsv"), folder.path().join("valid.tsv"));
    write_pairs(&train, (0..6000).map(sentence), answer);
    write_pairs(&valid, (1_000_000..1_000_300).map(sentence), answer);
    let mut config = TrainingConfig::default().with_toml(model).expect("a valid configuration");
    (config.data.train, config.data.valid) = (vec![train], vec![valid]);
    config.training.output = folder.path().join("run");
    let mut run = prepare(&config, false).expect("a run");
    let outcome = run.trainer.run(&mut Silent).expect("training");
    assert_eq!(outcome.reason, StopReason::Limit);
    run.trainer.take_best().expect("the best weights");
    let translator = Translator::new(Arc::from(run.trainer.into_model()), run.tokenizer).expect("a translator");
    let held_out: Vec<Vec<&str>> = (1_000_000..1_000_300).map(sentence).collect();
    let sources: Vec<String> = held_out.iter().map(|source| source.join(" ")).collect();
    let options = TranslateOptions { search: Search::Greedy, ..TranslateOptions::default() };
    let translations = translator.translate(&sources, &options).expect("translations");
    let right = held_out.iter().zip(&translations).filter(|(source, translation)| {
        let mut target = (*source).clone();
        answer(&mut target);
        translation.text == target.join(" ")
    });
    (right.count() as f64 / 300.0, translator)
}

const TRANSFORMER: &str = r#"
tokenizer.vocabulary = 400
[model]
type = "transformer"
dim = 64
feed_forward = 128
heads = 4
encoder_layers = 2
decoder_layers = 2
[training]
batch_tokens = 1500
shards = 2
label_smoothing = 0.0
dropout = 0.0
learning_rate = 0.002
schedule = "linear"
warmup = 100
updates = 600
validate_every = 300
average = 1
keep_best = "loss"
"#;

const RNN_ATTENTION: &str = r#"
tokenizer.vocabulary = 400
[model]
type = "rnn_attention"
embedding = 48
hidden = 64
[training]
batch_tokens = 1500
shards = 2
label_smoothing = 0.0
dropout = 0.0
learning_rate = 0.005
schedule = "linear"
warmup = 50
updates = 700
validate_every = 350
average = 1
keep_best = "loss"
"#;

#[test]
fn a_transformer_learns_to_copy_and_its_attention_is_the_diagonal() {
    let (right, translator) = learn(TRANSFORMER, |_| {});
    assert!(right >= 0.99, "{right} of the sentences were copied exactly");
    let options = TranslateOptions { alignment: true, ..TranslateOptions::default() };
    let readings = ["layer:0", "layer:1", "layer:0+shift", "layer:1+shift"].map(|reading| reading.parse::<Reading>().expect("a reading"));
    let diagonal = readings.map(|reading| {
        let options = TranslateOptions { reading: Some(reading), ..options };
        let translations = translator.translate(&["ba di gu lo pe ki"], &options).expect("a translation");
        let alignment = translations[0].sentences[0].best.alignment.clone().expect("an alignment");
        alignment.links().iter().filter(|link| link.source == link.target).count()
    });
    assert!(diagonal.iter().any(|&links| links >= 5), "links on the diagonal by reading: {diagonal:?}");
}

#[test]
fn a_recurrent_model_with_attention_learns_to_reverse_and_its_attention_is_the_other_diagonal() {
    let (right, translator) = learn(RNN_ATTENTION, |target| target.reverse());
    assert!(right >= 0.99, "{right} of the sentences were reversed exactly");
    let options = TranslateOptions { alignment: true, ..TranslateOptions::default() };
    let translations = translator.translate(&["ba di gu lo pe ki"], &options).expect("a translation");
    let alignment = translations[0].sentences[0].best.alignment.clone().expect("an alignment");
    let links = alignment.links();
    let mirrored = links.iter().filter(|link| link.source + link.target == 5).count();
    assert!(mirrored >= 5, "{links:?}");
}

#[test]
fn a_recurrent_model_with_attention_learns_to_copy() {
    let (right, _) = learn(RNN_ATTENTION, |_| {});
    assert!(right >= 0.99, "{right} of the sentences were copied exactly");
}
