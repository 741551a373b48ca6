//! Finding suites, reading them, and replaying them through a runner.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use safetensors::SafeTensors;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Case, Expected, Outputs, Report, Stop, Tensor, TextCase, Tolerance, Verdict, compare};

/// Whoever knows the operations of some suites.
pub trait Runner {
    /// Computes a tensor case, or says why not.
    ///
    /// # Errors
    /// [`Stop::Skip`] if the case belongs to someone else, [`Stop::Fail`] if it cannot be computed.
    fn tensors(&self, case: &Case) -> Result<Outputs, Stop> {
        Err(Stop::skip(format!("operation {} belongs to another crate", case.op)))
    }

    /// Checks a text case.
    ///
    /// # Errors
    /// [`Stop::Skip`] if the case belongs to someone else, [`Stop::Fail`] if something differs.
    fn text(&self, _case: &TextCase) -> Result<(), Stop> {
        Err(Stop::skip("a text case: another crate's"))
    }
}

/// The cases of one folder.
#[derive(Clone, Debug)]
pub enum Suite {
    /// From `manifest.json` and the file that it names.
    Tensors(String, Vec<Case>),
    /// From `cases.json`.
    Text(String, Vec<TextCase>),
}

#[derive(Deserialize)]
struct Manifest {
    suite: String,
    tensors: String,
    cases: Vec<ManifestCase>,
}

#[derive(Deserialize)]
struct ManifestCase {
    name: String,
    op: String,
    #[serde(default)]
    attrs: Map<String, Value>,
    inputs: BTreeMap<String, Slot>,
    outputs: BTreeMap<String, Slot>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    advisory: bool,
}

#[derive(Deserialize)]
struct Slot {
    t: String,
    strides: Option<Vec<usize>>,
    rtol: Option<f64>,
    atol: Option<f64>,
    rtol64: Option<f64>,
    atol64: Option<f64>,
}

#[derive(Deserialize)]
struct Texts {
    suite: String,
    cases: Vec<Map<String, Value>>,
}

impl Suite {
    /// Reads the suite in `folder`.
    ///
    /// # Errors
    /// Names the file that is missing or malformed, and how.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let manifest = folder.join("manifest.json");
        if manifest.exists() { read_tensors(folder, &manifest) } else { read_texts(folder, &folder.join("cases.json")) }
    }
}

fn read_tensors(folder: &Path, path: &Path) -> Result<Suite, String> {
    let manifest: Manifest = parse(path)?;
    let path = folder.join(&manifest.tensors);
    let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    let tensor = |slot: &Slot| -> Result<Tensor, String> {
        let view = file.tensor(&slot.t).map_err(|error| format!("{}: {}: {error}", path.display(), slot.t))?;
        let tensor = Tensor::read(&view).map_err(|error| format!("{}: {}: {error}", path.display(), slot.t))?;
        Ok(Tensor { strides: slot.strides.clone(), ..tensor })
    };
    let expected = |slot: &Slot| -> Result<Expected, String> {
        let tolerance64 = slot.rtol64.zip(slot.atol64).map(|(relative, absolute)| Tolerance { relative, absolute });
        let tolerance = Tolerance { relative: slot.rtol.unwrap_or(0.0), absolute: slot.atol.unwrap_or(0.0) };
        Ok(Expected { tensor: tensor(slot)?, tolerance, tolerance64 })
    };
    let mut cases = Vec::with_capacity(manifest.cases.len());
    for case in &manifest.cases {
        cases.push(Case {
            suite: manifest.suite.clone(),
            name: case.name.clone(),
            op: case.op.clone(),
            attributes: case.attrs.clone(),
            inputs: case.inputs.iter().map(|(name, slot)| Ok((name.clone(), tensor(slot)?))).collect::<Result<_, String>>()?,
            outputs: case.outputs.iter().map(|(name, slot)| Ok((name.clone(), expected(slot)?))).collect::<Result<_, String>>()?,
            tags: case.tags.clone(),
            advisory: case.advisory,
        });
    }
    Ok(Suite::Tensors(manifest.suite, cases))
}

