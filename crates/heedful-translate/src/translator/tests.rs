use std::sync::Arc;

use heedful_nn::incremental::Imposed;
use heedful_nn::{Gradients, Parameters, Workspace};

use super::*;
use crate::decode::{Normalisation, Sampling};
use crate::model::{CrossAttention, Decoder, Loss, Regularisation, Shard};
use crate::random::{mix, unit};
use crate::text::BOS;

/// A model that copies its source, most of the time, and looks at the token that it copies with the second of its two heads.
struct Copier {
    parameters: Parameters,
    vocabulary: usize,
    /// How much the scores of other tokens differ.
    noise: f32,
    attention: Option<CrossAttention>,
}

struct CopierDecoder<'m> {
    model: &'m Copier,
    rows: Vec<Row>,
    scores: Vec<f32>,
}

#[derive(Clone)]
struct Row {
    source: Vec<u32>,
    /// Which source token it copies next, when told to.
    told: Option<usize>,
    fed: usize,
    attention: Vec<f32>,
}

impl Model for Copier {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }
    fn parameters_mut(&mut self) -> &mut Parameters {
        &mut self.parameters
    }
    fn vocabulary(&self) -> usize {
        self.vocabulary
    }
    fn cross_attention(&self) -> Option<CrossAttention> {
        self.attention
    }
    fn train_step(&self, _: &Shard<'_>, _: Regularisation, _: &mut Gradients, _: &mut Workspace) -> Loss {
        unreachable!("translators do not train")
    }
    fn loss(&self, _: &Shard<'_>, _: &mut Workspace) -> Loss {
        unreachable!("translators do not train")
    }
    fn decoder<'m>(&'m self, sources: &[&[u32]]) -> Box<dyn Decoder + 'm> {
        let rows = sources.iter().map(|source| Row { source: source.to_vec(), told: None, fed: 0, attention: Vec::new() }).collect();
        Box::new(CopierDecoder { model: self, rows, scores: Vec::new() })
    }
}

impl Decoder for CopierDecoder<'_> {
    fn rows(&self) -> usize {
        self.rows.len()
    }
    fn impose(&mut self, look: Imposed) {
        let row = &mut self.rows[look.row];
        row.told = Some(look.source.start).filter(|_| !look.source.is_empty());
    }
    fn step(&mut self, tokens: &[u32]) -> &[f32] {
        assert_eq!(tokens.len(), self.rows.len());
        self.scores.clear();
        for (row, &fed) in self.rows.iter_mut().zip(tokens) {
            let at = row.told.take().unwrap_or(row.fed).min(row.source.len() - 1);
            assert_eq!(row.fed == 0, fed == BOS);
            row.fed += 1;
            let scores = (0..self.model.vocabulary as u64).map(|token| {
                let noise = unit(mix(&[u64::from(fed), token, row.source.len() as u64])) as f32 * self.model.noise;
                noise + if token == u64::from(row.source[at]) { 9.0 } else { 0.0 }
            });
            self.scores.extend(scores);
            if self.model.attention.is_some() {
                let len = row.source.len();
                row.attention = vec![1.0 / len as f32; 2 * len];
                row.attention[len..].fill(0.0);
                row.attention[len + at] = 1.0;
            }
        }
        &self.scores
    }
    fn attention(&self, row: usize) -> &[f32] {
        &self.rows[row].attention
    }
    fn select(&mut self, rows: &[usize]) {
        self.rows = rows.iter().map(|&row| self.rows[row].clone()).collect();
    }
}

fn tokenizer() -> Tokenizer {
    let lines = ["Der Hund schl\u{e4}ft.", "Die Katze schl\u{e4}ft nicht!", "Der Hund und die Katze sehen Dr. Meier.", "Kommst du?"];
    Tokenizer::learn(&lines, 330).unwrap()
}

