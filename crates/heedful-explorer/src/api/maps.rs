//! Maps of long texts: made in the background, looked into tile by tile, row by row.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Answer;
use crate::Explorer;
use crate::answer::Json;
use crate::body::{Asked, Named, Payload};
use crate::map::{Map, Text, pyramid};
use crate::refusal::Refusal;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapRequest {
    text: String,
    model: Option<String>,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
pub struct Stretch {
    #[serde(default)]
    start: usize,
    count: Option<usize>,
}

#[derive(Deserialize)]
pub struct Search {
    q: String,
    limit: Option<usize>,
}

#[derive(Deserialize)]
pub struct Detail {
    top: Option<usize>,
    strip: Option<usize>,
}

/// How much an answer about a map holds at most, and by default.
const TOKENS: [usize; 2] = [4096, 512];
const FOUND: [usize; 2] = [1000, 100];
const TOP: [usize; 2] = [256, 16];
const STRIP: [usize; 2] = [4096, 512];

pub async fn list(State(explorer): State<Arc<Explorer>>) -> Json {
    Json(explorer.maps.all().iter().map(|map| map.description()).collect())
}

pub async fn create(State(explorer): State<Arc<Explorer>>, Payload(request): Payload<MapRequest>) -> Result<(StatusCode, Json), Refusal> {
    let model = Arc::clone(explorer.models.get(request.model.as_deref())?);
    let limits = explorer.limits;
    if request.text.len() > limits.map_bytes {
        let (bytes, most) = (request.text.len(), limits.map_bytes);
        return Err(Refusal::too_large(format!("the text has {bytes} bytes, and {most} can be mapped; send a part of it")));
    }
    if request.name.chars().count() > 200 {
        return Err(Refusal::bad("the name has more than 200 characters"));
    }
    let text = request.text;
    let tokenizer = Arc::clone(&model);
    let text = explorer.work.run(limits.time, move |_| Ok(Text::new(tokenizer.translator.tokenizer(), &text))).await?;
    match text.tokens.len() {
        0 | 1 => return Err(Refusal::bad("there are no words in the text")),
        tokens if tokens > limits.map_tokens => {
            let most = limits.map_tokens;
            return Err(Refusal::too_large(format!("the text has {tokens} tokens, and {most} can be mapped; send a part of it")));
        }
        _ => {}
    }
    let map = explorer.maps.start(request.name, model, text, explorer.work.running())?;
    Ok((StatusCode::ACCEPTED, Json(map.description())))
}

pub async fn show(State(explorer): State<Arc<Explorer>>, Named(id): Named<String>) -> Answer {
    Ok(Json(explorer.maps.get(&id)?.description()))
}

pub async fn delete(State(explorer): State<Arc<Explorer>>, Named(id): Named<String>) -> Result<StatusCode, Refusal> {
    explorer.maps.forget(&id)?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn tile(
    State(explorer): State<Arc<Explorer>>,
    Named((id, layer, head, level, row, column)): Named<(String, usize, usize, usize, usize, usize)>,
) -> Result<Response, Refusal> {
    let map = explorer.maps.get(&id)?;
    map.look(layer, head)?;
    let work = move |_: &_| {
        let tile = pyramid::tile(map.look(layer, head)?, head, map.base(layer, head), level, row, column)?;
        tile.ok_or_else(|| Refusal::missing(format!("there is no tile {row}, {column} at level {level}")))
    };
    let tile = explorer.work.run(explorer.limits.time, work).await?;
    let bytes: Vec<u8> = tile.pixels.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
    let queries = if tile.one_in == 1 { "all".to_owned() } else { format!("1/{}", tile.one_in) };
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Ok(queries) = HeaderValue::from_str(&queries) {
        response.headers_mut().insert(HeaderName::from_static("heedful-queries"), queries);
    }
    Ok(response)
}

pub async fn tokens(State(explorer): State<Arc<Explorer>>, Named(id): Named<String>, Asked(asked): Asked<Stretch>) -> Answer {
    let map = explorer.maps.get(&id)?;
    let count = at_most("count", asked.count, TOKENS)?;
    Ok(Json(json!({ "start": asked.start, "tokens": map.text.stretch(map.model.translator.tokenizer(), asked.start, count) })))
}

pub async fn search(State(explorer): State<Arc<Explorer>>, Named(id): Named<String>, Asked(asked): Asked<Search>) -> Answer {
    let map = explorer.maps.get(&id)?;
    if asked.q.len() > 1000 {
        return Err(Refusal::bad("what is searched for has more than 1000 bytes"));
    }
    Ok(Json(map.text.search(&asked.q, at_most("limit", asked.limit, FOUND)?)))
}

pub async fn row(
    State(explorer): State<Arc<Explorer>>,
    Named((id, layer, head, query)): Named<(String, usize, usize, usize)>,
    Asked(asked): Asked<Detail>,
) -> Answer {
    let map = explorer.maps.get(&id)?;
    check_place(&map, layer, head, query)?;
    let (top, strip) = (at_most("top", asked.top, TOP)?, at_most("strip", asked.strip, STRIP)?);
    let work = move |_: &_| {
        let lens = map.look(layer, head)?.lens()?;
        let row = lens.row(0, head, query)?;
        let (heaviest, shown) = heaviest(&map, &row, top);
        Ok(json!({
            "layer": layer,
            "head": head,
            "query": query,
            "text": map.text.shown(map.model.translator.tokenizer(), query),
            "top": shown,
            "rest": (row.iter().map(|&p| f64::from(p)).sum::<f64>() - heaviest).max(0.0),
            "entropy": lens.entropy(0, head, query)?,
            "strip": summed(&row, strip),
        }))
    };
    explorer.work.run(explorer.limits.time, work).await.map(Json)
}

pub async fn column(
    State(explorer): State<Arc<Explorer>>,
    Named((id, layer, head, key)): Named<(String, usize, usize, usize)>,
    Asked(asked): Asked<Detail>,
) -> Answer {
    let map = explorer.maps.get(&id)?;
    check_place(&map, layer, head, key)?;
    let (top, strip) = (at_most("top", asked.top, TOP)?, at_most("strip", asked.strip, STRIP)?);
    let work = move |_: &_| {
        let column = map.look(layer, head)?.lens()?.column(0, head, key)?;
        Ok(json!({
            "layer": layer,
            "head": head,
            "key": key,
            "text": map.text.shown(map.model.translator.tokenizer(), key),
            "top": heaviest(&map, &column, top).1,
            "sum": column.iter().map(|&p| f64::from(p)).sum::<f64>(),
            "strip": summed(&column, strip),
        }))
    };
    explorer.work.run(explorer.limits.time, work).await.map(Json)
}

fn check_place(map: &Map, layer: usize, head: usize, place: usize) -> Result<(), Refusal> {
    map.look(layer, head)?;
    let tokens = map.text.tokens.len();
    if place < tokens { Ok(()) } else { Err(Refusal::missing(format!("there is no token {place}; the text has {tokens}, from 0"))) }
}

fn at_most(name: &str, value: Option<usize>, [most, usual]: [usize; 2]) -> Result<usize, Refusal> {
    Ok(super::within(name, value, most)?.unwrap_or(usual))
}

/// The largest weights with their tokens, largest first, and their sum.
fn heaviest(map: &Map, weights: &[f32], top: usize) -> (f64, Vec<Value>) {
    let mut places: Vec<usize> = (0..weights.len()).filter(|&place| weights[place] > 0.0).collect();
    let order = |&a: &usize, &b: &usize| weights[b].total_cmp(&weights[a]).then(a.cmp(&b));
    if places.len() > top {
        places.select_nth_unstable_by(top, order);
        places.truncate(top);
    }
    places.sort_unstable_by(order);
    let tokenizer = map.model.translator.tokenizer();
    let sum = places.iter().map(|&place| f64::from(weights[place])).sum();
    let shown = |&place: &usize| json!({ "token": place, "text": map.text.shown(tokenizer, place), "weight": weights[place] });
    (sum, places.iter().map(shown).collect())
}

/// Sums over `parts` stretches that are as equal as can be; not more stretches than weights.
fn summed(weights: &[f32], parts: usize) -> Vec<f32> {
    let parts = parts.min(weights.len());
    (0..parts).map(|part| weights[part * weights.len() / parts..(part + 1) * weights.len() / parts].iter().sum()).collect()
}
