//! What looking in costs: `cargo bench -p heedful --bench lens`, threads by `RAYON_NUM_THREADS`.
//!
//! Times are in ms: the fastest and, in brackets, the median of interleaved runs, and behind `cpu` the least processor time of all threads,
//! which other processes disturb less (Linux; its clock ticks every few ms). Memory is the most that a call held at once beyond its operands. Arguments choose sections by their names: `glance`, `row`, `pooled`, `zoom`, `sums`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use heedful::lens::{Glance, Lens, Pool, attend_with, rollout};
use heedful::{Diagonal, Options, View, ViewMut, attend};

/// Counts what is held, and the most that was.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(held, Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Times of one way to do something, in ms, and the most bytes that it held.
#[derive(Default)]
struct Sample {
    times: Vec<f64>,
    cpu: Vec<f64>,
    bytes: usize,
}

/// Processor time of all threads so far, in ms; 0 where nobody tells.
fn processor_time() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds =
        |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("schedstat")).ok()?.split(' ').next()?.parse::<f64>().ok();
    tasks.filter_map(nanoseconds).sum::<f64>() / 1e6
}

impl Sample {
    fn take<T>(&mut self, run: impl FnOnce() -> T) {
        let before = HELD.load(Relaxed);
        MOST.store(before, Relaxed);
        let (cpu, start) = (processor_time(), Instant::now());
        black_box(run());
        self.times.push(start.elapsed().as_secs_f64() * 1e3);
        self.cpu.push(processor_time() - cpu);
        self.cpu.sort_by(f64::total_cmp);
        self.bytes = self.bytes.max(MOST.load(Relaxed) - before);
        self.times.sort_by(f64::total_cmp);
    }

    fn min(&self) -> f64 {
        self.times[0]
    }

    fn median(&self) -> f64 {
        self.times[self.times.len() / 2]
    }

    fn show(&self) -> String {
        format!("{:9.3} ({:9.3}) ms cpu {:8.1} ms {:9.1} KiB", self.min(), self.median(), self.cpu[0], self.bytes as f64 / 1024.0)
    }

    /// How many times as long as another: fastest, median and processor time.
    fn ratio(&self, to: &Self) -> String {
        format!("ratio {:.3} ({:.3}) cpu {:.3}", self.min() / to.min(), self.median() / to.median(), self.cpu[0] / to.cpu[0])
    }
}

/// Numbers as normally distributed as the sum of four even ones is: of variance 1, so that scores have too.
fn numbers(seed: u32, len: usize) -> Vec<f32> {
    let even = |i: u32| (i.wrapping_mul(2_654_435_761) ^ (i >> 7)).wrapping_mul(2_246_822_519) >> 8;
    let number = |i: u32| (0..4).map(|part| even(4 * i + part + seed * 7919) as f32 / (1 << 24) as f32 - 0.5).sum::<f32>() * 1.732;
    (0..len as u32).map(number).collect()
}

/// Queries, keys, values and results of `heads` heads over `n` tokens, of width 64.
struct Case {
    shape: [usize; 4],
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    out: Vec<f32>,
    lse: Vec<f32>,
    options: Options<'static>,
}

impl Case {
    fn new(heads: usize, n: usize, causal: bool) -> Self {
        let len = heads * n * 64;
        let options = if causal { Options::new().causal(Diagonal::TopLeft) } else { Options::new() };
        let [q, k, v] = [1, 2, 3].map(|seed| numbers(seed, len));
        let mut case = Self { shape: [1, heads, n, 64], q, k, v, out: vec![0.0; len], lse: vec![0.0; heads * n], options };
        case.attend();
        case
    }

    fn attend(&mut self) {
        let [q, k, v] = [&self.q, &self.k, &self.v].map(|data| View::contiguous(data, self.shape).unwrap());
        attend(q, k, v, &self.options, ViewMut::contiguous(&mut self.out, self.shape).unwrap(), Some(&mut self.lse)).unwrap();
    }

    fn attend_with(&mut self, glance: &mut Glance) {
        let [q, k, v] = [&self.q, &self.k, &self.v].map(|data| View::contiguous(data, self.shape).unwrap());
        let out = ViewMut::contiguous(&mut self.out, self.shape).unwrap();
        attend_with(q, k, v, &self.options, out, Some(&mut self.lse), glance).unwrap();
    }

    fn lens(&self) -> Lens<'_> {
        let [q, k] = [&self.q, &self.k].map(|data| View::contiguous(data, self.shape).unwrap());
        Lens::new(q, k, &self.options, &self.lse).unwrap()
    }
}

