//! `heedful compare` from the outside: a toy ladder is climbed in seconds, stopped, gone on with, and its numbers are held against `heedful evaluate`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use serde_json::Value;
use tempfile::TempDir;

/// Words of the toy language, which is translated by copying the sentence.
const WORDS: [&str; 8] = ["rot", "blau", "haus", "baum", "hund", "katze", "mann", "kind"];
/// What makes a rung of the toy ladder.
const RUNG: &str = "[tokenizer]\nvocabulary = 300\n[training]\nbatch_tokens = 300\nlearning_rate = 0.01\nwarmup = 10\ndropout = 0.0\n[decoding]\nbeam = 2\n";
const RNN: &str = "[model]\ntype = \"rnn\"\nembedding = 16\nhidden = 16\n";
const TRANSFORMER: &str =
    "[model]\ntype = \"transformer\"\ndim = 16\nfeed_forward = 32\nheads = 2\nencoder_layers = 1\ndecoder_layers = 1\n";

/// A folder with the toy corpus, the rungs' configurations and a comparison that came to its end.
struct Ladder {
    folder: TempDir,
}

impl Ladder {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `heedful compare` in the folder.
    fn compare(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("heedful"));
        command.current_dir(self.folder.path()).arg("compare").args(arguments);
        command
    }

    /// A new comparison.
    fn begin(&self, output: &str, updates: &str) -> Command {
        let mut command = self.compare(&["--train", "train.tsv", "--valid", "valid.tsv", "--test", "test.tsv", "--buckets", "1-3,4+"]);
        command.args(["--rungs", "none.toml,all.toml", "--set", "training.validate_every=10", "--updates", updates, "-o", output]);
        command
    }

    fn report(&self, comparison: &str) -> Value {
        let text = std::fs::read_to_string(self.path(comparison).join("report.json")).expect("a report");
        serde_json::from_str(&text).expect("JSON")
    }
}

static LADDER: LazyLock<Ladder> = LazyLock::new(|| {
    let ladder = Ladder { folder: tempfile::tempdir().expect("a folder") };
    let text = |lines: std::ops::Range<usize>| {
        lines.fold(String::new(), |mut text, i| {
            let words: Vec<&str> = (0..2 + i % 4).map(|j| WORDS[(i * 31 + i / 7 + j * (3 + i / 5) + j * j) % 8]).collect();
            writeln!(text, "{0}\t{0}", words.join(" ")).expect("into a string");
            text
        })
    };
    for (name, content) in [
        ("train.tsv", text(0..600)),
        ("valid.tsv", text(600..620)),
        ("test.tsv", text(620..650)),
        ("none.toml", RUNG.to_owned() + RNN),
        ("all.toml", RUNG.to_owned() + TRANSFORMER),
    ] {
        std::fs::write(ladder.path(name), content).expect("written");
    }
    succeeded(&mut ladder.begin("whole", "40"));
    ladder
});

/// What a command prints when all goes well.
fn succeeded(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("UTF-8")
}

/// What a command says when it fails.
fn failed(command: &mut Command) -> String {
    let Output { status, stderr, .. } = command.output().expect("it runs");
    assert!(!status.success(), "{command:?}");
    String::from_utf8_lossy(&stderr).into_owned()
}

/// Without what depends on the clock: times, and what the findings say about them.
fn without_times(mut report: Value) -> Value {
    for rung in report["rungs"].as_array_mut().expect("rungs") {
        rung.as_object_mut().expect("a rung").remove("time");
        for point in rung["curve"].as_array_mut().expect("a curve") {
            let point = point.as_object_mut().expect("a point");
            assert!(point.remove("seconds").is_some() && point.remove("cpu_seconds").is_some());
        }
    }
    let findings = report["findings"].as_array_mut().expect("findings");
    findings.retain(|finding| !finding.as_str().is_some_and(|text| text.contains("still learning")));
    report
}

