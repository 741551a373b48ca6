//! Clients that translate all at once for a while: how many answers, how long they took, and whether memory grew.
//!
//! `cargo run --release -p heedful-explorer --example load -- MODEL [CLIENTS] [SECONDS]`

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use heedful_explorer::{Explorer, Patience, serve};
use heedful_translate::bundle::Bundle;
use tokio::net::{TcpListener, TcpStream};

const SENTENCES: [&str; 4] = [
    "Der Hund schl\u{e4}ft.",
    "Kannst du mir helfen, diesen Satz zu \u{fc}bersetzen?",
    "Ich habe gestern ein Buch gelesen, das mir mein Bruder geschenkt hat. Es war gut.",
    "Wo ist der Bahnhof?",
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("name a model file")?;
    let clients: usize = arguments.next().map_or(Ok(64), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(60), |text| text.parse())?;
    let router = Explorer::new(vec![Bundle::open(Path::new(&model))?])?.router();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(router, clients, Duration::from_secs(seconds)))
}

async fn run(router: axum::Router, clients: usize, time: Duration) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, router, Patience::default(), async {
        let _ = ended.await;
    }));
    let start = Instant::now();
    let asking: Vec<_> = (0..clients).map(|client| tokio::spawn(client_of(address.clone(), client, start + time))).collect();
    while start.elapsed() < time {
        tokio::time::sleep(Duration::from_secs(5).min(time / 6)).await;
        println!("{:>3} s  {} MB", start.elapsed().as_secs(), resident_megabytes());
    }
    let (mut took, mut lost) = (Vec::new(), 0);
    for client in asking {
        let (answered, failed) = client.await?;
        took.extend(answered);
        lost += failed;
    }
    let all = start.elapsed();
    took.sort_unstable();
    let at = |part: f64| took.get((part * (took.len() - 1) as f64) as usize).copied().unwrap_or_default();
    println!("{clients} clients, {} answers in {all:.1?} ({:.1} a second), {lost} lost", took.len(), took.len() as f64 / all.as_secs_f64());
    println!(
        "answers took {:.0?} (median), {:.0?} (95 %), {:.0?} (longest); {} MB at the end",
        at(0.5),
        at(0.95),
        at(1.0),
        resident_megabytes()
    );
    let _ = end.send(());
    server.await??;
    if lost == 0 { Ok(()) } else { Err(format!("{lost} requests were lost").into()) }
}

/// Asks again and again on one connection: how long each answer took, and how many were none.
async fn client_of(address: String, client: usize, until: Instant) -> (Vec<Duration>, usize) {
    let (mut took, mut lost) = (Vec::new(), 0);
    let mut connection = None;
    for request in 0.. {
        if Instant::now() >= until {
            break;
        }
        let start = Instant::now();
        if let Ok(200) = ask(&mut connection, &address, SENTENCES[(client + request) % SENTENCES.len()]).await {
            took.push(start.elapsed());
        } else {
            lost += 1;
            connection = None;
        }
    }
    (took, lost)
}

async fn ask(connection: &mut Option<TcpStream>, address: &str, text: &str) -> io::Result<u16> {
    let stream = match connection {
        Some(stream) => stream,
        None => connection.insert(TcpStream::connect(address).await?),
    };
    let body = format!("{{\"text\":\"{text}\"}}");
    let head = format!(
        "POST /api/translate HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    write_all(stream, (head + &body).as_bytes()).await?;
    let mut reply = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&reply);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
            if length.is_some_and(|length| body.len() >= length) {
                return Ok(head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0));
            }
        }
        if read_some(stream, &mut reply).await? == 0 {
            return Ok(0);
        }
    }
}

/// What the process holds, if the system says it.
fn resident_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}

/// Sends all bytes.
async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
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
async fn read_some(stream: &TcpStream, reply: &mut Vec<u8>) -> io::Result<usize> {
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