fn copier(noise: f32, attention: Option<CrossAttention>) -> Translator {
    let tokenizer = tokenizer();
    let model = Copier { parameters: Parameters::new(), vocabulary: tokenizer.vocabulary_size(), noise, attention };
    Translator::new(Arc::new(model), tokenizer).unwrap()
}

const TWO_HEADS: Option<CrossAttention> = Some(CrossAttention { layers: 1, heads: 2 });

fn looking(noise: f32) -> Translator {
    copier(noise, TWO_HEADS).with_reading("layer:0,head:1".parse().unwrap()).unwrap()
}

#[test]
fn texts_keep_their_lines_and_words_their_places() {
    let texts = ["Der Hund schl\u{e4}ft. Dr. Meier  kommt!\n\n  \u{201e}Kommst du?\u{201c}\n", "", "Die Katze", " \n\u{200b}\n"];
    let translations = looking(0.0).translate(&texts, &TranslateOptions::default()).unwrap();
    let joined: Vec<&str> = translations.iter().map(|t| &t.text[..]).collect();
    assert_eq!(joined, ["Der Hund schl\u{e4}ft. Dr. Meier kommt!\n\n\"Kommst du?\"\n", "", "Die Katze", "\n\n"]);
    assert_eq!(translations.iter().map(|t| t.sentences.len()).collect::<Vec<_>>(), [3, 0, 1, 0]);
    let sentence = &translations[0].sentences[1];
    assert_eq!(&texts[0][sentence.range.clone()], "Dr. Meier  kommt!");
    assert_eq!(sentence.source_words, ["Dr", ".", "Meier", "kommt", "!"]);
    assert_eq!(sentence.best.target_words, sentence.source_words);
    let alignment = sentence.best.alignment.as_ref().unwrap();
    assert_eq!(alignment.pharaoh(), "0-0 1-1 2-2 3-3 4-4");
    assert!(alignment.rows().enumerate().all(|(i, row)| row[i] > 0.999), "each word was read where it stands");
    assert_eq!(alignment.outside(), [0.0; 5]);
    assert_eq!(sentence.best.word_log_probs.len(), 5);
    assert!(sentence.best.finished && sentence.best.log_prob < f64::from(sentence.best.word_log_probs.iter().sum::<f32>()));
}

#[test]
fn another_reading_can_be_asked_for() {
    let options = TranslateOptions { reading: Some("layer:0,head:0".parse().unwrap()), ..TranslateOptions::default() };
    let sentence = looking(0.0).complete("Der Hund", "", &options).unwrap();
    let alignment = sentence.best.alignment.unwrap();
    let share = 1.0 / (tokenizer().encode_ids("Der Hund").len() + 1) as f32;
    assert!(alignment.outside().iter().all(|outside| (outside - share).abs() < 1e-5), "a uniform head looks at the end of sentence too");
    let shifted = TranslateOptions { reading: Some("layer:0,head:1+shift".parse().unwrap()), ..TranslateOptions::default() };
    let sentence = looking(0.0).complete("Der Hund", "", &shifted).unwrap();
    assert!(sentence.best.alignment.unwrap().outside()[1] > 0.0, "one step later, the last token looks at the end of sentence");
    let none = TranslateOptions { alignment: false, ..TranslateOptions::default() };
    assert_eq!(looking(0.0).complete("Der Hund", "", &none).unwrap().best.alignment, None);
    assert_eq!(copier(0.0, None).complete("Der Hund", "", &options).unwrap().best.alignment, None);
}