#[test]
fn a_comparison_leaves_a_report_and_ordinary_runs() {
    let report = LADDER.report("whole");
    let rungs = report["rungs"].as_array().expect("rungs");
    assert_eq!(rungs.iter().map(|rung| rung["name"].as_str().expect("a name")).collect::<Vec<_>>(), ["none", "all"]);
    for rung in rungs {
        assert_eq!(rung["updates"], 40);
        assert_eq!(rung["curve"].as_array().map(Vec::len), Some(4));
        assert!(rung["time"]["cpu_minutes"].as_f64() > Some(0.0) && rung["time"]["tokens_per_second"].as_f64() > Some(0.0), "{rung}");
        let buckets = rung["scores"][0]["by_source_length"].as_array().expect("buckets");
        assert_eq!(buckets.iter().map(|bucket| bucket["words"].as_str().expect("a name")).collect::<Vec<_>>(), ["1-3", "4+"]);
    }
    assert_eq!(report["sentences"].as_array().map(Vec::len), Some(2), "one of each bucket");
    for sentence in report["sentences"].as_array().expect("sentences") {
        assert!(sentence["translations"][0]["alignment"].is_null() && sentence["translations"][1]["alignment"]["weights"].is_array());
    }
    let page = std::fs::read_to_string(LADDER.path("whole/report.html")).expect("a page");
    assert!(page.contains("none has no attention") && page.contains("<svg "));
    assert!(LADDER.path("whole/report.svg").exists() && LADDER.path("whole/pictures/bleu-by-length.svg").exists());
    // The tokenizer is one for all.
    let tokenizer = |folder: &str| std::fs::read(LADDER.path(folder).join("tokenizer.json")).expect("a tokenizer");
    assert!(tokenizer("whole") == tokenizer("whole/none") && tokenizer("whole") == tokenizer("whole/all"));
}

#[test]
fn the_reports_numbers_are_those_of_heedful_evaluate() {
    let report = LADDER.report("whole");
    for rung in report["rungs"].as_array().expect("rungs") {
        let model = LADDER.path("whole").join(rung["name"].as_str().expect("a name")).join("model.safetensors");
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("heedful"));
        command.args(["evaluate", "--json", "--whole-lines", "--buckets", "1-3,4+", "--model"]).arg(model).arg(LADDER.path("test.tsv"));
        let value: Value = serde_json::from_str(&succeeded(&mut command)).expect("JSON");
        assert_eq!(value["scores"], rung["scores"]);
        assert_eq!(value["sentences"], report["corpus"]["test_sentences"]);
    }
}

#[test]
fn a_larger_budget_goes_on_where_the_smaller_one_ended() {
    succeeded(&mut LADDER.begin("longer", "20"));
    succeeded(&mut LADDER.compare(&["--resume", "-o", "longer", "--updates", "40"]));
    assert_eq!(without_times(LADDER.report("longer")), without_times(LADDER.report("whole")));
}

#[cfg(unix)]
#[test]
fn a_comparison_that_is_interrupted_goes_on_as_if_it_had_not_been() {
    use std::io::{BufRead, BufReader};

    let mut child = LADDER.begin("stopped", "40").stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it runs");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    assert!(lines.any(|line| line.expect("text").contains("update      10")), "a validation");
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill").success());
    let said: Vec<String> = lines.map(|line| line.expect("text")).collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "a script that wants the report does not go on");
    assert!(said.iter().any(|line| line.contains("--resume -o stopped")), "{said:?}");
    assert!(!LADDER.path("stopped/report.json").exists());

    succeeded(&mut LADDER.compare(&["--resume", "-o", "stopped"]));
    assert_eq!(without_times(LADDER.report("stopped")), without_times(LADDER.report("whole")));
}

#[test]
fn a_finished_comparison_is_scored_anew_without_training() {
    let copy = LADDER.path("again");
    copy_folder(&LADDER.path("whole"), &copy);
    let written = |name: &str| std::fs::metadata(copy.join(name)).and_then(|file| file.modified()).expect("a file");
    let before = ["none/model.safetensors", "none/translations.json"].map(written);
    let printed =
        succeeded(&mut LADDER.compare(&["--resume", "-o", "again", "--json", "--buckets", "1-2,3-4,5+", "--sentence", "rot <b> blau"]));
    let report: Value = serde_json::from_str(&printed).expect("JSON");
    let whole = LADDER.report("whole");
    assert_eq!(report["rungs"][0]["curve"], whole["rungs"][0]["curve"]);
    assert_eq!(report["rungs"][1]["scores"][0]["score"], whole["rungs"][1]["scores"][0]["score"]);
    assert_eq!(report["rungs"][0]["scores"][0]["by_source_length"].as_array().map(Vec::len), Some(3));
    assert_eq!(report["sentences"].as_array().map(Vec::len), Some(4));
    assert_eq!(before, ["none/model.safetensors", "none/translations.json"].map(written), "nothing had to be made again");
    assert!(std::fs::read_to_string(copy.join("report.html")).expect("a page").contains("rot &lt;b&gt; blau"));
    // Other decoding gives other translations, and those are made.
    succeeded(&mut LADDER.compare(&["--resume", "-o", "again", "--beam", "1"]));
    assert_ne!(before[1], written("none/translations.json"));
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("copied");
        }
    }
}

