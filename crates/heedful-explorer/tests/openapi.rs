//! The description against the server: every call, every status, and every answer as it is described.

mod common;
mod schema;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use common::{Reply, SENTENCE, get, post, ready_map, request, send, with_key, with_limits};
use heedful_explorer::{Limits, OPENAPI};
use hyper::body::{Bytes, Frame};
use schema::Schema;
use serde_json::{Value, json};

struct Check {
    document: Value,
    seen: BTreeSet<(String, String, String)>,
}

/// `(path, method, body)` of every call, with a body that is answered.
fn calls(map: &str) -> Vec<(&'static str, &'static str, String, Option<Value>)> {
    let map = |rest: &str| format!("/api/maps/{map}{rest}");
    let same = |path: &'static str| (path, path.to_owned());
    let mut calls = Vec::new();
    for (path, _) in ["/api/info", "/api/models", "/api/openapi.json", "/api/maps", "/languages", "/health", "/api/report"].map(same) {
        calls.push((path, "get", path.to_owned(), None));
    }
    for (path, body) in [
        ("/api/translate", json!({ "text": SENTENCE })),
        ("/api/force", json!({ "sentence": SENTENCE })),
        ("/api/attention", json!({ "source": SENTENCE })),
        ("/api/lesson", json!({ "text": SENTENCE })),
        ("/api/maps", json!({ "text": SENTENCE })),
        ("/translate", json!({ "q": SENTENCE, "source": "de", "target": "en" })),
        ("/detect", json!({ "q": SENTENCE })),
    ] {
        calls.push((path, "post", path.to_owned(), Some(body)));
    }
    calls.extend([
        ("/api/maps/{id}", "get", map(""), None),
        ("/api/maps/{id}/tiles/{layer}/{head}/{level}/{row}/{column}", "get", map("/tiles/0/1/0/0/0"), None),
        ("/api/maps/{id}/tokens", "get", map("/tokens?start=1&count=4"), None),
        ("/api/maps/{id}/search", "get", map("/search?q=hund"), None),
        ("/api/maps/{id}/rows/{layer}/{head}/{query}", "get", map("/rows/1/0/2?top=3&strip=5"), None),
        ("/api/maps/{id}/columns/{layer}/{head}/{key}", "get", map("/columns/1/0/2"), None),
        // Last: the others need it.
        ("/api/maps/{id}", "delete", map(""), None),
    ]);
    calls
}

async fn call(router: &Router, method: &str, path: &str, body: Option<&Value>) -> Reply {
    let kind = if body.is_some() { "application/json" } else { "" };
    send(router, request(&method.to_uppercase(), path, kind, body.map(Value::to_string).unwrap_or_default())).await
}

impl Check {
    /// That an answer is one of those that are described.
    fn check(&mut self, path: &str, method: &str, reply: &Reply) {
        let status = reply.status.as_u16().to_string();
        let described = &self.document["paths"][path][method]["responses"][&status];
        assert!(described.is_object(), "{method} {path} answered {status}, which is not described: {reply:?}");
        self.seen.insert((path.to_owned(), method.to_owned(), status.clone()));
        let Some(content) = described["content"].as_object() else {
            assert!(reply.body.is_empty(), "{method} {path} {status}");
            return;
        };
        let (kind, media) = content.iter().next().expect("one kind");
        assert_eq!(reply.headers["content-type"], kind.as_str(), "{method} {path} {status}");
        if kind == "application/json" {
            let answer = reply.json();
            let mut errors = Vec::new();
            Schema { components: &self.document["components"] }.check(&media["schema"], &answer, "$", &mut errors);
            assert!(errors.is_empty(), "{method} {path} {status}: {errors:?}\n{answer:#}");
        }
    }

    async fn all(&mut self, router: &Router, map: &str, only: impl Fn(&str, &str) -> bool) {
        for (path, method, at, body) in calls(map) {
            if only(path, method) {
                self.check(path, method, &call(router, method, &at, body.as_ref()).await);
            }
        }
    }

    fn describes(&self, path: &str, method: &str, status: &str) -> bool {
        self.document["paths"][path][method]["responses"][status].is_object()
    }
}