#[test]
fn neither_batches_nor_threads_change_a_translation() {
    let words = ["Der", "Hund", "die", "Katze", "schl\u{e4}ft", "nicht", "und"];
    let texts: Vec<String> = (0..40)
        .map(|text| (0..=text * 7 % 9).map(|word| words[(text * 5 + word * 3) % words.len()]).collect::<Vec<_>>().join(" "))
        .collect();
    let translator = looking(8.0);
    let searches = [Search::Greedy, Search::Beam { width: 3 }, Search::Sample(Sampling { top_k: 5, seed: 9, ..Sampling::default() })];
    for search in searches {
        let options = TranslateOptions { search, n_best: 2, ..TranslateOptions::default() };
        let expected = translator.translate(&texts, &options).unwrap();
        let many = usize::from(search != Search::Greedy);
        assert!(expected.iter().all(|t| t.sentences[0].alternatives.len() == many));
        for (threads, batch_tokens) in [(1, 1), (1, 1_000_000), (3, 100)] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let options = TranslateOptions { batch_tokens, ..options };
            assert_eq!(pool.install(|| translator.translate(&texts, &options)).unwrap(), expected);
        }
        for (text, expected) in texts.iter().zip(&expected).take(if matches!(search, Search::Sample(_)) { 1 } else { 40 }) {
            assert_eq!(&translator.translate(&[text], &options).unwrap()[0], expected);
        }
    }
}

#[test]
fn a_pair_scores_as_the_translation_that_it_is() {
    let translator = looking(8.0);
    let options = TranslateOptions { normalisation: Normalisation::Average, ..TranslateOptions::default() };
    let source = "Der Hund und die Katze";
    let found = translator.complete(source, "", &options).unwrap();
    let forced = translator.score(&[(source, &found.best.text[..]), (source, "nicht"), (source, "")], &options).unwrap();
    assert_eq!(forced[0], found);
    assert!(forced[1].best.score < found.best.score && forced[1].best.finished);
    assert_eq!((forced[2].best.target_words.len(), forced[2].best.log_prob), (0, forced[2].best.score));
}

#[test]
fn a_prefix_begins_the_translation() {
    let sentence = looking(0.0).complete("Der Hund schl\u{e4}ft.", "Die Katze", &TranslateOptions::default()).unwrap();
    assert!(sentence.best.text.starts_with("Die Katze"), "{}", sentence.best.text);
}

#[test]
fn a_translation_can_be_steered_word_by_word() {
    let translator = looking(0.0);
    let source = "Hund?!.";
    let hund = tokenizer().encode_ids("Hund");
    for search in [Search::Greedy, Search::Beam { width: 3 }] {
        let options = TranslateOptions { search, ..TranslateOptions::default() };
        let look = ImposedLook { step: hund.len(), source: 3..4, bias: 30.0 };
        for prefix in [Vec::new(), hund.clone()] {
            let steered = translator.steer(source, prefix, std::slice::from_ref(&look), &options).unwrap();
            assert_eq!(steered.best.text, "Hund.!.", "the step after the first word looked at word 3");
            assert_eq!(steered.best.alignment.unwrap().pharaoh(), "0-0 3-1 2-2 3-3");
        }
        let nowhere = ImposedLook { step: 0, source: 9..10, bias: 30.0 };
        assert_eq!(translator.steer(source, Vec::new(), &[nowhere], &options).unwrap().best.text, source);
    }
    let long = vec![hund[0]; Translator::LONGEST];
    assert!(matches!(translator.steer(source, long, &[], &TranslateOptions::default()), Err(TranslateError::TooLong { .. })));
}

#[test]
fn who_does_not_want_the_answer_any_more_can_stop() {
    let stop = Arc::new(AtomicBool::new(false));
    let translator = looking(0.0).with_stop(Arc::clone(&stop));
    for search in [Search::Greedy, Search::Beam { width: 3 }, Search::Sample(Sampling::default())] {
        let options = TranslateOptions { search, ..TranslateOptions::default() };
        stop.store(false, std::sync::atomic::Ordering::Relaxed);
        assert!(translator.translate(&["Der Hund"], &options).is_ok());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(translator.translate(&["Der Hund"], &options).unwrap_err(), TranslateError::Decode(DecodeError::Stopped));
    }
}

