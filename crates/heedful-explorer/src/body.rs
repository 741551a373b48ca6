//! Bodies of requests: read whole, within a limit of bytes and of time, and then understood.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::Explorer;
use crate::refusal::Refusal;

/// A body of JSON.
pub struct Payload<T>(pub T);

/// A body of JSON, or of a form, as LibreTranslate takes.
pub struct PayloadOrForm<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<Explorer>> for Payload<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, explorer: &Arc<Explorer>) -> Result<Self, Refusal> {
        match content_type(&request).as_str() {
            "application/json" => Ok(Self(json(&read(request, explorer).await?)?)),
            other => Err(unsupported(other, "application/json")),
        }
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<Explorer>> for PayloadOrForm<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, explorer: &Arc<Explorer>) -> Result<Self, Refusal> {
        match content_type(&request).as_str() {
            "application/json" => Ok(Self(json(&read(request, explorer).await?)?)),
            "application/x-www-form-urlencoded" => {
                let bytes = read(request, explorer).await?;
                let fields = form(&bytes)?;
                serde_json::from_value(fields).map(Self).map_err(|error| Refusal::bad(format!("the form cannot be used: {error}")))
            }
            other => Err(unsupported(other, "application/json or application/x-www-form-urlencoded")),
        }
    }
}

fn content_type(request: &Request) -> String {
    let value = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn unsupported(found: &str, wanted: &str) -> Refusal {
    let found = if found.is_empty() { "has no Content-Type".to_owned() } else { format!("is `{found}`") };
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("the body {found}; send {wanted}"))
}

async fn read(request: Request, explorer: &Explorer) -> Result<Vec<u8>, Refusal> {
    let limit = if request.uri().path() == "/api/maps" { explorer.limits.map_bytes } else { explorer.limits.text_bytes };
    // Escapes and what stands around the text.
    let limit = 2 * limit + 65_536;
    let too_large = || Refusal::too_large(format!("the body has more than {limit} bytes; send less text"));
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), limit).collect();
    match timeout(explorer.limits.body_time, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes().into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Refusal::bad(format!("the body cannot be read: {error}"))),
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly; send it at once")),
    }
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Refusal::bad(format!("the body is not UTF-8 after byte {}; send JSON as UTF-8", error.valid_up_to())))?;
    serde_json::from_str(text).map_err(|error| Refusal::bad(format!("the body is not what is asked for: {error}")))
}

/// The fields of a form as a JSON object: one that comes several times is a list, and `alternatives` is a number.
fn form(bytes: &[u8]) -> Result<serde_json::Value, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::bad("the form is not UTF-8"))?;
    let mut fields = serde_json::Map::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (percent_decoded(name)?, percent_decoded(value)?);
        let value = match (name.as_str(), value.parse::<u64>()) {
            ("alternatives", Ok(number)) => number.into(),
            _ => value.into(),
        };
        match fields.entry(name) {
            serde_json::map::Entry::Vacant(entry) => {
                entry.insert(value);
            }
            serde_json::map::Entry::Occupied(mut entry) => match entry.get_mut() {
                serde_json::Value::Array(values) => values.push(value),
                first => *first = serde_json::Value::Array(vec![first.take(), value]),
            },
        }
    }
    Ok(fields.into())
}

fn percent_decoded(text: &str) -> Result<String, Refusal> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                match (digit(), digit()) {
                    (Some(high), Some(low)) => (16 * high + low) as u8,
                    _ => return Err(Refusal::bad("the form has a `%` that is no escape")),
                }
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| Refusal::bad("the form is not UTF-8"))
}

/// What an address asks for after its `?`.
pub struct Asked<T>(pub T);

/// What an address names on its path.
pub struct Named<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(error) => Err(Refusal::bad(error.body_text())),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(named)) => Ok(Self(named)),
            Err(error) => Err(Refusal::bad(error.body_text())),
        }
    }
}
