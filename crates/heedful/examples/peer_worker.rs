//! Attention worker for comparisons: reads a case per line, answers a line.
//!
//! ```text
//! in:  impl=attend b=1 h=8 hkv=8 nq=512 nk=512 d=64 causal=0 dtype=f32 bwd=0 secs=1 reps=7
//! out: ms=<median> min=<fastest> reps=<count> mem=<MiB above rest, first call> chk=<mean |out|>
//!      or err=<why>
//! ```
//!
//! With `bwd=1` a call is a forward and a backward. Threads: `RAYON_NUM_THREADS`. Inputs are a fixed hash of the index, so that `chk`
//! agrees with other libraries that answer the same lines. Outputs are allocated once and reused.

use std::collections::HashMap;
use std::io::BufRead;
use std::time::Instant;

use half::{bf16, f16};
use heedful::{Diagonal, Element, Options, QkvMut, View, ViewMut, attend, attend_backward};

/// MiB of a line in the process' status, or NaN where there is none.
fn status(key: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = text.lines().find(|line| line.starts_with(key)).and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib / 1024.0)
}

fn fill<T: Element>(n: usize, seed: u32) -> Vec<T> {
    let hash = |i: u32| i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8;
    (0..n as u32).map(|i| T::from_f32(hash(i) as f32 / (1 << 24) as f32 - 0.5)).collect()
}

struct Case {
    q_shape: [usize; 4],
    k_shape: [usize; 4],
    causal: bool,
    backward: bool,
    seconds: f64,
    repetitions: usize,
}

impl Case {
    fn parse(line: &str) -> Result<(Self, String), String> {
        let fields: HashMap<&str, &str> = line.split_whitespace().filter_map(|field| field.split_once('=')).collect();
        let get = |key: &str| fields.get(key).ok_or_else(|| format!("no {key}"));
        let int = |key: &str| get(key)?.parse::<usize>().map_err(|error| format!("{key}: {error}"));
        let (b, d) = (int("b")?, int("d")?);
        let case = Self {
            q_shape: [b, int("h")?, int("nq")?, d],
            k_shape: [b, int("hkv")?, int("nk")?, d],
            causal: int("causal")? == 1,
            backward: int("bwd")? == 1,
            seconds: get("secs")?.parse().map_err(|error| format!("secs: {error}"))?,
            repetitions: int("reps")?,
        };
        Ok((case, (*get("dtype")?).to_owned()))
    }

    fn run<T: Element>(&self) -> Result<String, heedful::Error> {
        let (q_len, k_len): (usize, usize) = (self.q_shape.iter().product(), self.k_shape.iter().product());
        let (q, k, v) = (fill::<T>(q_len, 1), fill::<T>(k_len, 2), fill::<T>(k_len, 3));
        let options = if self.causal { Options::new().causal(Diagonal::BottomRight) } else { Options::new() };
        let (mut out, mut lse) = (Vec::new(), Vec::new());
        let (d_out, mut d_q, mut d_k, mut d_v) = (vec![1.0; if self.backward { q_len } else { 0 }], Vec::new(), Vec::new(), Vec::new());
        let mut call = || -> Result<f32, heedful::Error> {
            out.resize(q_len, 0.0);
            lse.resize(q_len / self.q_shape[3], 0.0);
            let (q, k, v) = (View::contiguous(&q, self.q_shape)?, View::contiguous(&k, self.k_shape)?, View::contiguous(&v, self.k_shape)?);
            attend(q, k, v, &options, ViewMut::contiguous(&mut out, self.q_shape)?, self.backward.then_some(&mut lse))?;
            if self.backward {
                d_q.resize(q_len, 0.0);
                d_k.resize(k_len, 0.0);
                d_v.resize(k_len, 0.0);
                let gradients = QkvMut::separate(
                    ViewMut::contiguous(&mut d_q, self.q_shape)?,
                    ViewMut::contiguous(&mut d_k, self.k_shape)?,
                    ViewMut::contiguous(&mut d_v, self.k_shape)?,
                );
                let (context, d_context) = (View::contiguous(&out, self.q_shape)?, View::contiguous(&d_out, self.q_shape)?);
                attend_backward(q, k, v, &options, context, &lse, d_context, gradients, None)?;
            }
            Ok(out.first().copied().unwrap_or(0.0))
        };
        // Writing 5 there resets the peak that VmHWM tells.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let (rest, start) = (status("VmRSS:"), Instant::now());
        call()?;
        let first = start.elapsed().as_secs_f64();
        let memory = status("VmHWM:") - rest;
        let inner = ((0.002 / first.max(1e-7)) as usize).clamp(1, 2000);
        call()?;
        let (mut times, start) = (Vec::new(), Instant::now());
        while times.len() < self.repetitions && (times.is_empty() || start.elapsed().as_secs_f64() < self.seconds) {
            let sample = Instant::now();
            for _ in 0..inner {
                std::hint::black_box(call()?);
            }
            times.push(sample.elapsed().as_secs_f64() / inner as f64 * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let check = out.iter().map(|x| f64::from(x.abs())).sum::<f64>() / out.len().max(1) as f64;
        let (median, min, count) = (times[times.len() / 2], times[0], times.len());
        Ok(format!("ms={median:.6} min={min:.6} reps={count} mem={memory:.1} chk={check:.6}"))
    }
}

fn answer(line: &str) -> Result<String, String> {
    let (case, dtype) = Case::parse(line)?;
    let answer = match dtype.as_str() {
        "f32" => case.run::<f32>(),
        "bf16" => case.run::<bf16>(),
        "f16" => case.run::<f16>(),
        other => return Err(format!("no dtype {other}")),
    };
    answer.map_err(|error| error.to_string())
}

/// A pool of threads each of which stays on a core of its own, as those of ONNX Runtime do: the scheduler of the system needs some
/// milliseconds to see that two threads share a core.
fn pinned_pool() -> Result<rayon::ThreadPool, rayon::ThreadPoolBuildError> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let pin = move |thread: usize| _ = cores.get(thread).map(|&core| core_affinity::set_for_current(core));
    rayon::ThreadPoolBuilder::new().start_handler(pin).build()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("ready");
    pinned_pool()?.install(|| {
        for line in std::io::stdin().lock().lines().map_while(Result::ok).filter(|line| !line.trim().is_empty()) {
            match answer(&line) {
                Ok(answer) => println!("{answer}"),
                Err(error) => println!("err={}", error.replace(char::is_whitespace, "_")),
            }
        }
    });
    Ok(())
}