#[test]
fn what_is_wrong_is_said_by_name() {
    let wrong = |arguments: &[&str]| failed(&mut LADDER.compare(arguments));
    assert!(succeeded(&mut LADDER.compare(&["--help"])).contains("Examples:\n  heedful"));
    assert!(failed(&mut LADDER.begin("whole", "40")).contains("--resume"));
    assert!(wrong(&["--train", "train.tsv"]).contains("--minutes or --updates"));
    assert!(wrong(&["--minutes", "1"]).contains("--train"));
    assert!(wrong(&["--train", "train.tsv", "--minutes", "1", "--rungs", "cnn"]).contains("`cnn` is no rung"));
    assert!(wrong(&["--train", "train.tsv", "--minutes", "1", "--rungs", "rnn,rnn"]).contains("two rungs are called rnn"));
    assert!(wrong(&["--train", "train.tsv", "--minutes", "1", "--rungs", "tiny,rnn"]).contains("the tokenizers of tiny and of rnn differ"));
    assert!(wrong(&["--resume", "-o", "nowhere"]).contains("holds no comparison"));
    assert!(wrong(&["--train", "train.tsv", "--minutes", "1", "--buckets", "1-5,7+"]).contains("without gaps"));
    assert!(wrong(&["--resume", "-o", "whole", "--rungs", "rnn"]).contains("the rungs it began with"));
    // Before any training.
    let with_test = |name: &str, text: &str| {
        std::fs::write(LADDER.path(name), text).expect("written");
        wrong(&["--train", "train.tsv", "--test", name, "--rungs", "none.toml", "--updates", "100000", "-o", "no-test"])
    };
    let message = with_test("bad-test.tsv", "rot blau\trot blau\nrot\n");
    assert!(message.contains("must be whole") && message.contains("line 2"), "{message}");
    let message = with_test("long-test.tsv", &format!("rot\trot\n{}\trot\n", "rot blau ".repeat(300)));
    assert!(message.contains("line 2 of the test set has") && message.contains("512"), "{message}");
    // What a comparison learnt from cannot be exchanged under it.
    assert!(wrong(&["--resume", "-o", "whole", "--set", "data.max_words=3"]).contains("other text"));
}

#[test]
fn pictures_of_a_translation_and_of_the_lecture_become_files() {
    let heedful = |arguments: &[&str]| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("heedful"));
        command.current_dir(LADDER.folder.path()).args(arguments);
        command
    };
    let read = |name: &str| std::fs::read_to_string(LADDER.path(name)).expect("a file");
    succeeded(&mut heedful(&["translate", "--svg", "ribbons.svg", "--html", "t.html", "Kannst du mir helfen? <b>"]));
    assert!(read("ribbons.svg").contains("ribbon width = weight") && read("ribbons.svg").contains("helfen"));
    assert!(read("t.html").contains("&lt;b&gt;") && !read("t.html").contains("<b>"));
    succeeded(&mut heedful(&["translate", "--svg", "map.svg", "--draw", "heat-map", "--scale", "viridis", "Kannst du mir helfen?"]));
    assert!(read("map.svg").contains("fill=\"#440154\""));
    succeeded(&mut heedful(&["attend", "--svg", "attend.svg", "--html", "attend.html"]));
    assert!(read("attend.svg").contains("journey") && read("attend.html").contains("0.4419"));
    assert!(failed(heedful(&["translate", "--svg", "x.svg"]).stdin(Stdio::null())).contains("given as an argument"));
    let none = LADDER.path("whole/none/model.safetensors").display().to_string();
    assert!(failed(&mut heedful(&["translate", "--model", &none, "--svg", "x.svg", "rot"])).contains("no attention"));
}
