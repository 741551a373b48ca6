//! LibreTranslate's calls, so that its clients work here; alignment and score are extra fields.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, header};
use heedful_translate::translator::Translation;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Answer;
use crate::Explorer;
use crate::answer::Json;
use crate::body::{Asked, PayloadOrForm};
use crate::language::{Detected, Language, detect as detected};
use crate::models::{Loaded, Wishes};
use crate::refusal::Refusal;

#[derive(Deserialize)]
pub struct LibreRequest {
    q: Texts,
    source: String,
    target: String,
    format: Option<String>,
    alternatives: Option<usize>,
    api_key: Option<String>,
}

/// One text, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
pub struct DetectRequest {
    q: String,
    api_key: Option<String>,
}

#[derive(Deserialize)]
pub struct Key {
    api_key: Option<String>,
}

impl Explorer {
    fn source_languages(&self) -> Vec<Language> {
        let mut languages: Vec<Language> = self.models.iter().filter_map(|model| model.source.clone()).collect();
        languages.dedup();
        languages
    }

    /// Both sides of all models.
    fn languages(&self) -> Vec<Language> {
        let mut languages: Vec<Language> = Vec::new();
        for language in self.models.iter().flat_map(|model| model.source.iter().chain(&model.target)) {
            if !languages.contains(language) {
                languages.push(language.clone());
            }
        }
        languages
    }

    fn model_between(&self, source: &str, target: &str) -> Result<Arc<Loaded>, Refusal> {
        let is =
            |language: &Option<Language>, code: &str| language.as_ref().is_some_and(|language| language.code.eq_ignore_ascii_case(code));
        let model = self.models.iter().find(|model| is(&model.source, source) && is(&model.target, target));
        model.cloned().ok_or_else(|| Refusal::bad(format!("there is no model from `{source}` to `{target}`; see /languages")))
    }
}

pub async fn translate(
    State(explorer): State<Arc<Explorer>>,
    headers: HeaderMap,
    PayloadOrForm(request): PayloadOrForm<LibreRequest>,
) -> Answer {
    explorer.access.check_key(&headers, request.api_key.as_deref())?;
    match request.format.as_deref() {
        None | Some("" | "text") => {}
        Some(other) => return Err(Refusal::bad(format!("the format `{other}` is not translated; send plain text as `text`"))),
    }
    let alternatives = request.alternatives.unwrap_or(0);
    if alternatives >= explorer.limits.n_best {
        return Err(Refusal::bad(format!("alternatives is {alternatives}; it must be less than {}", explorer.limits.n_best)));
    }
    let (texts, is_one) = match request.q {
        Texts::One(text) => (vec![text], true),
        Texts::Many(texts) => (texts, false),
    };
    explorer.check_text(&texts.concat())?;
    let found: Option<Vec<Detected>> = (request.source == "auto").then(|| {
        let languages = explorer.source_languages();
        let unknown =
            || Detected { language: explorer.models.default().source.clone().map_or_else(String::new, |l| l.code), confidence: 0.0 };
        texts.iter().map(|text| detected(text, &languages).pop().unwrap_or_else(unknown)).collect()
    });
    let source = found.as_ref().and_then(|found| found.first()).map_or(request.source, |found| found.language.clone());
    let model = explorer.model_between(&source, &request.target)?;
    let options = model.options(&Wishes { n_best: Some(alternatives + 1), ..Wishes::default() });
    let work = move |stop: &_| {
        let translations = model.translator(stop).translate(&texts, &options)?;
        let one_or_all = |values: Vec<Value>| if is_one { values.into_iter().next().unwrap_or_default() } else { Value::Array(values) };
        let all = |value: &dyn Fn(&Translation) -> Value| one_or_all(translations.iter().map(value).collect());
        let mut answer = json!({
            "translatedText": all(&|translation| json!(translation.text)),
            "score": all(&|translation| json!(score(translation))),
            "alignment": all(&alignment),
        });
        if alternatives > 0 {
            answer["alternatives"] =
                all(&|translation| json!((1..=alternatives).filter_map(|n| alternative(translation, n)).collect::<Vec<_>>()));
        }
        if let Some(found) = found {
            answer["detectedLanguage"] = one_or_all(found.iter().map(|found| json!(found)).collect());
        }
        Ok(answer)
    };
    explorer.work.run(explorer.limits.time, work).await.map(Json)
}

/// The log-probability of a token, on the average.
fn score(translation: &Translation) -> f64 {
    let bests = || translation.sentences.iter().map(|sentence| &sentence.best);
    let tokens: usize = bests().map(|best| best.token_log_probs.len()).sum();
    bests().map(|best| best.log_prob).sum::<f64>() / tokens.max(1) as f64
}

fn alignment(translation: &Translation) -> Value {
    let sentence = |sentence: &heedful_translate::translator::Sentence| {
        let weights = sentence.best.alignment.as_ref().map(|alignment| alignment.rows().map(<[f32]>::to_vec).collect::<Vec<_>>());
        json!({ "source_words": sentence.source_words, "target_words": sentence.best.target_words, "weights": weights })
    };
    translation.sentences.iter().map(sentence).collect()
}

/// The text with the `n`-th alternative of each sentence that has as many; `None` if none has.
fn alternative(translation: &Translation, n: usize) -> Option<String> {
    let has = translation.sentences.iter().any(|sentence| sentence.alternatives.len() >= n);
    has.then(|| {
        let text =
            |sentence: &heedful_translate::translator::Sentence| sentence.alternatives.get(n - 1).unwrap_or(&sentence.best).text.clone();
        translation.sentences.iter().map(text).collect::<Vec<_>>().join(" ")
    })
}

pub async fn detect(
    State(explorer): State<Arc<Explorer>>,
    headers: HeaderMap,
    PayloadOrForm(request): PayloadOrForm<DetectRequest>,
) -> Answer {
    explorer.access.check_key(&headers, request.api_key.as_deref())?;
    explorer.check_text(&request.q)?;
    Ok(Json(json!(detected(&request.q, &explorer.languages()))))
}

pub async fn languages(State(explorer): State<Arc<Explorer>>, Asked(in_address): Asked<Key>, request: Request) -> Answer {
    let headers = request.headers().clone();
    // Its Python client sends the key in the body of a GET.
    let in_body = if headers.contains_key(header::CONTENT_TYPE) {
        PayloadOrForm::<Key>::from_request(request, &explorer).await?.0.api_key
    } else {
        None
    };
    explorer.access.check_key(&headers, in_address.api_key.or(in_body).as_deref())?;
    let targets = |language: &Language| {
        let from = explorer.models.iter().filter(|model| model.source.as_ref() == Some(language));
        from.filter_map(|model| Some(&model.target.as_ref()?.code)).collect::<BTreeSet<_>>()
    };
    let one = |language: &Language| json!({ "code": language.code, "name": language.name, "targets": targets(language) });
    Ok(Json(explorer.languages().iter().map(one).collect()))
}

pub async fn health() -> Json {
    Json(json!({ "status": "ok" }))
}
