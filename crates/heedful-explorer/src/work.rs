//! Work that takes time: a few pieces at once, a bounded number waiting, each for as long as somebody waits for its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::refusal::Refusal;

/// Where handlers send what takes time.
pub struct Work {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
    running: Arc<AtomicUsize>,
}

/// Says that nobody waits any more, when it is dropped: with the request that it belongs to.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Counts for as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Work {
    pub(crate) fn new(at_once: usize, most_waiting: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(at_once.max(1))),
            waiting: AtomicUsize::new(0),
            most_waiting,
            running: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// How many pieces of work are under way: what runs in the background steps aside for them.
    pub(crate) fn running(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.running)
    }

    /// The answer of `work`, which is told by the flag when nobody waits for it any more.
    ///
    /// A place that was given to a piece of work is free again when the work has really stopped, not when its client is gone.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        at_most: Duration,
        work: impl FnOnce(&Arc<AtomicBool>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let place = {
            let waiting = Counted::new(&self.waiting);
            if waiting.0.load(Ordering::Relaxed) > self.most_waiting + self.places.available_permits() {
                return Err(Refusal::busy(format!("{} requests are waiting already; try again in a moment", self.most_waiting)));
            }
            match timeout(at_most, Arc::clone(&self.places).acquire_owned()).await {
                Ok(Ok(place)) => place,
                _ => return Err(Refusal::busy("others were served first for too long; try again in a moment")),
            }
        };
        let stop = Arc::new(AtomicBool::new(false));
        let waiting = Waiting(Arc::clone(&stop));
        let running = Arc::clone(&self.running);
        let task = spawn_blocking(move || {
            let _place = place;
            let _counted = Counted::new(&running);
            if stop.load(Ordering::Relaxed) {
                return Err(Refusal::busy("the request was stopped before it began"));
            }
            work(&stop)
        });
        let answer = timeout(at_most, task).await;
        drop(waiting);
        match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the server failed at this request; please report it")),
            Err(_) => {
                let message = format!("the answer took longer than {} seconds; ask for less", at_most.as_secs());
                Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, message))
            }
        }
    }
}
