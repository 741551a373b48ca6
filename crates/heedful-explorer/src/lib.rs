//! The explorer: a page that shows attention, and the HTTP API behind it.
//!
//! [`Explorer`] holds what is shown: models, a text, a report. [`Explorer::router`] is the API as a service, which tests can call without a
//! network; [`serve()`] listens. What the API takes and gives is described by `openapi.json`, which a test checks against the running server.
//!
//! Handlers do no work themselves: [`work`] runs it on threads of its own, a few at a time, for as long as somebody waits for the answer.

mod access;
mod answer;
mod api;
mod body;
mod language;
mod map;
mod models;
mod page;
pub mod picture;
mod refusal;
pub mod report;
mod serve;
mod stalling;
pub mod work;

use std::sync::Arc;

use axum::Router;
use heedful_translate::bundle::Bundle;

pub use access::Access;
pub use api::limits::Limits;
pub use models::ModelError;
pub use serve::{Patience, serve};

use map::Maps;
use models::Models;
use work::Work;

/// The API's description, OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// What the explorer shows, and within which limits.
pub struct Explorer {
    models: Models,
    text: String,
    report: Option<serde_json::Value>,
    access: Access,
    limits: Limits,
    work: Work,
    maps: Maps,
}

impl Explorer {
    /// With these models, of which the first is the default.
    ///
    /// # Errors
    /// If there are no models, or one whose tokenizer is another model's.
    pub fn new(bundles: Vec<Bundle>) -> Result<Self, ModelError> {
        let limits = Limits::default();
        Ok(Self {
            models: Models::new(bundles)?,
            text: String::new(),
            report: None,
            access: Access::default(),
            limits,
            work: Work::new(limits.at_once, limits.waiting),
            maps: Maps::new(limits.map_memory),
        })
    }

    /// The text that the page shows at first.
    #[must_use]
    pub fn with_text(self, text: String) -> Self {
        Self { text, ..self }
    }

    /// What `heedful compare` found.
    #[must_use]
    pub fn with_report(self, report: serde_json::Value) -> Self {
        Self { report: Some(report), ..self }
    }

    /// Who may ask.
    #[must_use]
    pub fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// How much may be asked for.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, work: Work::new(limits.at_once, limits.waiting), maps: Maps::new(limits.map_memory), ..self }
    }

    /// The page and the API.
    pub fn router(self) -> Router {
        api::router(Arc::new(self))
    }
}
