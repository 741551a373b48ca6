//! Long texts under the encoder's self-attention: read once, then looked into for as long as they are used.
//!
//! One text is read at a time, on a thread of its own that steps aside for requests. What is kept are queries, keys and log-sum-exp of each
//! layer and the coarse levels of each head, never n x n. All maps together have a bounded memory; those that were not looked at for
//! longest go first.

pub mod pyramid;
mod text;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use heedful_translate::model::looks::Look;
use serde_json::{Value, json};

use crate::models::Loaded;
use crate::refusal::Refusal;
use pyramid::{Base, Geometry, TILE};
pub use text::Text;

/// A map that nobody looked at for so long is forgotten.
const IDLE: Duration = Duration::from_hours(1);
/// Texts that wait to be read.
const WAITING: usize = 8;

/// A long text under attention.
pub struct Map {
    pub id: String,
    pub name: String,
    pub model: Arc<Loaded>,
    pub text: Text,
    layers: usize,
    heads: usize,
    /// Bytes while it is read, and afterwards.
    bytes: [usize; 2],
    started: Instant,
    stage: Mutex<Stage>,
    looks: OnceLock<Vec<Look>>,
    /// For each head of each layer.
    bases: Vec<OnceLock<Base>>,
    /// The head that somebody waits for.
    wanted: AtomicUsize,
    stop: AtomicBool,
    used: Mutex<Instant>,
}

#[derive(Clone, Debug)]
enum Stage {
    Queued,
    Reading(f32),
    Pooling(f32),
    Ready(Duration),
    Failed(String),
}

/// All maps.
pub struct Maps {
    shelf: Arc<Shelf>,
    memory: usize,
    count: AtomicU64,
}

