//! All heads of a model for a sentence and its translation.

use std::sync::Arc;

use axum::extract::State;
use heedful_translate::decode::{Request, SearchOptions, force};
use heedful_translate::model::looks::Look;
use heedful_translate::text::{BOS, EOS};
use heedful_translate::translator::{Sentence, Translator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Answer;
use crate::Explorer;
use crate::answer::{self, Json};
use crate::body::Payload;
use crate::models::{Loaded, Wishes};
use crate::refusal::Refusal;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionRequest {
    source: String,
    model: Option<String>,
    target: Option<String>,
    #[serde(default)]
    matrices: Vec<HeadId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct HeadId {
    kind: Kind,
    layer: usize,
    head: usize,
}

/// Who looks at whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Encoder,
    Decoder,
    Cross,
}

/// What one head does, in numbers: means over its queries.
#[derive(Debug, Default, Serialize)]
struct HeadNumbers {
    entropy: f64,
    largest: f64,
    distance: Option<f64>,
    first: f64,
    last: f64,
    columns: Vec<f32>,
}

/// One head's weights, `[queries, keys]`.
struct Head {
    id: HeadId,
    weights: Vec<f32>,
    keys: usize,
}

/// The heads of a sentence pair, one after the other, layer by layer.
type Heads<'a> = Box<dyn Iterator<Item = Result<Head, Refusal>> + 'a>;

impl Head {
    fn numbers(&self) -> HeadNumbers {
        let queries = self.weights.len() / self.keys;
        let mut numbers = HeadNumbers { columns: vec![0.0; self.keys], ..HeadNumbers::default() };
        let mut distance = 0.0;
        for (query, row) in self.weights.chunks_exact(self.keys).enumerate() {
            let mut largest = 0f32;
            for (key, (&p, column)) in row.iter().zip(&mut numbers.columns).enumerate() {
                *column += p;
                largest = largest.max(p);
                if p > 0.0 {
                    numbers.entropy -= f64::from(p) * f64::from(p.ln());
                }
                distance += f64::from(p) * query.abs_diff(key) as f64;
            }
            numbers.largest += f64::from(largest);
            numbers.first += f64::from(row[0]);
            numbers.last += f64::from(row[self.keys - 1]);
        }
        for sum in [&mut numbers.entropy, &mut numbers.largest, &mut numbers.first, &mut numbers.last, &mut distance] {
            *sum /= queries.max(1) as f64;
        }
        // Places of source and target cannot be compared.
        numbers.distance = Some(distance).filter(|_| self.id.kind != Kind::Cross);
        numbers
    }
}

/// What is answered, as it grows.
struct Shown {
    encoder: Option<Grid>,
    decoder: Option<Grid>,
    cross: Option<Grid>,
    matrices: Vec<Value>,
}

/// The numbers of all heads of one kind.
#[derive(Serialize)]
struct Grid {
    layers: usize,
    heads: usize,
    queries: usize,
    keys: usize,
    numbers: Vec<Vec<HeadNumbers>>,
}

pub async fn attention(State(explorer): State<Arc<Explorer>>, Payload(request): Payload<AttentionRequest>) -> Answer {
    let model = Arc::clone(explorer.models.get(request.model.as_deref())?);
    explorer.check_text(&request.source)?;
    explorer.check_text(request.target.as_deref().unwrap_or_default())?;
    let limits = explorer.limits;
    let work = move |stop: &_| {
        let translator = model.translator(stop).with_longest(limits.sentence_tokens.min(model.translator.longest()));
        let pair = pair(&translator, &model, &request)?;
        let shown = look(&translator, &pair, &request.matrices, limits.matrix_cells)?;
        for wanted in &request.matrices {
            if !shown.matrices.iter().any(|matrix| matrix["id"] == json!(wanted)) {
                let (kind, layer, head) = (json!(wanted.kind), wanted.layer, wanted.head);
                return Err(Refusal::bad(format!("the model `{}` has no head {head} in layer {layer} of {kind}", model.id)));
            }
        }
        let matrix = |matrix: Value| json!({ "kind": matrix["id"]["kind"], "layer": matrix["id"]["layer"], "head": matrix["id"]["head"], "weights": matrix["weights"] });
        let tokenizer = translator.tokenizer();
        let best = &pair.sentence.best;
        let inputs = std::iter::once(answer::token(tokenizer, BOS, None)).chain(
            answer::target_tokens(tokenizer, best)
                .into_iter()
                .map(|token| json!({ "id": token["id"], "text": token["text"], "word": token["word"] })),
        );
        Ok(json!({
            "model": model.id,
            "source_words": pair.sentence.source_words,
            "source_tokens": answer::source_tokens(tokenizer, &tokenizer.encode(&request.source)),
            "target_words": best.target_words,
            "target_tokens": answer::target_tokens(tokenizer, best),
            "decoder_tokens": inputs.take(pair.target.len()).collect::<Vec<_>>(),
            "encoder": shown.encoder,
            "decoder": shown.decoder,
            "cross": shown.cross,
            "matrices": shown.matrices.into_iter().map(matrix).collect::<Vec<_>>(),
        }))
    };
    explorer.work.run(explorer.limits.time, work).await.map(Json)
}

/// A sentence and its translation as the model reads them.
struct Pair {
    sentence: Sentence,
    source: Vec<u32>,
    target: Vec<u32>,
}

fn pair(translator: &Translator, model: &Loaded, request: &AttentionRequest) -> Result<Pair, Refusal> {
    let options = model.options(&Wishes::default());
    let sentence = match &request.target {
        Some(target) => translator.score(&[(&request.source[..], &target[..])], &options)?.remove(0),
        None => translator.complete(&request.source, "", &options)?,
    };
    let mut source = translator.tokenizer().encode_ids(&request.source);
    source.push(EOS);
    let mut target = sentence.best.tokens.clone();
    if sentence.best.finished {
        target.push(EOS);
    }
    Ok(Pair { sentence, source, target })
}

fn look(translator: &Translator, pair: &Pair, wanted: &[HeadId], most_cells: usize) -> Result<Shown, Refusal> {
    let mut shown = Shown { encoder: None, decoder: None, cross: None, matrices: Vec::new() };
    let model = translator.model();
    if let Some(transformer) = model.as_transformer() {
        let looks = transformer.looks(&pair.source, &pair.target)?;
        for (kind, looks) in [(Kind::Encoder, &looks.encoder), (Kind::Decoder, &looks.decoder), (Kind::Cross, &looks.cross)] {
            shown.add(heads_of(kind, looks), wanted, most_cells)?;
        }
    } else if let Some(shape) = model.cross_attention() {
        let request = Request { source_len: pair.source.len(), prefix: &pair.target, ..Request::default() };
        let found = force(&mut *model.decoder(&[&pair.source]), &[request], &SearchOptions::default())
            .map_err(|error| Refusal::bad(error.to_string()))?;
        let keys = pair.source.len();
        let all = shape.layers * shape.heads;
        let head = |index: usize| {
            let steps = found[0].attention.chunks_exact(all * keys);
            let weights = steps.flat_map(|step| &step[index * keys..(index + 1) * keys]).copied().collect();
            Ok(Head { id: HeadId { kind: Kind::Cross, layer: index / shape.heads, head: index % shape.heads }, weights, keys })
        };
        shown.add(Box::new((0..all).map(head)), wanted, most_cells)?;
    }
    Ok(shown)
}

fn heads_of(kind: Kind, looks: &[Look]) -> Heads<'_> {
    Box::new(looks.iter().enumerate().flat_map(move |(layer, look)| {
        (0..look.heads()).map(move |head| {
            let (queries, keys) = (look.query_count(), look.key_count());
            let weights = look.lens()?.tile(0, head, 0..queries, 0..keys)?;
            Ok(Head { id: HeadId { kind, layer, head }, weights, keys })
        })
    }))
}