#[tokio::test]
async fn every_answer_is_described_and_every_description_is_answered() {
    let document: Value = serde_json::from_str(OPENAPI).expect("JSON");
    let mut check = Check { document, seen: BTreeSet::new() };
    let limits = Limits { body_time: Duration::from_millis(100), text_bytes: 3000, map_bytes: 400_000, ..Limits::default() };
    let report = json!({ "models": [] });
    let router = common::explorer().with_limits(limits).with_report(report).router();
    let without_report = with_limits(limits);

    // All models, and all that can be asked of them.
    for model in ["transformer", "rnn-with-attention", "rnn"] {
        let translated =
            post(&router, "/api/translate", &json!({ "text": "Der Hund. Die Katze?\n\nJa", "model": model, "n_best": 3, "beam": 4 })).await;
        check.check("/api/translate", "post", &translated);
        assert_eq!(translated.json()["sentences"].as_array().map(Vec::len), Some(3), "{translated:?}");
        let attention = post(&router, "/api/attention", &json!({ "source": SENTENCE, "target": "The dog sleeps.", "model": model })).await;
        check.check("/api/attention", "post", &attention);
        let forced = post(&router, "/api/force", &json!({ "sentence": SENTENCE, "model": model, "prefix": "The dog" })).await;
        check.check("/api/force", "post", &forced);
    }
    let looks = json!([{ "step": 0, "source_word": 1 }, { "step": 400, "source_word": 1 }]);
    check.check("/api/force", "post", &post(&router, "/api/force", &json!({ "sentence": SENTENCE, "imposed": looks })).await);
    let matrices = json!([{ "kind": "encoder", "layer": 0, "head": 1 }, { "kind": "decoder", "layer": 1, "head": 0 }, { "kind": "cross", "layer": 1, "head": 1 }]);
    check.check("/api/attention", "post", &post(&router, "/api/attention", &json!({ "source": SENTENCE, "matrices": matrices })).await);
    for body in [
        json!({ "q": [SENTENCE, "Die Katze."], "source": "auto", "target": "en", "alternatives": 2, "format": "text" }),
        json!({ "q": SENTENCE, "source": "auto", "target": "en", "alternatives": 1 }),
    ] {
        check.check("/translate", "post", &post(&router, "/translate", &body).await);
    }
    let form = "q=Der+Hund+schl%C3%A4ft.&source=de&target=en&alternatives=2&api_key=";
    check.check("/translate", "post", &send(&router, request("POST", "/translate", "application/x-www-form-urlencoded", form)).await);

    // Whatever is asked as it should be.
    let map = ready_map(&router, &"Der Hund schl\u{e4}ft. Die Katze nicht! ".repeat(60)).await["id"].as_str().expect("an id").to_owned();
    check.all(&router, &map, |_, _| true).await;
    check.all(&router, &map, |path, method| path.contains("{id}") && (path.len() > 14 || method == "delete")).await;
    check.all(&without_report, "none", |_, _| true).await;

    // What is wrong with a body, and who asks.
    for (path, method, at, body) in calls(&map) {
        if check.describes(path, method, "400") {
            let wrong = match &body {
                Some(_) => send(&router, request("POST", &at, "application/json", "{\"q\": 1, \"text\": [], \"nothing\": 2}")).await,
                None => {
                    get(
                        &router,
                        &format!(
                            "{}?q=a&start=-1&count=x&limit=x&top=x&strip=x",
                            at.split('?').next().unwrap_or_default().replace("/tiles/0/", "/tiles/x/")
                        ),
                    )
                    .await
                }
            };
            assert_eq!(wrong.status, 400, "{at}");
            check.check(path, method, &wrong);
        }
        if let Some(mut body) = body.clone() {
            check.check(path, method, &send(&router, request("POST", &at, "text/plain", body.to_string())).await);
            let huge = vec![b' '; 2_000_000];
            check.check(path, method, &send(&router, request("POST", &at, "application/json", huge)).await);
            let endless = Body::new(Endless);
            check.check(path, method, &send(&router, request("POST", &at, "application/json", endless)).await);
            if check.describes(path, method, "404") {
                body["model"] = json!("nobody");
                check.check(path, method, &post(&router, &at, &body).await);
            }
        }
        let mut foreign = request(&method.to_uppercase(), &at, "", Body::empty());
        foreign.headers_mut().insert("host", "evil.example".parse().expect("a header"));
        check.check(path, method, &send(&router, foreign).await);
    }
    check.all(&with_key("secret"), "none", |path, _| path != "/health").await;

    // Not yet.
    let text = "Der Hund schl\u{e4}ft. Die Katze nicht! ".repeat(5000);
    let made = post(&router, "/api/maps", &json!({ "text": text })).await;
    assert_eq!(made.status, 202, "{made:?}");
    let growing = made.json()["id"].as_str().expect("an id").to_owned();
    check.all(&router, &growing, |path, _| check_is_part(path)).await;
    assert_eq!(common::send(&router, request("DELETE", &format!("/api/maps/{growing}"), "", Body::empty())).await.status, 204);

    // Too much at once, or for too long.
    let hurried = with_limits(Limits { time: Duration::ZERO, ..limits });
    let works = |document: &Value, path: &str, method: &str| document["paths"][path][method]["responses"]["504"].is_object();
    let document = check.document.clone();
    check.check("/api/maps", "post", &post(&hurried, "/api/maps", &json!({ "text": text })).await);
    // The clock ticks in milliseconds: a short answer can be there before it.
    for _ in 0..50 {
        check.all(&hurried, "none", |path, method| works(&document, path, method) && !takes_no_time(path)).await;
    }
    let narrow = with_limits(Limits { at_once: 1, waiting: 0, text_bytes: 100_000, ..Limits::default() });
    let map = ready_map(&narrow, SENTENCE).await["id"].as_str().expect("an id").to_owned();
    let occupied = {
        let (narrow, text) = (narrow.clone(), "Der Hund schl\u{e4}ft nicht und die Katze auch nicht. ".repeat(1500));
        tokio::spawn(async move { post(&narrow, "/api/translate", &json!({ "text": text, "beam": 32, "n_best": 20 })).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    check.all(&narrow, &map, |path, method| works(&document, path, method) || path == "/api/maps" && method == "post").await;
    occupied.abort();

    let mut missing = Vec::new();
    for (path, methods) in check.document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            for status in operation["responses"].as_object().expect("responses").keys() {
                let exempt = status == "504" && takes_no_time(path);
                if !exempt && !check.seen.contains(&(path.clone(), method.clone(), status.clone())) {
                    missing.push(format!("{method} {path} {status}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "described, but never answered: {missing:?}");
}

/// Whether an answer is there before a clock could run out: a part of a map, a lesson of a few words.
fn takes_no_time(path: &str) -> bool {
    path.contains("{id}") || path == "/api/lesson"
}

fn check_is_part(path: &str) -> bool {
    path.contains("/tiles/") || path.contains("/rows/") || path.contains("/columns/")
}

/// A body of which nothing ever comes.
struct Endless;

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Pending
    }
}
