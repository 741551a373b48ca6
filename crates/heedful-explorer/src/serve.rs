//! Listening: connections that each get a little time, and an end that waits for what is under way.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::stalling::Stalling;

/// How long the server waits for its clients.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Connections that are open at the same time; others wait to be accepted.
    pub connections: usize,
    /// For the headers of a request, and for the next request on an open connection.
    pub headers: Duration,
    /// For a client that has stopped reading its answer.
    pub stalled: Duration,
    /// At the end, for answers that are under way.
    pub end: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connections: 512, headers: seconds(10), stalled: seconds(20), end: seconds(5) }
    }
}

/// Headers of a request, and what is read ahead of its body.
const HEADER_BYTES: usize = 32 * 1024;

/// Serves until `end` is over, then answers what it has begun and returns.
///
/// # Errors
/// If nothing more can be accepted.
pub async fn serve(listener: TcpListener, router: Router, patience: Patience, end: impl Future<Output = ()>) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(patience.connections));
    let (ending, ended) = watch::channel(());
    tokio::pin!(end);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((place, listener.accept().await?.0))
        };
        let (place, stream) = tokio::select! {
            () = &mut end => break,
            next = next => {
                let Ok(next) = next else {
                    // One client's failure, or no file handles left for a moment.
                    sleep(Duration::from_millis(50)).await;
                    continue;
                };
                next
            }
        };
        let _ = stream.set_nodelay(true);
        let (service, mut ended) = (TowerToHyperService::new(router.clone()), ended.clone());
        tokio::spawn(async move {
            let _place = place;
            let io = TokioIo::new(Stalling::new(stream, patience.stalled));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(patience.headers).max_buf_size(HEADER_BYTES);
            let connection = http.serve_connection(io, service);
            tokio::pin!(connection);
            tokio::select! {
                // A client that goes away is no failure.
                _ = connection.as_mut() => return,
                _ = ended.changed() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }
    drop(listener);
    drop(ended);
    ending.send_replace(());
    let _ = timeout(patience.end, ending.closed()).await;
    Ok(())
}
