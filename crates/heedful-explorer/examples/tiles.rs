//! How long tiles of a long text's map take, at every zoom.
//!
//! `cargo run --release -p heedful-explorer --example tiles -- MODEL TEXT [TOKENS]`: a model file, a text, and how many of its tokens to map (the text is
//! repeated if it has fewer).

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use heedful_explorer::{Explorer, Limits};
use heedful_translate::bundle::Bundle;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("name a model file and a text")?;
    let text = std::fs::read_to_string(arguments.next().ok_or("name a text")?)?;
    let tokens: usize = arguments.next().map_or(Ok(32_768), |text| text.parse())?;
    let bundle = Bundle::open(Path::new(&model))?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut mapped = String::new();
    let mut count = 0;
    for word in words.iter().cycle() {
        count += bundle.tokenizer.encode_ids(word).len();
        if count >= tokens {
            break;
        }
        mapped += word;
        mapped.push(' ');
    }
    let limits = Limits { map_memory: 8 << 30, ..Limits::default() };
    let router = Explorer::new(vec![bundle])?.with_limits(limits).router();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(router, mapped))
}

async fn run(router: axum::Router, text: String) -> Result<(), Box<dyn Error>> {
    let ask = async |method: &str, path: String, body: String| {
        let request = Request::builder().method(method).uri(path).header("host", "localhost").header("content-type", "application/json");
        let reply = router.clone().oneshot(request.body(Body::from(body))?).await?;
        let status = reply.status();
        let queries = reply.headers().get("heedful-queries").and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        let body = reply.into_body().collect().await?.to_bytes();
        if status.is_success() { Ok((queries, body)) } else { Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into()) }
    };
    let made: Result<_, Box<dyn Error>> = ask("POST", "/api/maps".to_owned(), json!({ "text": text }).to_string()).await;
    let id = serde_json::from_slice::<Value>(&made?.1)?["id"].as_str().unwrap_or_default().to_owned();
    let mut previews_are_timed = false;
    loop {
        let shown: Result<_, Box<dyn Error>> = ask("GET", format!("/api/maps/{id}"), String::new()).await;
        let map: Value = serde_json::from_slice(&shown?.1)?;
        let (state, levels, tokens) = (map["state"].as_str().unwrap_or_default(), map["levels"].as_u64().unwrap_or(1), &map["tokens"]);
        let seconds = map["seconds"].as_f64().unwrap_or_default();
        match state {
            "failed" => return Err(map["error"].to_string().into()),
            "pooling" | "ready" if state == "ready" || !previews_are_timed => {
                let megabytes = map["bytes"].as_u64().unwrap_or_default() >> 20;
                println!("{tokens} tokens, {state} after {seconds:.1} s, {megabytes} MB");
                previews_are_timed = true;
                for level in 0..levels {
                    let side = 1u64 << level;
                    let (mut took, mut queries) = (Vec::new(), String::new());
                    for i in 0..8u64.min(side * side) {
                        let (row, column) = (i * 7 % side, i * 5 % side);
                        let head = if state == "ready" { i % 2 } else { 3 };
                        let path = format!("/api/maps/{id}/tiles/2/{head}/{level}/{row}/{column}");
                        let start = Instant::now();
                        let tile: Result<_, Box<dyn Error>> = ask("GET", path, String::new()).await;
                        if let Ok((of, bytes)) = tile {
                            assert_eq!(bytes.len(), 256 * 256 * 4);
                            took.push(start.elapsed());
                            queries = of;
                        }
                    }
                    took.sort_unstable();
                    let middle: Duration = took.get(took.len() / 2).copied().unwrap_or_default();
                    println!(
                        "  level {level}: {middle:>8.1?} (median), {:>8.1?} (longest) of {} tiles, queries {queries}",
                        took.last().copied().unwrap_or_default(),
                        took.len()
                    );
                }
                if state == "ready" {
                    break;
                }
            }
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    for path in ["rows/1/1/1000", "columns/1/1/1000", "search?q=the"] {
        let start = Instant::now();
        let answer: Result<_, Box<dyn Error>> = ask("GET", format!("/api/maps/{id}/{path}"), String::new()).await;
        println!("  {path}: {:.1?}, {} bytes", start.elapsed(), answer?.1.len());
    }
    Ok(())
}
