//! The page: files that were built into the program.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::OnceLock;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use rust_embed::RustEmbed;

use crate::access::hex;
use crate::refusal::Refusal;

#[derive(RustEmbed)]
#[folder = "dist/"]
struct Files;

struct File {
    bytes: Vec<u8>,
    zipped: OnceLock<Vec<u8>>,
    tag: HeaderValue,
    kind: &'static str,
}

fn files() -> &'static HashMap<String, File> {
    static FILES: OnceLock<HashMap<String, File>> = OnceLock::new();
    let file = |name: &str| {
        let file = Files::get(name)?;
        let hash = hex(&file.metadata.sha256_hash()[..16]);
        let tag = HeaderValue::from_str(&format!("\"{hash}\"")).ok()?;
        Some(File { bytes: file.data.into_owned(), zipped: OnceLock::new(), tag, kind: kind(name) })
    };
    FILES.get_or_init(|| Files::iter().filter_map(|name| Some((name.to_string(), file(&name)?))).collect())
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "webmanifest") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// The file at a path; names of `assets/` tell their content apart, so they may be kept.
pub fn answer(path: &str, headers: &HeaderMap) -> Response {
    let name = path.trim_start_matches('/');
    let name = if name.is_empty() { "index.html" } else { name };
    let Some(file) = files().get(name) else {
        return Refusal::missing(format!("there is nothing at /{name}; the API is described at /api/openapi.json")).into_response();
    };
    let keep = if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let has = |name, wanted: &str| {
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|value| {
            let value = value.split(';').next().unwrap_or_default().trim();
            value.trim_start_matches("W/") == wanted
        })
    };
    let mut response = if has(header::IF_NONE_MATCH, file.tag.to_str().unwrap_or_default()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else if has(header::ACCEPT_ENCODING, "gzip") && file.bytes.len() > 1024 {
        let mut response = Response::new(Body::from(file.zipped().to_vec()));
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    } else {
        Response::new(Body::from(file.bytes.clone()))
    };
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    out.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    out.insert(header::ETAG, file.tag.clone());
    response
}

impl File {
    fn zipped(&self) -> &[u8] {
        self.zipped.get_or_init(|| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            // Writing into memory does not fail.
            encoder.write_all(&self.bytes).and_then(|()| encoder.finish()).unwrap_or_default()
        })
    }
}