/// What the reading thread shares with the requests.
struct Shelf {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// Oldest first.
    maps: Vec<Arc<Map>>,
    queue: VecDeque<Arc<Map>>,
    has_reader: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Maps {
    pub fn new(memory: usize) -> Self {
        Self { shelf: Arc::new(Shelf { state: Mutex::default(), news: Condvar::new() }), memory, count: AtomicU64::new(0) }
    }

    /// Starts a map of a text.
    pub fn start(&self, name: String, model: Arc<Loaded>, text: Text, running: Arc<AtomicUsize>) -> Result<Arc<Map>, Refusal> {
        let map = Arc::new(Map::new(self.next_id(), name, model, text)?);
        if map.bytes[0] > self.memory {
            let (tokens, most) = (map.text.tokens.len(), map.text.tokens.len() as f64 * self.memory as f64 / map.bytes[0] as f64);
            return Err(Refusal::too_large(format!(
                "a map of {tokens} tokens needs {} MB and there are {}; send a text of at most about {} tokens",
                map.bytes[0] >> 20,
                self.memory >> 20,
                most as usize
            )));
        }
        let mut state = locked(&self.shelf.state);
        state.forget_idle();
        if state.queue.len() >= WAITING {
            return Err(Refusal::busy(format!("{WAITING} texts wait to be read already; try again later")));
        }
        state.make_room(self.memory - map.bytes[0]);
        state.maps.push(Arc::clone(&map));
        state.queue.push_back(Arc::clone(&map));
        if !state.has_reader {
            state.has_reader = true;
            let shelf = Arc::downgrade(&self.shelf);
            thread::spawn(move || read_texts(&shelf, &running));
        }
        drop(state);
        self.shelf.news.notify_all();
        Ok(map)
    }

    pub fn all(&self) -> Vec<Arc<Map>> {
        let mut state = locked(&self.shelf.state);
        state.forget_idle();
        state.maps.iter().rev().cloned().collect()
    }

    pub fn get(&self, id: &str) -> Result<Arc<Map>, Refusal> {
        let map = locked(&self.shelf.state).maps.iter().find(|map| map.id == id).cloned();
        let map =
            map.ok_or_else(|| Refusal::missing(format!("there is no map `{id}`; it may have been forgotten to make room for another")))?;
        *locked(&map.used) = Instant::now();
        Ok(map)
    }

    pub fn forget(&self, id: &str) -> Result<(), Refusal> {
        let map = self.get(id)?;
        map.stop.store(true, Ordering::Relaxed);
        let mut state = locked(&self.shelf.state);
        state.maps.retain(|other| other.id != id);
        state.queue.retain(|other| other.id != id);
        Ok(())
    }

    fn next_id(&self) -> String {
        format!("m{}", self.count.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl Drop for Maps {
    fn drop(&mut self) {
        for map in &locked(&self.shelf.state).maps {
            map.stop.store(true, Ordering::Relaxed);
        }
        self.shelf.news.notify_all();
    }
}

impl State {
    fn forget_idle(&mut self) {
        self.maps.retain(|map| !map.is_idle() || locked(&map.used).elapsed() < IDLE);
    }

    /// Forgets those that were not looked at for longest until all others take at most `bytes`.
    fn make_room(&mut self, bytes: usize) {
        while self.maps.iter().map(|map| map.bytes[0]).sum::<usize>() > bytes {
            let oldest = self.maps.iter().filter(|map| map.is_idle()).min_by_key(|map| *locked(&map.used)).map(|map| map.id.clone());
            let Some(id) = oldest.or_else(|| self.maps.first().map(|map| map.id.clone())) else { return };
            self.maps.iter().filter(|map| map.id == id).for_each(|map| map.stop.store(true, Ordering::Relaxed));
            self.maps.retain(|map| map.id != id);
            self.queue.retain(|map| map.id != id);
        }
    }
}

/// Reads one text after the other and forgets maps that nobody looks at, until there is nobody to make maps for.
fn read_texts(shelf: &Weak<Shelf>, running: &AtomicUsize) {
    while let Some(shelf) = shelf.upgrade() {
        let state = locked(&shelf.state);
        let waited = shelf.news.wait_timeout_while(state, Duration::from_millis(500), |state| state.queue.is_empty());
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.forget_idle();
        let next = state.queue.pop_front();
        drop(state);
        if let Some(map) = next {
            map.read(running);
        }
    }
}

impl Map {
    fn new(id: String, name: String, model: Arc<Loaded>, text: Text) -> Result<Self, Refusal> {
        let unusable =
            || Refusal::bad(format!("the model `{}` has no self-attention that could be mapped; choose a Transformer", model.id));
        let transformer = model.translator.model().as_transformer().ok_or_else(unusable)?;
        let n = text.tokens.len();
        let config = transformer.config();
        let (layers, heads) = (config.encoder_layers, config.heads);
        let common = layers * heads * Geometry::new(n).base_bytes() + text.bytes();
        let bytes = transformer.encoder_look_bytes(n).map(|bytes| bytes + common);
        Ok(Self {
            bases: (0..layers * heads).map(|_| OnceLock::new()).collect(),
            wanted: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            used: Mutex::new(Instant::now()),
            stage: Mutex::new(Stage::Queued),
            looks: OnceLock::new(),
            started: Instant::now(),
            id,
            name,
            model,
            text,
            layers,
            heads,
            bytes,
        })
    }

    fn is_idle(&self) -> bool {
        matches!(*locked(&self.stage), Stage::Ready(_) | Stage::Failed(_))
    }

    fn set(&self, stage: Stage) {
        *locked(&self.stage) = stage;
    }

    /// Reads the text and builds the coarse levels of all heads.
    fn read(&self, running: &AtomicUsize) {
        if let Err(error) = self.try_read(running) {
            self.set(Stage::Failed(error.message));
        } else if self.stop.load(Ordering::Relaxed) {
            self.set(Stage::Failed("it was stopped".to_owned()));
        } else {
            self.set(Stage::Ready(self.started.elapsed()));
        }
    }

    fn try_read(&self, running: &AtomicUsize) -> Result<(), Refusal> {
        let go_on = |stage: Stage| {
            self.set(stage);
            step_aside(running);
            !self.stop.load(Ordering::Relaxed)
        };
        let Some(transformer) = self.model.translator.model().as_transformer() else { return Ok(()) };
        let Some(looks) = transformer.encoder_looks(&self.text.tokens, &mut |part| go_on(Stage::Reading(part)))? else { return Ok(()) };
        let looks = self.looks.get_or_init(|| looks);
        let all = self.bases.len();
        for done in 0..all {
            // The head that was asked for last comes first.
            let wanted = self.wanted.load(Ordering::Relaxed);
            let Some(head) = std::iter::once(wanted).chain(0..all).find(|&head| self.bases[head].get().is_none()) else { break };
            let part = |part: f32| Stage::Pooling((done as f32 + part) / all as f32);
            let base = Base::build(&looks[head / self.heads], head % self.heads, |done| go_on(part(done)))?;
            match base {
                Some(base) => drop(self.bases[head].set(base)),
                // It needs none, or it was stopped.
                None => break,
            }
        }
        Ok(())
    }

    /// The look of a layer, once the text has been read.
    pub fn look(&self, layer: usize, head: usize) -> Result<&Look, Refusal> {
        if layer >= self.layers || head >= self.heads {
            let (layers, heads) = (self.layers, self.heads);
            return Err(Refusal::missing(format!(
                "there is no head {head} in layer {layer}; there are {layers} layers of {heads}, from 0"
            )));
        }
        self.wanted.store(layer * self.heads + head, Ordering::Relaxed);
        let not_yet = || match &*locked(&self.stage) {
            Stage::Failed(error) => Refusal::missing(format!("the map has failed: {error}")),
            _ => Refusal::new(axum::http::StatusCode::CONFLICT, "the text is still being read; ask for the map to see how far it is"),
        };
        Ok(&self.looks.get().ok_or_else(not_yet)?[layer])
    }

    /// The coarse levels of a head, as soon as they are there.
    pub fn base(&self, layer: usize, head: usize) -> Option<&Base> {
        self.bases[layer * self.heads + head].get()
    }

    pub fn description(&self) -> Value {
        let stage = locked(&self.stage).clone();
        let (state, progress, seconds) = match &stage {
            Stage::Queued => ("queued", 0.0, self.started.elapsed()),
            Stage::Reading(part) => ("reading", *part, self.started.elapsed()),
            Stage::Pooling(part) => ("pooling", *part, self.started.elapsed()),
            Stage::Ready(after) => ("ready", 1.0, *after),
            Stage::Failed(_) => ("failed", 1.0, self.started.elapsed()),
        };
        let geometry = Geometry::new(self.text.tokens.len());
        let needs_none = geometry.base_bytes() == 0;
        let pooled: Vec<Vec<bool>> = self
            .bases
            .chunks(self.heads)
            .map(|layer| layer.iter().map(|base| base.get().is_some() || needs_none && self.looks.get().is_some()).collect())
            .collect();
        json!({
            "id": self.id,
            "name": self.name,
            "model": self.model.id,
            "state": state,
            "progress": progress,
            "error": if let Stage::Failed(error) = &stage { Some(error) } else { None },
            "tokens": self.text.tokens.len(),
            "layers": self.layers,
            "heads": self.heads,
            "tile": TILE,
            "levels": geometry.levels(),
            "pooled": pooled,
            "bytes": self.bytes[usize::from(self.looks.get().is_some())],
            "seconds": seconds.as_secs_f64(),
        })
    }
}

/// Waits while requests are being worked on, but not for ever: a busy server still reads, slowly.
fn step_aside(running: &AtomicUsize) {
    let start = Instant::now();
    while running.load(Ordering::Relaxed) > 0 && start.elapsed() < Duration::from_millis(200) {
        thread::sleep(Duration::from_millis(2));
    }
}
