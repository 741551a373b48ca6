//! Small models with random weights, and ways to ask an explorer that shows them.

#![allow(dead_code, reason = "each test uses its part")]

use std::io;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use heedful_explorer::{Access, Explorer, Limits, Patience, serve};
use heedful_translate::bundle::{Bundle, BundleConfig, Card};
use heedful_translate::model::config::{ModelConfig, RnnAttentionConfig, RnnConfig, TransformerConfig};
use heedful_translate::model::{Start, build};
use heedful_translate::text::Tokenizer;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::ServiceExt;

pub const SENTENCE: &str = "Der Hund schl\u{e4}ft.";

fn bundle(name: &str, model: ModelConfig) -> Bundle {
    let lines = [SENTENCE, "Die Katze schl\u{e4}ft nicht!", "The dog sleeps.", "The cat does not sleep!"];
    let tokenizer = Tokenizer::learn(&lines, 330).expect("a tokenizer");
    let mut weights = build(&model, tokenizer.vocabulary_size(), Start::Random(7));
    for (i, value) in weights.parameters_mut().values_mut().iter_mut().enumerate() {
        *value += (i * 7919 % 101) as f32 / 400.0 - 0.125;
    }
    let card = Card {
        name: name.to_owned(),
        source_language: "German".to_owned(),
        target_language: "English".to_owned(),
        licence: "CC0".to_owned(),
        ..Card::default()
    };
    Bundle { config: BundleConfig { model, ..BundleConfig::default() }, tokenizer, model: weights, card }
}

/// A Transformer, and a recurrent model with attention and one without: `transformer`, `rnn-with-attention`, `rnn`.
pub fn explorer() -> Explorer {
    let transformer = TransformerConfig { dim: 16, feed_forward: 16, heads: 2, encoder_layers: 2, decoder_layers: 2 };
    let attention = RnnAttentionConfig { embedding: 8, hidden: 8, ..RnnAttentionConfig::default() };
    let plain = RnnConfig { embedding: 8, hidden: 8, ..RnnConfig::default() };
    let bundles = vec![
        bundle("Transformer", ModelConfig::Transformer(transformer)),
        bundle("RNN with attention", ModelConfig::RnnAttention(attention)),
        bundle("RNN", ModelConfig::Rnn(plain)),
    ];
    Explorer::new(bundles).expect("three models").with_text(SENTENCE.to_owned())
}

pub fn with_key(key: &str) -> Router {
    explorer().with_access(Access { key: Some(key.to_owned()), ..Access::default() }).router()
}

pub fn with_limits(limits: Limits) -> Router {
    explorer().with_limits(limits).router()
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }
}

pub async fn send(router: &Router, request: Request<Body>) -> Reply {
    let response = router.clone().oneshot(request).await.expect("a router never fails");
    let (parts, body) = response.into_parts();
    Reply { status: parts.status, headers: parts.headers, body: body.collect().await.expect("a body").to_bytes().into() }
}

pub fn request(method: &str, path: &str, kind: &str, body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost:7878");
    if !kind.is_empty() {
        request = request.header("content-type", kind);
    }
    request.body(body.into()).expect("a request")
}

pub async fn get(router: &Router, path: &str) -> Reply {
    send(router, request("GET", path, "", Body::empty())).await
}

pub async fn post(router: &Router, path: &str, body: &Value) -> Reply {
    send(router, request("POST", path, "application/json", body.to_string())).await
}

/// Asks for a map until it is ready.
pub async fn ready_map(router: &Router, text: &str) -> Value {
    let made = post(router, "/api/maps", &serde_json::json!({ "text": text, "name": "a text" })).await;
    assert_eq!(made.status, StatusCode::ACCEPTED, "{made:?}");
    let path = format!("/api/maps/{}", made.json()["id"].as_str().expect("an id"));
    for _ in 0..1200 {
        let map = get(router, &path).await.json();
        match map["state"].as_str() {
            Some("ready") => return map,
            Some("failed") => panic!("{map}"),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    panic!("the map was not ready in a minute");
}

/// A server on a port of its own.
pub struct Server {
    pub address: String,
    end: Option<oneshot::Sender<()>>,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    pub async fn start(router: Router, patience: Patience) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (end, ended) = oneshot::channel();
        let task = tokio::spawn(serve(listener, router, patience, async {
            let _ = ended.await;
        }));
        Self { address, end: Some(end), task }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.expect("a connection")
    }

    /// Sends bytes as they are, and all that comes back until the server closes.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        raw(&self.address, bytes).await
    }

    /// One request on a connection of its own: the status and the body.
    pub async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        ask(&self.address, method, path, body).await
    }

    /// Ends it, and waits until it has ended.
    pub async fn end(mut self) {
        drop(self.end.take());
        self.task.await.expect("no panic").expect("no failure");
    }
}

async fn raw(address: &str, bytes: &[u8]) -> String {
    let stream = TcpStream::connect(address).await.expect("a connection");
    // A server that refuses early may close before it has read everything.
    let _ = write_all(&stream, bytes).await;
    let mut reply = Vec::new();
    let _ = read_to_end(&stream, &mut reply).await;
    String::from_utf8_lossy(&reply).into_owned()
}

pub async fn ask(address: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    let rest = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let reply = raw(address, (head + &rest).as_bytes()).await;
    let status = reply.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, reply.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// Sends all bytes.
pub async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Receives what is there, or waits for it; 0 bytes at the end.
pub async fn read_some(stream: &TcpStream, reply: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 8192];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut buffer) {
            Ok(received) => {
                reply.extend_from_slice(&buffer[..received]);
                return Ok(received);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Receives all that comes until the other side closes.
pub async fn read_to_end(stream: &TcpStream, reply: &mut Vec<u8>) -> io::Result<()> {
    while read_some(stream, reply).await? > 0 {}
    Ok(())
}
