//! Requests that nobody sends by mistake: they are refused, and the others are served meanwhile.

mod common;

use std::time::{Duration, Instant};

use axum::body::Body;
use common::{SENTENCE, Server, explorer, get, post, read_to_end, request, send, with_key, with_limits, write_all};
use heedful_explorer::{Access, Limits, Patience};
use serde_json::json;

#[tokio::test]
async fn only_this_server_and_its_own_page_are_answered() {
    let router = explorer().with_access(Access { names: vec!["gpu.example".to_owned()], key: None }).router();
    let ask = async |path: &str, headers: &[(&'static str, &str)]| {
        let mut request = request("GET", path, "", Body::empty());
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        send(&router, request).await
    };
    for path in ["/", "/api/models", "/languages"] {
        for host in ["localhost", "127.0.0.1:7878", "[::1]:7878", "gpu.example:7878"] {
            assert_eq!(ask(path, &[("host", host)]).await.status, 200, "{path} {host}");
        }
        for host in ["evil.example", "evil.example:7878", "localhost.evil.example", ""] {
            let refused = ask(path, &[("host", host)]).await;
            assert_eq!(refused.status, 403, "{path} {host}");
            assert!(refused.error().contains("not called"), "{refused:?}");
        }
        assert_eq!(ask(path, &[("origin", "http://localhost:7878")]).await.status, 200);
        for origin in ["http://localhost:3000", "http://evil.example", "https://localhost", "null", "file://"] {
            assert_eq!(ask(path, &[("origin", origin)]).await.status, 403, "{path} {origin}");
        }
    }
    assert_eq!(ask("/", &[("sec-fetch-site", "cross-site")]).await.status, 200, "a link to the page");
    assert_eq!(ask("/api/models", &[("sec-fetch-site", "cross-site")]).await.status, 403);
}

#[tokio::test]
async fn every_answer_tells_the_browser_what_it_may_do() {
    let router = explorer().router();
    let missing = request("GET", "/nothing", "", Body::empty());
    let mut refused = request("GET", "/", "", Body::empty());
    refused.headers_mut().insert("host", "evil.example".parse().expect("a header"));
    for request in [request("GET", "/", "", Body::empty()), request("GET", "/api/info", "", Body::empty()), missing, refused] {
        let reply = send(&router, request).await;
        let policy = reply.headers["content-security-policy"].to_str().expect("text");
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("base-uri 'none'"));
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
        assert!(reply.headers.contains_key("cache-control") && !reply.headers.contains_key("access-control-allow-origin"));
    }
    let page = get(&router, "/").await;
    assert_eq!((page.status.as_u16(), &page.headers["content-type"]), (200, &"text/html; charset=utf-8".parse().expect("a header")));
    let mut again = request("GET", "/", "", Body::empty());
    again.headers_mut().insert("if-none-match", page.headers["etag"].clone());
    assert_eq!(send(&router, again).await.status, 304);
    for path in ["/../Cargo.toml", "/%2e%2e/Cargo.toml", "/assets/../../Cargo.toml", "//etc/passwd"] {
        assert_eq!(get(&router, path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_key_is_asked_for_in_every_way_that_clients_send_it() {
    let router = with_key("secret");
    let body = json!({ "q": SENTENCE, "source": "de", "target": "en" });
    for (given, status) in [(None, 401), (Some("wrong"), 401), (Some(""), 401), (Some("secret"), 200)] {
        let mut body = body.clone();
        body["api_key"] = json!(given);
        assert_eq!(post(&router, "/translate", &body).await.status, status, "{given:?}");
        let path = given.map_or("/languages".to_owned(), |key| format!("/languages?api_key={key}"));
        assert_eq!(get(&router, &path).await.status, status, "{given:?}");
        let mut asked = request("GET", "/api/models", "", Body::empty());
        if let Some(key) = given {
            asked.headers_mut().insert("authorization", format!("Bearer {key}").parse().expect("a header"));
        }
        assert_eq!(send(&router, asked).await.status, status, "{given:?}");
    }
    assert_eq!(get(&router, "/health").await.status, 200);
    assert_eq!(get(&router, "/").await.status, 200, "the page has no secrets");
}

#[tokio::test]
async fn what_cannot_be_understood_is_refused_by_name() {
    let router = explorer().router();
    let ask = async |body: Vec<u8>| send(&router, request("POST", "/api/translate", "application/json", body)).await;
    let deep = format!("{{\"text\":{}", "[".repeat(100_000));
    for (body, says) in [
        (b"{\"text\": \"\xff\xfe\"}".to_vec(), "not UTF-8 after byte 10"),
        (deep.into_bytes(), "expected a string"),
        (b"{\"text\": \"Hund\", \"texts\": 1}".to_vec(), "unknown field `texts`"),
        (b"{\"text\": \"Hund\"".to_vec(), "EOF"),
        (b"{}".to_vec(), "missing field `text`"),
        (br#"{"text": "Hund", "n_best": 1000000000}"#.to_vec(), "must be 1 to 20"),
        (br#"{"text": "Hund", "beam": 0}"#.to_vec(), "must be 1 to 32"),
        (br#"{"text": "Hund", "n_best": -1}"#.to_vec(), "invalid value"),
        (br#"{"text": "Hund", "reading": "layer:9"}"#.to_vec(), "the decoder has layers 0 to 1"),
        (br#"{"text": "\ud800"}"#.to_vec(), "hex escape"),
    ] {
        let reply = ask(body.clone()).await;
        assert_eq!(reply.status, 400, "{:?} {reply:?}", String::from_utf8_lossy(&body[..body.len().min(80)]));
        assert!(reply.error().contains(says), "{says}: {}", reply.error());
    }
    let deep = format!("{{\"q\":{}", "[".repeat(100_000));
    let reply = send(&router, request("POST", "/translate", "application/json", deep)).await;
    assert!(reply.status == 400 && reply.error().contains("recursion limit"), "{reply:?}");
    // A line of a megabyte, and a sentence that no model can read.
    let long = json!({ "text": "a".repeat(1 << 20) });
    assert_eq!(post(&router, "/api/translate", &long).await.status, 413);
    let sentence = post(&router, "/api/translate", &json!({ "text": "Hund ".repeat(2000) })).await;
    assert_eq!(sentence.status, 413, "{sentence:?}");
    assert!(sentence.error().contains("break it into shorter sentences"), "{}", sentence.error());
    for (path, body, says) in [
        ("/api/force", json!({ "sentence": SENTENCE, "imposed": [{ "step": 0, "source_word": 9 }] }), "no source word 9"),
        ("/api/force", json!({ "sentence": SENTENCE, "model": "rnn", "imposed": [{ "step": 0, "source_word": 0 }] }), "no attention"),
        ("/api/force", json!({ "sentence": SENTENCE, "prefix_tokens": [99999] }), "token 99999"),
        ("/api/force", json!({ "sentence": SENTENCE, "prefix_tokens": [4], "prefix": "The" }), "send one of them"),
        ("/api/force", json!({ "sentence": SENTENCE, "strength": 1e9 }), "0 to 100"),
        ("/api/force", json!({ "sentence": " " }), "no words"),
        ("/api/attention", json!({ "source": SENTENCE, "matrices": [{ "kind": "cross", "layer": 2, "head": 0 }] }), "no head 0 in layer 2"),
        (
            "/api/attention",
            json!({ "source": SENTENCE, "model": "rnn", "matrices": [{ "kind": "encoder", "layer": 0, "head": 0 }] }),
            "no head",
        ),
        ("/api/lesson", json!({ "text": SENTENCE, "model": "rnn" }), "no self-attention"),
        ("/api/lesson", json!({ "text": SENTENCE, "head": 2 }), "no head 2"),
        ("/api/lesson", json!({ "text": "Hund ".repeat(100) }), "must have 1 to 64"),
        ("/api/maps", json!({ "text": SENTENCE, "model": "rnn" }), "no self-attention"),
        ("/api/maps", json!({ "text": " " }), "no words"),
        ("/translate", json!({ "q": SENTENCE, "source": "fr", "target": "en" }), "no model from `fr`"),
        ("/translate", json!({ "q": SENTENCE, "source": "de", "target": "en", "format": "html" }), "plain text"),
    ] {
        let reply = post(&router, path, &body).await;
        assert_eq!(reply.status, 400, "{path} {body}: {reply:?}");
        assert!(reply.error().contains(says), "{path} {says}: {}", reply.error());
    }
    let small = with_limits(Limits { map_memory: 1 << 20, ..Limits::default() });
    let reply = post(&small, "/api/maps", &json!({ "text": "Hund ".repeat(20_000) })).await;
    assert_eq!(reply.status, 413);
    assert!(reply.error().contains("at most about"), "{}", reply.error());
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_silent_clients_are_sent_away_and_do_not_stop_others() {
    let patience = Patience { headers: Duration::from_millis(400), stalled: Duration::from_millis(400), ..Patience::default() };
    let router = with_limits(Limits { body_time: Duration::from_millis(400), ..Limits::default() });
    let server = Server::start(router, patience).await;
    let slow = [
        "",                                                                                                                  // says nothing
        "GET /api/models HTTP/1.1\r\nHost: localhost\r\nX-", // stops in its headers
        "POST /api/translate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", // in its body
    ];
    let mut clients = Vec::new();
    for i in 0..60 {
        let stream = server.connect().await;
        write_all(&stream, slow[i % 3].as_bytes()).await.expect("sent");
        clients.push(stream);
    }
    let start = Instant::now();
    let (status, _) = server.ask("POST", "/api/translate", &json!({ "text": SENTENCE }).to_string()).await;
    assert_eq!(status, 200);
    assert!(start.elapsed() < Duration::from_secs(20));
    for (i, client) in clients.into_iter().enumerate() {
        let mut reply = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(20), read_to_end(&client, &mut reply)).await;
        let reply = String::from_utf8_lossy(&reply);
        assert!(closed.is_ok(), "client {i} is still connected");
        assert!(i % 3 != 2 || reply.starts_with("HTTP/1.1 408"), "client {i}: {reply}");
    }
    // A client that drips its headers byte by byte is not waited for either.
    let dripping = server.connect().await;
    let start = Instant::now();
    while write_all(&dripping, b"G").await.is_ok() && start.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(start.elapsed() < Duration::from_secs(20));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_refused() {
    let server = Server::start(explorer().router(), Patience::default()).await;
    let many_headers = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X-Header: x\r\n".repeat(5000));
    let long_header = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Header: {}\r\n\r\n", "x".repeat(100_000));
    for (bytes, statuses) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &["400", ""][..]),
        (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", &["400"]),
        (b"POST /api/translate HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", &["400"]),
        (
            b"POST /api/translate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{",
            &["413"],
        ),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", &["403"]),
        (many_headers.as_bytes(), &["431", "400"]),
        (long_header.as_bytes(), &["431"]),
    ] {
        let reply = tokio::time::timeout(Duration::from_secs(30), server.raw(bytes)).await.expect("closed");
        let status = reply.split(' ').nth(1).unwrap_or_default();
        assert!(statuses.contains(&status), "{:?}: {reply}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)]));
    }
    assert_eq!(server.ask("GET", "/health", "").await.0, 200);
    server.end().await;
}
