//! Who may ask: which names the server goes by, where a page that asks may come from, and the key.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::Explorer;
use crate::refusal::Refusal;

/// Who may ask.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Names that the server goes by, besides `localhost` and addresses.
    pub names: Vec<String>,
    /// The key that every request needs, if any.
    pub key: Option<String>,
}

/// Two lower-case digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Access {
    /// A key that nobody guesses: 256 random bits.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn random_key() -> std::io::Result<String> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(std::io::Error::from)?;
        Ok(hex(&bytes))
    }

    /// Whether the server goes by this name. A page elsewhere can make its own name point here, but not an address or `localhost`.
    fn is_called(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        name.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// # Errors
    /// If a key is needed, and neither the headers nor `given` have it.
    pub(crate) fn check_key(&self, headers: &HeaderMap, given: Option<&str>) -> Result<(), Refusal> {
        let Some(key) = &self.key else { return Ok(()) };
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        if [bearer, given].into_iter().flatten().any(|given| same(given.trim().as_bytes(), key.as_bytes())) {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::UNAUTHORIZED, "this server wants its API key; send it as `Authorization: Bearer KEY`"))
    }

    fn check_sender(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let refuse = |message: String| Err(Refusal::new(StatusCode::FORBIDDEN, message));
        let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !self.is_called(host) {
            let shown: String = host.chars().take(80).collect();
            return refuse(format!("this server is not called `{shown}`; use localhost or its address, or start it with --name {shown}"));
        }
        let origin = headers.get(header::ORIGIN).map(|value| value.to_str().unwrap_or_default());
        let own = |origin: &str| {
            ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme).is_some_and(|rest| rest.eq_ignore_ascii_case(host)))
        };
        if origin.is_some_and(|origin| !own(origin)) {
            return refuse("pages of other servers may not ask this one".to_owned());
        }
        Ok(())
    }
}

/// Whether two byte strings are equal, in a time that does not tell where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// What every answer tells the browser: run nothing that is not from here, show it in no frame, guess no types.
const HEADERS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; \
         worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// Lets through who may ask, and puts the headers on every answer.
pub(crate) async fn guard(State(explorer): State<Arc<Explorer>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let path = request.uri().path();
    let is_foreign = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    // A link to the page may come from anywhere; requests for data may not.
    let is_data = path != "/" && !path.starts_with("/assets/");
    let allowed = explorer.access.check_sender(headers).and_then(|()| match is_data {
        true if is_foreign => Err(Refusal::new(StatusCode::FORBIDDEN, "pages of other servers may not ask this one")),
        // The other calls find the key in their bodies too.
        true if path.starts_with("/api/") => explorer.access.check_key(headers, None),
        _ => Ok(()),
    });
    let mut response = match allowed {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_name_is_refused_whatever_its_port() {
        let access = Access { names: vec!["gpu.example".to_owned()], key: None };
        for host in ["localhost", "LOCALHOST:7878", "127.0.0.1:1", "[::1]:7878", "192.168.1.2", "gpu.example:80", "Gpu.Example"] {
            assert!(access.is_called(host), "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:7878", "evil.example:80", "[evil]"] {
            assert!(!access.is_called(host), "{host}");
        }
    }

    #[test]
    fn keys_are_compared_whole() {
        assert!(same(b"abc", b"abc") && !same(b"abc", b"abd") && !same(b"abc", b"ab") && !same(b"", b"a"));
        let (a, b) = (Access::random_key().unwrap(), Access::random_key().unwrap());
        assert!(a.len() == 64 && a != b);
    }
}