#[test]
fn a_sentence_that_is_too_long_is_refused_by_name() {
    let translator = looking(0.0).with_longest(30);
    let texts = ["Kurz.".to_owned(), format!("Kurz.\n\nAuch kurz. Hier {}", "der Hund und die Katze ".repeat(20))];
    let error = translator.translate(&texts, &TranslateOptions::default()).unwrap_err();
    let tokens = tokenizer().encode_ids(texts[1].split("kurz. ").last().unwrap()).len() + 1;
    let beginning = "Hier der Hund und die Katze der Hund und".to_owned();
    assert_eq!(error, TranslateError::TooLong { text: 1, line: 3, beginning, tokens, limit: 30 });
    assert!(error.to_string().starts_with("translate: text 2, line 3: the sentence \"Hier der Hund"), "{error}");
    let long = &texts[1][..];
    for pair in [("Hund", long), (long, "Hund")] {
        assert!(matches!(translator.score(&[pair], &TranslateOptions::default()), Err(TranslateError::TooLong { .. })));
    }
    // What comes out is held to the same length, and says so.
    let rambling = TranslateOptions { max_length: MaxLength { factor: 100.0, ..MaxLength::default() }, ..TranslateOptions::default() };
    let sentence = looking(1000.0).with_longest(30).complete("Der Hund", "", &rambling).unwrap();
    assert!(sentence.best.finished || tokenizer().encode_ids(&sentence.best.text).len() <= 30);
}

#[test]
fn what_makes_no_sense_is_an_error() {
    let translator = looking(0.0);
    let usual = TranslateOptions::default();
    assert_eq!(translator.score(&[("Hund", "dog"), (" ", "cat")], &usual).unwrap_err(), TranslateError::EmptySource { pair: 1 });
    for wrong in [
        TranslateOptions { n_best: 0, ..usual },
        TranslateOptions { search: Search::Beam { width: 0 }, ..usual },
        TranslateOptions { search: Search::Beam { width: usize::MAX }, ..usual },
        TranslateOptions { search: Search::Sample(Sampling::default()), n_best: 1001, ..usual },
        TranslateOptions { search: Search::Sample(Sampling { temperature: 0.0, ..Sampling::default() }), ..usual },
    ] {
        assert!(matches!(translator.translate(&["Hund"], &wrong), Err(TranslateError::Decode(DecodeError::Option { .. }))));
    }
    let reading: Reading = "layer:1".parse().unwrap();
    let wrong = TranslateOptions { reading: Some(reading), ..usual };
    assert!(matches!(translator.translate(&["Hund"], &wrong), Err(TranslateError::Reading(_))));
    assert!(matches!(translator.with_reading(reading), Err(TranslateError::Reading(_))));
    let model = Copier { parameters: Parameters::new(), vocabulary: 5, noise: 0.0, attention: None };
    assert!(matches!(Translator::new(Arc::new(model), tokenizer()), Err(TranslateError::Vocabulary { model: 5, .. })));
}

#[test]
fn a_pair_without_words_on_a_side_has_no_links() {
    let reading = "layer:0,head:1".parse().unwrap();
    let found =
        looking(0.0).align(&[("Der Hund", "Der Hund"), (" ", "cat"), ("Hund", "")], &[reading], &TranslateOptions::default()).unwrap();
    let links: Vec<usize> = found.iter().map(|readings| readings[0].links().len()).collect();
    assert_eq!(links, [2, 0, 0]);
}

#[test]
fn a_translation_is_json() {
    let translation = looking(0.0).translate(&["Der Hund"], &TranslateOptions { n_best: 2, ..TranslateOptions::default() }).unwrap();
    let json = serde_json::to_value(&translation[0]).unwrap();
    assert_eq!(json["text"], "Der Hund");
    let sentence = &json["sentences"][0];
    assert_eq!(sentence["source_words"], serde_json::json!(["Der", "Hund"]));
    assert_eq!(sentence["text"], "Der Hund");
    assert_eq!(sentence["alignment"]["weights"].as_array().map(Vec::len), Some(2));
    assert_eq!(sentence["word_log_probs"].as_array().map(Vec::len), Some(2));
    assert_eq!(sentence["alternatives"].as_array().map(Vec::len), Some(1));
}
