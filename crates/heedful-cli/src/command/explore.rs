//! `heedful explore`: the page that shows attention, served by the program itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use heedful_explorer::{Access, Explorer, Patience, serve};
use tokio::net::TcpListener;

use crate::output::tell;
use crate::{model, output};

/// Look into attention in a browser: translate, follow the lecture, find heads, map long texts
///
/// Opens a page that this program serves on this machine, without a network. The same address answers the LibreTranslate calls and the explorer's API,
/// which is described at /api/openapi.json.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  heedful explore                                             open the page
  heedful explore \"Kannst du mir helfen?\"                     with a sentence to begin with
  heedful explore --model rnn.safetensors --model big.safetensors   your own models beside the built-in ones
  heedful explore --report ladder/                            with the report of `heedful compare`
  heedful explore --no-open --port 8080                       print the address only
  heedful explore --host 0.0.0.0 --name gpu.example.org       for others too: needs the API key that is printed")]
pub struct Arguments {
    /// A text to begin with
    text: Vec<String>,
    /// A model file to show beside the built-in models; the first one is shown first
    #[arg(long = "model", value_name = "FILE")]
    models: Vec<PathBuf>,
    /// The port to listen at [default: 7878, or any that is free]
    #[arg(long)]
    port: Option<u16>,
    /// Do not open a browser
    #[arg(long)]
    no_open: bool,
    /// Show the report that `heedful compare` wrote into this folder
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Listen at this address instead of this machine alone: others can use the server then, with the API key
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// A name that the server goes by, if others reach it by a name
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// The key that requests need, also as HEEDFUL_API_KEY [default: none on this machine alone, otherwise a random one]
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
}

/// Where the page is, unless something else is there.
const PORT: u16 = 7878;

impl Arguments {
    pub fn run(self) -> Result<()> {
        let mut bundles = self.models.iter().map(|path| model::open(path)).collect::<Result<Vec<_>>>()?;
        bundles.extend(model::built_in()?);
        let mut explorer = Explorer::new(bundles)?.with_text(self.text.join(" "));
        if let Some(folder) = &self.report {
            explorer = explorer.with_report(report(folder)?);
        }
        let key = match self.api_key.clone().or_else(|| std::env::var("HEEDFUL_API_KEY").ok()) {
            Some(key) if key.trim().is_empty() => bail!("the API key is empty; leave --api-key out for a random one"),
            Some(key) if !key.trim().bytes().all(|byte| byte.is_ascii_graphic()) => {
                bail!("the API key holds spaces or letters beyond ASCII, which no HTTP header can carry; take letters, digits and signs")
            }
            Some(key) => Some(key.trim().to_owned()),
            None if self.host.is_loopback() => None,
            None => Some(Access::random_key().context("making an API key")?),
        };
        if !self.host.is_loopback() {
            tell(format_args!("warning: everybody who can reach {} and has the API key can use this server;", self.host));
            tell("warning: it speaks plain HTTP: on a network that you do not trust, put it behind a proxy with TLS");
        }
        let router = explorer.with_access(Access { names: self.names.clone(), key: key.clone() }).router();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("starting the server")?;
        runtime.block_on(async {
            let listener = self.listen().await?;
            // Before anybody is told the address, and may ask the program to end.
            let end = end().context("listening for signals")?;
            let mut address = self.address(listener.local_addr()?);
            if let Some(key) = &key {
                // Behind the `#`, a browser keeps it to itself.
                address.push_str("#key=");
                address.extend(key.bytes().map(percent_encoded));
            }
            output::print(format!("{address}\n"))?;
            if self.host.is_unspecified() && self.names.is_empty() {
                tell("Others reach it at an address of this machine, or at a name of it that --name says.");
            }
            tell("Press Ctrl-C to stop.");
            if !self.no_open && open::that_detached(&address).is_err() {
                tell("There is no browser to open; go to the address above.");
            }
            serve(listener, router, Patience::default(), end).await.context("serving")
        })?;
        runtime.shutdown_background();
        Ok(())
    }

    /// Where a browser finds a server that listens there.
    fn address(&self, mut listener: SocketAddr) -> String {
        if listener.ip().is_unspecified() {
            if let Some(name) = self.names.first() {
                return format!("http://{name}:{}/", listener.port());
            }
            listener.set_ip(if listener.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        format!("http://{listener}/")
    }

    /// At the port that was asked for; otherwise at the usual one, or at any.
    async fn listen(&self) -> Result<TcpListener> {
        let port = self.port.unwrap_or(PORT);
        match TcpListener::bind((self.host, port)).await {
            Err(_) if self.port.is_none() => TcpListener::bind((self.host, 0)).await.with_context(|| format!("listening at {}", self.host)),
            listener => listener.with_context(|| format!("listening at {} port {port}; choose another --port", self.host)),
        }
    }
}

/// Ends when the program is asked to, by Ctrl-C or a signal; it is listened for from the call on, not only once it is awaited.
#[cfg(unix)]
fn end() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Ends at Ctrl-C; it is listened for from the call on, not only once it is awaited.
#[cfg(windows)]
fn end() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}

/// A byte of a key as it stands in an address.
fn percent_encoded(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}

fn report(folder: &Path) -> Result<serde_json::Value> {
    let path = folder.join("report.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("reading {}; is {} what `heedful compare` wrote?", path.display(), folder.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}
