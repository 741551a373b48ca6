//! The speed and the memory of training steps: forward, backward and Adam, without dropout, alone or beside PyTorch.
//!
//! ```text
//! cargo bench -p heedful-translate --bench train_step -- [--torch PYTHON] [--rounds N] [MODEL...]
//! ```
//!
//! MODEL is `gru` (256 wide, Bahdanau's attention, tables of its own for source, target and output, 64 sentences of 15 tokens) or `transformer`
//! (256, 1024 inside, 4 heads, 3 + 3 layers, one table, 128 sentences of 32); vocabulary 8000. Each run is a process of its own, so that its
//! peak memory is known; with `--torch` it takes turns with `benches/peers/train_step.py`, which does the same in PyTorch. The threads are
//! rayon's: `RAYON_NUM_THREADS` sets how many, of both. On a machine that has other things to do, one thread's processor time is the measure.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use cpu_time::ProcessTime;
use heedful_nn::optimiser::Adam;
use heedful_translate::corpus::EncodedPair;
use heedful_translate::model::config::{ModelConfig, RnnAttentionConfig, TransformerConfig};
use heedful_translate::model::{Start, build};
use heedful_translate::train::{StepOptions, Workers};

const VOCABULARY: u32 = 8000;
/// Measured steps of a run, after one that is not.
const STEPS: usize = 5;
const MODELS: [&str; 2] = ["gru", "transformer"];
const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/peers/train_step.py");

/// What a run prints: milliseconds by the clock and of processor time of each step, and at last its peak memory in MiB.
struct Run {
    wall: Vec<f64>,
    cpu: Vec<f64>,
    peak: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut torch, mut rounds, mut models) = (None, 3, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {} // Cargo adds it.
            "--torch" => torch = Some(arguments.next().ok_or("--torch needs a python that has PyTorch")?),
            "--rounds" => rounds = arguments.next().ok_or("--rounds needs a number")?.parse()?,
            "--run" => {
                run(&arguments.next().ok_or("--run needs a model")?);
                return Ok(());
            }
            name if MODELS.contains(&name) => models.push(name.to_owned()),
            name => return Err(format!("{name:?} is no model: use {}", MODELS.join(" or ")).into()),
        }
    }
    if models.is_empty() {
        models = MODELS.map(str::to_owned).to_vec();
    }
    let threads = rayon::current_num_threads().to_string();
    for model in models {
        let (mut own, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            own.push(read(Command::new(std::env::current_exe()?).args(["--run", &model]))?);
            if let Some(python) = &torch {
                peer.push(read(Command::new(python).arg(Path::new(PEER)).args([&threads, &model, &STEPS.to_string()]))?);
            }
        }
        let own = summarise("heedful", &model, &own);
        if !peer.is_empty() {
            let peer = summarise("torch", &model, &peer);
            let [median, best, cpu, memory] = [0, 1, 2, 3].map(|i| peer[i] / own[i]);
            println!("torch / heedful, {model}: {median:.2} (median), {best:.2} (fastest), processor time {cpu:.2}, memory {memory:.2}");
        }
    }
    Ok(())
}

/// Prints and returns, over all runs: median and fastest step by the clock, median of processor time, peak memory.
fn summarise(name: &str, model: &str, runs: &[Run]) -> [f64; 4] {
    let sorted = |times: fn(&Run) -> &Vec<f64>| {
        let mut all: Vec<f64> = runs.iter().flat_map(times).copied().collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let (wall, cpu) = (sorted(|run| &run.wall), sorted(|run| &run.cpu));
    let (median, best, cpu) = (wall[wall.len() / 2], wall[0], cpu[cpu.len() / 2]);
    let peak = runs.iter().map(|run| run.peak).fold(0.0, f64::max);
    let (sentences, length) = shape(model);
    let rate = (sentences * length) as f64 * 1e3 / median;
    println!(
        "{name}, {model}: {median:.1} ms/step (fastest {best:.1}), {rate:.0} target tokens/s; processor time {cpu:.1} ms/step; peak {peak:.0} MiB"
    );
    [median, best, cpu, peak]
}

fn read(command: &mut Command) -> Result<Run, Box<dyn Error>> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let mut numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let peak = numbers.pop().ok_or("the run printed nothing")?;
    let (wall, cpu) = numbers.chunks_exact(2).map(|step| (step[0], step[1])).unzip();
    Ok(Run { wall, cpu, peak })
}

fn shape(model: &str) -> (usize, usize) {
    if model == "gru" { (64, 15) } else { (128, 32) }
}

/// One run, in this process.
fn run(name: &str) {
    let config = match name {
        "gru" => ModelConfig::RnnAttention(RnnAttentionConfig { tied: false, ..RnnAttentionConfig::default() }),
        _ => ModelConfig::Transformer(TransformerConfig::default()),
    };
    let (sentences, length) = shape(name);
    let mut model = build(&config, VOCABULARY as usize, Start::Random(1));
    let mut adam = Adam::new(model.parameters());
    let mut workers = Workers::new(&*model, rayon::current_num_threads());
    let sentence = |seed: usize| (0..length).map(|t| ((seed * length + t) as u32).wrapping_mul(2_654_435_761) % VOCABULARY).collect();
    let pairs: Vec<EncodedPair> =
        (0..sentences).map(|i| EncodedPair { source: sentence(2 * i), target: sentence(2 * i + 1), ..EncodedPair::default() }).collect();
    let batch: Vec<&EncodedPair> = pairs.iter().collect();
    let options = StepOptions { dropout: 0.0, label_smoothing: 0.0, clip: 0.0, learning_rate: 3e-4, seed: 1, guide: None };
    workers.step(&mut *model, &mut adam, &batch, options);
    for _ in 0..STEPS {
        let (start, cpu) = (Instant::now(), ProcessTime::now());
        workers.step(&mut *model, &mut adam, &batch, options);
        println!("{} {}", start.elapsed().as_secs_f64() * 1e3, cpu.elapsed().as_secs_f64() * 1e3);
    }
    println!("{}", peak_memory());
}

/// The most memory that this process ever held, in MiB; NaN where the system does not tell.
fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib / 1024.0)
}
