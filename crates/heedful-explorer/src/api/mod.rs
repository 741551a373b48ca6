//! The calls of the API: what each takes, and where its answer comes from. `openapi.json` describes them.

mod attention;
mod lesson;
mod libre;
pub mod limits;
mod maps;
mod translate;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::answer::Json;
use crate::refusal::Refusal;
use crate::{Explorer, OPENAPI, access, page};

type Answer = Result<Json, Refusal>;

pub fn router(explorer: Arc<Explorer>) -> Router {
    Router::new()
        .route("/api/info", get(info))
        .route("/api/models", get(models))
        .route("/api/openapi.json", get(openapi))
        .route("/api/report", get(report))
        .route("/api/translate", post(translate::translate))
        .route("/api/force", post(translate::force))
        .route("/api/attention", post(attention::attention))
        .route("/api/lesson", post(lesson::lesson))
        .route("/api/maps", get(maps::list).post(maps::create))
        .route("/api/maps/{id}", get(maps::show).delete(maps::delete))
        .route("/api/maps/{id}/tiles/{layer}/{head}/{level}/{row}/{column}", get(maps::tile))
        .route("/api/maps/{id}/tokens", get(maps::tokens))
        .route("/api/maps/{id}/search", get(maps::search))
        .route("/api/maps/{id}/rows/{layer}/{head}/{query}", get(maps::row))
        .route("/api/maps/{id}/columns/{layer}/{head}/{key}", get(maps::column))
        .route("/translate", post(libre::translate))
        .route("/detect", post(libre::detect))
        .route("/languages", get(libre::languages))
        .route("/health", get(libre::health))
        .fallback(file)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&explorer), access::guard))
        .with_state(explorer)
}

async fn info(State(explorer): State<Arc<Explorer>>) -> Json {
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "text": explorer.text,
        "report": explorer.report.is_some(),
        "limits": explorer.limits.description(),
    }))
}

async fn models(State(explorer): State<Arc<Explorer>>) -> Json {
    let models: Vec<Value> = explorer.models.iter().map(|model| model.description()).collect();
    Json(json!({ "default": explorer.models.default().id, "models": models }))
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

async fn report(State(explorer): State<Arc<Explorer>>) -> Answer {
    let none = || Refusal::missing("there is no report; make one with `heedful compare` and start `heedful explore --report DIR`");
    explorer.report.clone().map(Json).ok_or_else(none)
}

async fn file(request: Request) -> Response {
    if request.method() == axum::http::Method::GET || request.method() == axum::http::Method::HEAD {
        return page::answer(request.uri().path(), request.headers());
    }
    Refusal::missing(format!("there is nothing at {}; the API is described at /api/openapi.json", request.uri().path())).into_response()
}

async fn wrong_method(request: Request) -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} is not for {}; see Allow", request.method(), request.uri().path()))
}

/// A number of a request, not more than allowed.
fn within(name: &str, value: Option<usize>, most: usize) -> Result<Option<usize>, Refusal> {
    match value {
        Some(value) if value == 0 || value > most => Err(Refusal::bad(format!("{name} is {value}; it must be 1 to {most}"))),
        value => Ok(value),
    }
}
