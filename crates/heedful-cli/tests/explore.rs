//! `heedful explore` from the outside: what it prints, that the page and the API answer at that address, that it ends when it is asked to, and what it says
//! when it cannot start.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// The program without what the machine's user may have set.
fn explore(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heedful"));
    command.env_remove("HEEDFUL_API_KEY").args(["explore", "--no-open"]).args(arguments).stdin(Stdio::null());
    command
}

/// A running explorer, which ends with the test.
struct Running {
    program: Child,
    /// `127.0.0.1:4711`
    address: String,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut program = explore(arguments).args(["--port", "0"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(program.stdout.take().expect("piped")).read_line(&mut line).expect("UTF-8");
        let mut running = Self { program, address: String::new() };
        let address = line.trim_end().strip_prefix("http://").and_then(|rest| rest.strip_suffix('/'));
        address.unwrap_or_else(|| panic!("the first line is the page's address, not {line:?}")).clone_into(&mut running.address);
        running
    }

    /// The status and the body of an answer.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a time");
        let (address, length) = (&self.address, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer in UTF-8");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {answer}"));
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no body: {answer}"));
        (status, body.to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// What the program says when it cannot start.
fn failure(arguments: &[&str]) -> String {
    let output = explore(arguments).output().expect("it runs");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {message}");
    assert!(output.stdout.is_empty(), "no address is printed: {:?}", String::from_utf8_lossy(&output.stdout));
    message
}

#[test]
fn the_page_and_the_api_answer_at_the_printed_address() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("report.json"), r#"{"rungs": [], "sentences": []}"#).expect("written");
    let running = Running::start(&["--report", &folder.path().display().to_string(), "Guten", "Morgen!"]);

    let (status, page) = running.ask("GET", "/", "");
    assert_eq!(status, 200);
    assert!(page.contains("<script") && page.contains("heedful"), "{page}");

    let (status, info) = running.ask("GET", "/api/info", "");
    let info: Value = serde_json::from_str(&info).expect("JSON");
    assert_eq!((status, &info["text"], &info["report"]), (200, &json!("Guten Morgen!"), &json!(true)));
    let (status, report) = running.ask("GET", "/api/report", "");
    assert_eq!((status, serde_json::from_str::<Value>(&report).expect("JSON")), (200, json!({"rungs": [], "sentences": []})));

    let (status, answer) = running.ask("POST", "/api/translate", &json!({"text": "Der Hund schläft."}).to_string());
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(status, 200, "{answer}");
    assert!(answer["text"].as_str().expect("a text").contains("dog"), "{answer}");
    assert_eq!(answer["sentences"][0]["words"], json!(["Der", "Hund", "schläft", "."]));
}

#[cfg(unix)]
#[test]
fn it_ends_when_it_is_asked_to() {
    let mut running = Running::start(&[]);
    let sent = Command::new("kill").args(["-TERM", &running.program.id().to_string()]).status().expect("kill is there");
    assert!(sent.success());
    assert!(running.program.wait().expect("it ends").success());
}

#[test]
fn the_printed_address_brings_the_key_to_a_browser_whatever_the_server_listens_to() {
    let mut program = explore(&["--host", "0.0.0.0", "--api-key", "100%safe"]);
    let mut program = program.args(["--port", "0"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(program.stdout.take().expect("piped")).read_line(&mut line).expect("UTF-8");
    program.kill().and_then(|()| program.wait()).expect("it ends");
    assert!(line.starts_with("http://127.0.0.1:") && line.ends_with("/#key=100%25safe\n"), "{line}");

    let message = failure(&["--api-key", "Schlüssel"]);
    assert!(message.contains("ASCII"), "{message}");
}

#[test]
fn a_port_in_use_is_named_and_another_one_advised() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = other.local_addr().expect("an address").port().to_string();
    let message = failure(&["--port", &port]);
    assert!(message.contains(&format!("127.0.0.1 port {port}")) && message.contains("--port"), "{message}");
}

#[test]
fn a_folder_without_a_report_or_with_a_broken_one_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = folder.path().display().to_string();
    let message = failure(&["--report", &name]);
    assert!(message.contains(&name) && message.contains("report.json") && message.contains("heedful compare"), "{message}");

    std::fs::write(folder.path().join("report.json"), "{").expect("written");
    let message = failure(&["--report", &name]);
    assert!(message.contains("report.json is no JSON"), "{message}");
}