impl Shown {
    /// Takes what is shown of heads of one kind, and lets go of the rest, head by head.
    fn add(&mut self, heads: Heads<'_>, wanted: &[HeadId], most_cells: usize) -> Result<(), Refusal> {
        for head in heads {
            let head = head?;
            let (id, keys, queries) = (head.id, head.keys, head.weights.len() / head.keys);
            let grid = match id.kind {
                Kind::Encoder => &mut self.encoder,
                Kind::Decoder => &mut self.decoder,
                Kind::Cross => &mut self.cross,
            };
            let grid = grid.get_or_insert(Grid { layers: 0, heads: 0, queries, keys, numbers: Vec::new() });
            if id.head == 0 {
                grid.layers += 1;
                grid.numbers.push(Vec::new());
            }
            grid.heads = grid.heads.max(id.head + 1);
            if let Some(layer) = grid.numbers.last_mut() {
                layer.push(head.numbers());
            }
            if wanted.contains(&id) {
                if (self.matrices.len() + 1) * queries * keys > most_cells {
                    return Err(Refusal::too_large(format!("the matrices have more than {most_cells} weights; ask for fewer heads")));
                }
                let rows: Vec<&[f32]> = head.weights.chunks_exact(keys).collect();
                self.matrices.push(json!({ "id": id, "weights": rows }));
            }
        }
        Ok(())
    }
}
