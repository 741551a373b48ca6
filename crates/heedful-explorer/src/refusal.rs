//! Why a request is not answered, as JSON.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use heedful_translate::decode::DecodeError;
use heedful_translate::translator::TranslateError;
use serde_json::json;

/// `{"error": message}` with a status.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub message: String,
    /// Seconds after which it may work.
    pub retry_after: Option<u32>,
}

impl Refusal {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None }
    }

    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn missing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    pub fn busy(message: impl Into<String>) -> Self {
        Self { retry_after: Some(2), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message) }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({ "error": self.message }))).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<TranslateError> for Refusal {
    fn from(error: TranslateError) -> Self {
        let status = match &error {
            TranslateError::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            TranslateError::Decode(DecodeError::Stopped) => return Self::busy("the request was stopped before it was done"),
            TranslateError::Decode(DecodeError::Scores { .. }) | TranslateError::Vocabulary { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

impl From<heedful::Error> for Refusal {
    fn from(error: heedful::Error) -> Self {
        Self::bad(error.to_string())
    }
}
