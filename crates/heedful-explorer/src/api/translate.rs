//! Translations of a text, and of a sentence under constraints.

use std::sync::Arc;

use axum::extract::State;
use heedful_translate::decode::{ImposedLook, Reading, Request, SearchOptions, force as follow};
use heedful_translate::text::EOS;
use heedful_translate::translator::{Candidate, Translator};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, within};
use crate::Explorer;
use crate::answer::{self, Json, Utf16};
use crate::body::Payload;
use crate::models::Wishes;
use crate::refusal::Refusal;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TranslateRequest {
    text: String,
    model: Option<String>,
    reading: Option<Reading>,
    n_best: Option<usize>,
    beam: Option<usize>,
    split_sentences: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForceRequest {
    sentence: String,
    model: Option<String>,
    reading: Option<Reading>,
    n_best: Option<usize>,
    beam: Option<usize>,
    prefix: Option<String>,
    prefix_tokens: Option<Vec<u32>>,
    #[serde(default)]
    imposed: Vec<Imposed>,
    #[serde(default = "hard")]
    strength: f32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Imposed {
    step: usize,
    source_word: usize,
}

fn hard() -> f32 {
    30.0
}

impl Explorer {
    fn wishes(&self, reading: Option<Reading>, n_best: Option<usize>, beam: Option<usize>) -> Result<Wishes, Refusal> {
        let (n_best, beam) = (within("n_best", n_best, self.limits.n_best)?, within("beam", beam, self.limits.beam)?);
        Ok(Wishes { reading, n_best, beam, split_sentences: None })
    }

    pub(super) fn check_text(&self, text: &str) -> Result<(), Refusal> {
        let (bytes, most) = (text.len(), self.limits.text_bytes);
        if bytes <= most {
            return Ok(());
        }
        Err(Refusal::too_large(format!("the text has {bytes} bytes, and {most} are translated at a time; send it in parts")))
    }
}

pub async fn translate(State(explorer): State<Arc<Explorer>>, Payload(request): Payload<TranslateRequest>) -> Answer {
    let model = Arc::clone(explorer.models.get(request.model.as_deref())?);
    explorer.check_text(&request.text)?;
    let wishes = explorer.wishes(request.reading, request.n_best, request.beam)?;
    let options = model.options(&Wishes { split_sentences: request.split_sentences, ..wishes });
    let work = move |stop: &_| {
        let translator = model.translator(stop);
        let translation = translator.translate(&[&request.text], &options)?.remove(0);
        let mut utf16 = Utf16::new(&request.text);
        let sentence = |sentence| answer::sentence(translator.tokenizer(), &request.text, sentence, &mut utf16);
        let sentences: Vec<Value> = translation.sentences.iter().map(sentence).collect();
        Ok(json!({ "model": model.id, "reading": model.reading(&options), "text": translation.text, "sentences": sentences }))
    };
    explorer.work.run(explorer.limits.time, work).await.map(Json)
}

pub async fn force(State(explorer): State<Arc<Explorer>>, Payload(request): Payload<ForceRequest>) -> Answer {
    let model = Arc::clone(explorer.models.get(request.model.as_deref())?);
    explorer.check_text(&request.sentence)?;
    let mut options = model.options(&explorer.wishes(request.reading, request.n_best, request.beam)?);
    if request.reading.is_none() {
        // What is imposed on a step is seen at that step, not one later.
        options.reading = model.reading(&options).map(|reading| Reading { shift: false, ..reading });
    }
    let longest = model.translator.longest();
    if request.imposed.len() > longest {
        return Err(Refusal::bad(format!("{} looks are imposed; there can be {longest}", request.imposed.len())));
    }
    if !request.imposed.is_empty() && model.translator.model().cross_attention().is_none() {
        return Err(Refusal::bad(format!("the model `{}` has no attention that could be imposed on", model.id)));
    }
    if !(0.0..=100.0).contains(&request.strength) {
        return Err(Refusal::bad(format!("strength is {}; it must be 0 to 100", request.strength)));
    }
    let work = move |stop: &_| {
        let translator = model.translator(stop);
        let tokenizer = translator.tokenizer();
        let words = tokenizer.encode(&request.sentence).words.len();
        if let Some(imposed) = request.imposed.iter().find(|imposed| imposed.source_word >= words) {
            return Err(Refusal::bad(format!("there is no source word {}; the sentence has {words}, from 0", imposed.source_word)));
        }
        let look = |imposed: &Imposed| ImposedLook {
            step: imposed.step,
            source: imposed.source_word..imposed.source_word + 1,
            bias: request.strength,
        };
        let looks: Vec<ImposedLook> = request.imposed.iter().map(look).collect();
        let prefix = match (request.prefix_tokens, request.prefix) {
            (Some(_), Some(_)) => return Err(Refusal::bad("there is a prefix and a prefix_tokens; send one of them")),
            (Some(tokens), None) => tokens,
            (None, Some(text)) => tokenizer.encode_ids(&text),
            (None, None) => Vec::new(),
        };
        let found = translator.steer(&request.sentence, prefix, &looks, &options)?;
        let sentence = answer::sentence(tokenizer, &request.sentence, &found, &mut Utf16::new(&request.sentence));
        let received = received(&translator, &request.sentence, &found.best, &looks)?;
        let imposed: Vec<Value> = request
            .imposed
            .iter()
            .zip(received)
            .map(|(imposed, weight)| json!({ "step": imposed.step, "source_word": imposed.source_word, "weight": weight }))
            .collect();
        Ok(json!({ "model": model.id, "reading": model.reading(&options), "sentence": sentence, "imposed": imposed }))
    };
    explorer.work.run(explorer.limits.time, work).await.map(Json)
}

/// What each imposed word received at its step of a translation, the mean over all layers and heads; `None` after the last step.
fn received(translator: &Translator, source: &str, best: &Candidate, looks: &[ImposedLook]) -> Result<Vec<Option<f32>>, Refusal> {
    let Some(shape) = translator.model().cross_attention() else { return Ok(Vec::new()) };
    if looks.is_empty() {
        return Ok(Vec::new());
    }
    let encoding = translator.tokenizer().encode(source);
    let tokens = |word: usize| {
        let first = encoding.word_of.partition_point(|&of| of < word);
        first..encoding.word_of.partition_point(|&of| of <= word)
    };
    let looks: Vec<ImposedLook> = looks.iter().map(|look| ImposedLook { source: tokens(look.source.start), ..look.clone() }).collect();
    let (mut source, mut target) = (encoding.ids.clone(), best.tokens.clone());
    source.push(EOS);
    if best.finished {
        target.push(EOS);
    }
    let request = Request { source_len: source.len(), prefix: &target, looks: &looks, ..Request::default() };
    let followed = follow(&mut *translator.model().decoder(&[&source]), &[request], &SearchOptions::default())
        .map_err(|error| Refusal::bad(error.to_string()))?;
    let all = shape.layers * shape.heads;
    let weight = |look: &ImposedLook| {
        let step = followed[0].attention.chunks_exact(all * source.len()).nth(look.step)?;
        Some(step.chunks_exact(source.len()).map(|row| row[look.source.clone()].iter().sum::<f32>()).sum::<f32>() / all as f32)
    };
    Ok(looks.iter().map(weight).collect())
}
