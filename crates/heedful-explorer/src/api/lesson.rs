//! The first attention layer's weights for a text of one's own.

use std::sync::Arc;

use axum::extract::State;
use heedful::mechanism::Projection;
use heedful_translate::model::config::ModelConfig;
use heedful_translate::model::first_attention::FirstAttention;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Answer;
use crate::Explorer;
use crate::answer::{self, Json};
use crate::body::Payload;
use crate::refusal::Refusal;

/// Of more tokens, a lesson shows nothing that one could read.
const MOST_TOKENS: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LessonRequest {
    text: String,
    model: Option<String>,
    #[serde(default)]
    head: usize,
}

pub async fn lesson(State(explorer): State<Arc<Explorer>>, Payload(request): Payload<LessonRequest>) -> Answer {
    let model = Arc::clone(explorer.models.get(request.model.as_deref())?);
    let ModelConfig::Transformer(config) = model.config.model.clone() else {
        return Err(Refusal::bad(format!("the model `{}` has no self-attention; choose a Transformer", model.id)));
    };
    explorer.check_text(&request.text)?;
    let (head, heads, dim) = (request.head, config.heads, config.dim);
    if head >= heads {
        return Err(Refusal::bad(format!("there is no head {head}; the model has {heads}, from 0")));
    }
    let work = move |_: &_| {
        let tokenizer = model.translator.tokenizer();
        let encoding = tokenizer.encode(&request.text);
        let tokens = encoding.ids.len();
        if tokens == 0 || tokens > MOST_TOKENS {
            return Err(Refusal::bad(format!("the text has {tokens} tokens; it must have 1 to {MOST_TOKENS}")));
        }
        let unusable = || Refusal::bad(format!("the model `{}` cannot be looked into", model.id));
        let first = FirstAttention::new(model.translator.model(), &config, &encoding.ids).ok_or_else(unusable)?;
        let width = dim / heads;
        let projection = |projection: &Projection| {
            let weight: Vec<&[f32]> = projection.weight().chunks_exact(dim).collect();
            json!({ "weight": weight, "bias": projection.bias() })
        };
        let [query, key, value] = first.head_projections(head)?;
        let shown: Vec<Value> =
            encoding.ids.iter().zip(&encoding.word_of).map(|(&id, &word)| answer::token(tokenizer, id, Some(word))).collect();
        Ok(json!({
            "model": model.id,
            "tokens": shown,
            "words": encoding.words.iter().map(|word| &word.text).collect::<Vec<_>>(),
            "dim": dim,
            "width": width,
            "heads": heads,
            "head": head,
            "x": first.x.chunks_exact(dim).collect::<Vec<_>>(),
            "query": projection(&query),
            "key": projection(&key),
            "value": projection(&value),
        }))
    };
    explorer.work.run(explorer.limits.time, work).await.map(Json)
}
