//! Many at once: no request is lost, a place is free as soon as nobody waits, and the end waits for what is under way.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{SENTENCE, Server, explorer, read_some, read_to_end, with_limits, write_all};
use heedful_explorer::{Limits, Patience};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_at_once_are_all_answered() {
    // However slow the machine is: no request is lost for want of time.
    let limits = Limits { time: Duration::from_mins(10), ..Limits::default() };
    let server = Arc::new(Server::start(with_limits(limits), Patience::default()).await);
    let client = |client: usize| {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let text = "Die Katze schl\u{e4}ft nicht! ".repeat(1 + client % 3);
            let mut answers = Vec::new();
            for _ in 0..3 {
                let (status, body) = server.ask("POST", "/api/translate", &json!({ "text": text }).to_string()).await;
                assert_eq!(status, 200, "{body}");
                answers.push(body);
            }
            answers.dedup();
            (client % 3, answers)
        })
    };
    let clients: Vec<_> = (0..64).map(client).collect();
    let mut first: [Option<String>; 3] = [None, None, None];
    for client in clients {
        let (kind, answers) = client.await.expect("no panic");
        assert_eq!(answers.len(), 1, "an answer does not depend on what else is going on");
        assert_eq!(first[kind].get_or_insert(answers[0].clone()), &answers[0]);
    }
    Arc::into_inner(server).expect("all clients are gone").end().await;
}

/// Without the flag that a dropped request sets, the one place would be taken for as long as the long text takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_dropped_stops_its_work() {
    let server = Server::start(with_limits(Limits { at_once: 1, ..Limits::default() }), Patience::default()).await;
    let long =
        json!({ "text": "Der Hund schl\u{e4}ft nicht und die Katze auch nicht. ".repeat(1800), "beam": 32, "n_best": 20 }).to_string();
    let start = Instant::now();
    for _ in 0..20 {
        let stream = server.connect().await;
        let head = format!(
            "POST /api/translate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            long.len()
        );
        write_all(&stream, head.as_bytes()).await.expect("sent");
        write_all(&stream, long.as_bytes()).await.expect("sent");
        tokio::time::sleep(Duration::from_millis(30)).await;
        drop(stream);
    }
    let (status, _) = server.ask("POST", "/api/translate", &json!({ "text": SENTENCE }).to_string()).await;
    let dropped = start.elapsed();
    assert_eq!(status, 200);
    let start = Instant::now();
    let (status, body) = server.ask("POST", "/api/translate", &long).await;
    let one = start.elapsed();
    assert!(status == 200 || status == 504, "{status} {body:.200}");
    assert!(dropped < 10 * one, "20 requests that were dropped took {dropped:?}, one that was not {one:?}");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_too_many_wait_the_rest_is_told_to_come_back() {
    let server = Arc::new(Server::start(with_limits(Limits { at_once: 1, waiting: 4, ..Limits::default() }), Patience::default()).await);
    let body = json!({ "text": "Der Hund schl\u{e4}ft nicht. ".repeat(100), "beam": 16 }).to_string();
    let client = |_| {
        let (server, body) = (Arc::clone(&server), body.clone());
        tokio::spawn(async move { server.ask("POST", "/api/translate", &body).await })
    };
    let clients: Vec<_> = (0..24).map(client).collect();
    let mut statuses = Vec::new();
    for client in clients {
        let (status, body) = client.await.expect("no panic");
        let answer: Value = serde_json::from_str(&body).expect("JSON, whatever the status");
        assert!(status == 200 || answer["error"].as_str().is_some_and(|error| error.contains("waiting already")), "{status} {body:.200}");
        statuses.push(status);
    }
    let served = statuses.iter().filter(|&&status| status == 200).count();
    assert!((5..24).contains(&served), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 503].contains(status)));
    Arc::into_inner(server).expect("all clients are gone").end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_waits_for_what_is_under_way() {
    let server = Server::start(explorer().router(), Patience::default()).await;
    let (address, idle, asking) = (server.address.clone(), server.connect().await, server.connect().await);
    let body = json!({ "text": SENTENCE }).to_string();
    let head = format!(
        "POST /api/translate HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    write_all(&asking, head.as_bytes()).await.expect("sent");
    let mut told = Vec::new();
    read_some(&asking, &mut told).await.expect("the server asks for the body");
    assert_eq!(told, b"HTTP/1.1 100 Continue\r\n\r\n");
    let ending = tokio::spawn(server.end());
    tokio::time::sleep(Duration::from_millis(50)).await;
    write_all(&asking, body.as_bytes()).await.expect("sent");
    let mut reply = Vec::new();
    read_to_end(&asking, &mut reply).await.expect("an answer, and then the end");
    assert!(reply.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&reply));
    ending.await.expect("no panic");
    drop(idle);
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}