fn read_texts(folder: &Path, path: &Path) -> Result<Suite, String> {
    let texts: Texts = parse(path)?;
    let case = |(i, fields): (usize, Map<String, Value>)| TextCase {
        suite: texts.suite.clone(),
        folder: folder.to_owned(),
        name: fields.get("name").and_then(Value::as_str).map_or_else(|| format!("case {i}"), str::to_owned),
        advisory: fields.get("advisory").and_then(Value::as_bool).unwrap_or(false),
        fields,
    };
    Ok(Suite::Text(texts.suite.clone(), texts.cases.into_iter().enumerate().map(case).collect()))
}

fn parse<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The suites in `folder`: itself, if it is one, or else the folders in it that are, by name.
///
/// # Errors
/// If it cannot be read or holds no suite.
pub fn find_suites(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let is_suite = |folder: &Path| folder.join("manifest.json").exists() || folder.join("cases.json").exists();
    if is_suite(folder) {
        return Ok(vec![folder.to_owned()]);
    }
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let suites: BTreeSet<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| is_suite(path)).collect();
    if suites.is_empty() {
        return Err(format!("{}: neither a suite (manifest.json or cases.json) nor a folder of suites", folder.display()));
    }
    Ok(suites.into_iter().collect())
}

/// Runs every case of a suite. A panic is a failure of its case alone.
pub fn replay(suite: &Suite, runner: &dyn Runner) -> Report {
    let guarded = |run: &dyn Fn() -> Result<(), Stop>| {
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(Stop::fail(format!("panicked: {}", text.unwrap_or("without a message"))))
        })
    };
    match suite {
        Suite::Tensors(name, cases) => {
            let mut report = Report::new(name);
            for case in cases {
                let result = guarded(&|| runner.tensors(case).and_then(|outputs| check(case, &outputs)));
                report.add(&case.name, verdict(result, case.advisory));
            }
            report
        }
        Suite::Text(name, cases) => {
            let mut report = Report::new(name);
            for case in cases {
                report.add(&case.name, verdict(guarded(&|| runner.text(case)), case.advisory));
            }
            report
        }
    }
}

fn check(case: &Case, outputs: &Outputs) -> Result<(), Stop> {
    for (name, expected) in &case.outputs {
        let got = outputs.get(name).ok_or_else(|| Stop::fail(format!("{name} was not computed")))?;
        let any_infinity = name == "softmax_lse" && case.flag("lse_any_inf")?;
        compare(got, &expected.tensor, expected.tolerance, any_infinity).map_err(|what| Stop::fail(format!("{name} is {what}")))?;
    }
    Ok(())
}

fn verdict(result: Result<(), Stop>, advisory: bool) -> Verdict {
    match result {
        Err(Stop::Skip(why)) => Verdict::Skipped(why),
        Ok(()) if advisory => Verdict::Advisory(None),
        Err(Stop::Fail(what)) if advisory => Verdict::Advisory(Some(what)),
        Ok(()) => Verdict::Passed,
        Err(Stop::Fail(what)) => Verdict::Failed(what),
    }
}

/// The whole of a conformance program: replays the suites in the folders given as arguments and prints a report of each.
/// Fails if a case failed, a folder could not be read, or no folder was given.
pub fn main(runner: &dyn Runner) -> ExitCode {
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if folders.is_empty() {
        eprintln!("usage: conformance DIR...   (a DIR is a suite or a folder of suites)");
        return ExitCode::from(2);
    }
    let mut failed = false;
    for folder in folders {
        let suites = find_suites(&folder).unwrap_or_else(|error| {
            eprintln!("{error}");
            failed = true;
            Vec::new()
        });
        for suite in suites {
            match Suite::read(&suite) {
                Ok(suite) => {
                    let report = replay(&suite, runner);
                    failed |= report.failed() > 0;
                    println!("{report}");
                }
                Err(error) => {
                    eprintln!("{error}");
                    failed = true;
                }
            }
        }
    }
    ExitCode::from(u8::from(failed))
}