fn name(causal: bool) -> &'static str {
    if causal { "causal" } else { "full" }
}

/// A glance inside the forward pass against the plain pass.
fn glance(runs: usize) {
    println!("glance: 8 heads, D 64; the ratio is to the plain forward, fastest of {runs} (median)");
    for (n, causal) in [2048, 4096, 8192].into_iter().flat_map(|n| [(n, false), (n, true)]) {
        let mut case = Case::new(8, n, causal);
        let wanted = [
            ("entropy", Glance::new().entropy()),
            ("top-8 + entropy + largest", Glance::new().entropy().top(8)),
            ("all: + distance + first token", Glance::new().entropy().top(8).distance().mass_on(&[0])),
        ];
        let mut plain = Sample::default();
        let mut looks = wanted.map(|(what, glance)| (Sample::default(), what, glance));
        for _ in 0..runs {
            plain.take(|| case.attend());
            for (sample, _, glance) in &mut looks {
                // A new one each time, so that its results count as memory.
                sample.take(|| case.attend_with(&mut glance.clone()));
            }
        }
        println!("  {n:5} {:6} {:32} {}", name(causal), "plain forward", plain.show());
        for (sample, what, _) in &looks {
            println!("  {n:5} {:6} {what:32} {} {}", name(causal), sample.show(), sample.ratio(&plain));
        }
        println!("  {n:5} {:6} all weights would be {} KiB", name(causal), 8 * n * n * 4 / 1024);
    }
}

fn row(runs: usize) {
    let (n, mut samples) = (65536, [(); 3].map(|()| Sample::default()));
    let case = Case::new(1, n, false);
    let lens = case.lens();
    for run in 0..20 * runs {
        let at = run * 7919 % n;
        samples[0].take(|| lens.row(0, 0, at).unwrap());
        samples[1].take(|| lens.top_k(0, 0, at, 8).unwrap());
        samples[2].take(|| lens.column(0, 0, at).unwrap());
    }
    println!("row: one head, n {n}");
    for (sample, what) in samples.iter().zip(["row", "top-8 of a row", "column"]) {
        println!("  {what:40} {}", sample.show());
    }
}

fn pooled(runs: usize) {
    let n = 32768;
    println!("pooled: one head, n {n}, the whole map in 256 x 256 cells, against a forward of that head");
    for causal in [false, true] {
        let mut case = Case::new(1, n, causal);
        let (mut forward, mut map) = (Sample::default(), Sample::default());
        for _ in 0..runs {
            forward.take(|| case.attend());
            map.take(|| case.lens().pooled(0, 0, 0..n, 0..n, [256, 256], Pool::Sum).unwrap());
        }
        println!("  {:6} forward {}", name(causal), forward.show());
        println!("  {:6} map     {} {}", name(causal), map.show(), map.ratio(&forward));
    }
}

fn zoom(runs: usize) {
    let n = 32768;
    let case = Case::new(1, n, true);
    println!("zoom: one head, n {n}, causal; 256 x 256 cells over a square that ends at the diagonal");
    for side in [256, 1024, 2048, 4096, 8192, 16384] {
        let mut sample = Sample::default();
        for _ in 0..runs {
            sample.take(|| case.lens().pooled(0, 0, n - side..n, n - 2 * side..n - side, [256, 256], Pool::Mean).unwrap());
        }
        println!("  {side:5} x {side:<5} {}", sample.show());
    }
}

fn sums(runs: usize) {
    let n = 8192;
    let case = Case::new(1, n, true);
    let lens = case.lens();
    let [mut columns, mut through] = [(); 2].map(|()| Sample::default());
    for _ in 0..runs {
        columns.take(|| lens.column_sums(0, 0, 0..n).unwrap());
        through.take(|| rollout(&[lens; 4], 0, 0, n - 1).unwrap());
    }
    println!("sums: one head, n {n}, causal");
    println!("  {:40} {}", "column sums", columns.show());
    println!("  {:40} {}", "rollout of one token through 4 layers", through.show());
}

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let runs = std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(5);
    println!("{} threads, tier {}", rayon::current_num_threads(), heedful::simd::active_tier());
    for section in ["glance", "row", "pooled", "zoom", "sums"] {
        if !chosen.is_empty() && !chosen.iter().any(|name| name == section) {
            continue;
        }
        match section {
            "glance" => glance(runs),
            "row" => row(runs),
            "pooled" => pooled(runs),
            "zoom" => zoom(runs),
            _ => sums(runs),
        }
    }
}
