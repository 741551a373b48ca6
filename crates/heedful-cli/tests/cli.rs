//! The program from the outside: what users type, what they see, and what happens when something is wrong.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// Words of the toy language, which is translated by reversing the sentence.
const WORDS: [&str; 8] = ["rot", "blau", "haus", "baum", "hund", "katze", "mann", "kind"];
/// Sizes at which the toy task is learnt in seconds.
const TINY: [&str; 8] = [
    "--preset=tiny",
    "--set=model.dim=32",
    "--set=model.feed_forward=64",
    "--set=tokenizer.vocabulary=320",
    "--set=data.held_out=50",
    "--set=training.updates=120",
    "--set=training.validate_every=60",
    "--set=training.checkpoint_every=40",
];

fn heedful() -> Command {
    let mut command = Command::cargo_bin("heedful").expect("the program");
    command.env_remove("NO_COLOR").env("TERM", "xterm").env("COLUMNS", "100");
    command
}

/// What a command prints when all goes well.
fn printed(arguments: &[&str]) -> String {
    let output = heedful().args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What a command says when it fails with this exit code.
fn failure(arguments: &[&str], code: i32) -> String {
    let output = heedful().args(arguments).output().expect("it runs");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
    assert!(!message.contains("panicked"), "{message}");
    message
}

fn sentences(count: usize) -> impl Iterator<Item = Vec<&'static str>> {
    (0..count).map(|i| (0..2 + i % 3).map(|j| WORDS[(i * 31 + i / 7 + j * (3 + i / 5) + j * j) % 8]).collect())
}

/// A model that was trained by the program, in a folder of its own.
struct Trained {
    folder: TempDir,
}

impl Trained {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn model(&self) -> String {
        self.path("run/model.safetensors").display().to_string()
    }
}

static TRAINED: LazyLock<Trained> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = String::new();
    for words in sentences(1500) {
        let reversed: Vec<&str> = words.iter().rev().copied().collect();
        writeln!(text, "{}\t{}", words.join(" "), reversed.join(" ")).expect("into a string");
    }
    let trained = Trained { folder };
    std::fs::write(trained.path("pairs.tsv"), &text).expect("written");
    std::fs::write(trained.path("test.tsv"), text.lines().take(40).map(|line| line.to_owned() + "\n").collect::<String>())
        .expect("written");
    let (pairs, run) = (trained.path("pairs.tsv"), trained.path("run"));
    let mut arguments = vec!["train", text_of(&pairs), "-o", text_of(&run), "--set=card.licence=CC0", "--set=data.source_language=Toy"];
    arguments.extend(TINY);
    assert_eq!(printed(&arguments).trim(), trained.model());
    trained
});

fn text_of(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn training_leaves_a_model_that_translates_scores_and_evaluates() {
    let model = TRAINED.model();
    let run = TRAINED.path("run");
    for file in ["config.toml", "tokenizer.json", "metrics.jsonl", "checkpoint.safetensors", "model.safetensors"] {
        assert!(run.join(file).exists(), "{file}");
    }

    // One line out for each line in, blank lines included.
    let output = heedful().args(["translate", "--model", &model]).write_stdin("rot haus\n\nblau baum\n").output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!((text.lines().count(), text.lines().nth(1)), (3, Some("")), "{text}");

    let json: Value = serde_json::from_str(&printed(&["translate", "--model", &model, "--json", "rot haus"])).expect("JSON");
    let sentence = &json["sentences"][0];
    assert_eq!(sentence["source_words"], serde_json::json!(["rot", "haus"]));
    let weights = sentence["alignment"]["weights"].as_array().expect("weights");
    assert_eq!(weights.len(), sentence["target_words"].as_array().expect("words").len());

    let best = printed(&["translate", "--model", &model, "--nbest", "3", "rot haus"]);
    let scores: Vec<f64> = best.lines().map(|line| line.split(" ||| ").nth(2).expect("a score").parse().expect("a number")).collect();
    assert!(scores.len() == 3 && scores.is_sorted_by(|a, b| a >= b), "{best}");

    let drawn = |seed: &str| {
        printed(&["translate", "--model", &model, "--sample", "--temperature", "3", "--seed", seed, "--plain", "rot haus baum hund"])
    };
    assert_eq!(drawn("1"), drawn("1"));
    assert!((2..9).any(|seed| drawn(&seed.to_string()) != drawn("1")), "other seeds draw other words");

    let score: f64 = {
        let output =
            heedful().args(["score", "--model", &model, "--input", "-"]).write_stdin("rot haus\thaus rot\n").output().expect("it runs");
        String::from_utf8(output.stdout).expect("UTF-8").trim().parse().expect("a number")
    };
    assert!(score < 0.0);
    assert!(printed(&["score", "--model", &model, "rot haus", "haus rot"]).contains(&format!("log-probability {score:.4}")));

    let test = TRAINED.path("test.tsv");
    let value: Value = serde_json::from_str(&printed(&["evaluate", "--model", &model, "--json", text_of(&test)])).expect("JSON");
    assert!(value["scores"][0]["signature"].as_str().expect("a signature").contains("tok:13a"));
    let buckets = value["scores"][0]["by_source_length"].as_array().expect("buckets");
    let counted: u64 = buckets.iter().map(|bucket| bucket["sentences"].as_u64().expect("a count")).sum();
    assert_eq!(Some(counted), value["sentences"].as_u64());
    // The other way round it is another task.
    let turned = printed(&["evaluate", "--columns", "2,1", "--beam", "1", "--model", &model, text_of(&test)]);
    assert!(turned.starts_with("BLEU = ") && turned.contains("chrF2 = "), "{turned}");
}

#[test]
fn a_sentence_is_shown_with_its_alignment_in_plain_characters_or_in_colour() {
    let model = TRAINED.model();
    let plain = printed(&["translate", "--model", &model, "rot haus"]);
    assert!(plain.contains("weight: 0 | .:-=+*#%@| 1") && !plain.contains('\x1b'), "{plain}");
    let coloured = printed(&["--color", "always", "translate", "--model", &model, "rot haus"]);
    assert!(coloured.contains("\x1b[48;5;"), "{coloured}");
    assert_eq!(printed(&["translate", "--plain", "--model", &model, "rot haus"]).lines().count(), 1);
    let linked = printed(&["translate", "--alignments", "pharaoh", "--model", &model, "rot haus"]);
    assert!(linked.trim().split(" ||| ").nth(1).expect("links").split(' ').all(|link| link.contains('-')), "{linked}");
}

#[test]
fn alignments_are_compared_with_manual_ones() {
    let model = TRAINED.model();
    let (test, gold) = (TRAINED.path("test.tsv"), TRAINED.path("gold.talp"));
    let links: Vec<String> =
        sentences(40).map(|w| (0..w.len()).map(|i| format!("{i}-{}", w.len() - 1 - i)).collect::<Vec<_>>().join(" ")).collect();
    std::fs::write(&gold, links.join("\n") + "\n").expect("written");
    let arguments = ["evaluate", "--json", "--model", &model, "--gold", text_of(&gold), text_of(&test)];
    let value: Value = serde_json::from_str(&printed(&arguments)).expect("JSON");
    let aer = value["alignment"]["aer"].as_f64().expect("a rate");
    assert!((0.0..=1.0).contains(&aer) && value["alignment"]["links"].as_u64() > Some(40), "{value}");
    std::fs::write(&gold, "0-0\n").expect("written");
    assert!(failure(&["evaluate", "--model", &model, "--gold", text_of(&gold), text_of(&test)], 1).contains("40"));
}

#[test]
fn a_run_is_not_overwritten_and_goes_on_where_it_stopped() {
    let (pairs, folder) = (TRAINED.path("pairs.tsv"), tempfile::tempdir().expect("a folder"));
    let run = folder.path().join("run");
    let mut arguments = vec!["train", text_of(&pairs), "-o", text_of(&run)];
    arguments.extend(TINY);
    arguments.push("--set=training.updates=40");
    printed(&arguments);
    assert!(failure(&arguments, 1).contains("--resume") || failure(&arguments, 1).contains("resume"));
    printed(&["train", "--resume", "-o", text_of(&run), "--set=training.updates=120"]);
    let resumed = std::fs::read(run.join("model.safetensors")).expect("a model");
    let at_once = std::fs::read(TRAINED.model()).expect("a model");
    let weights = |file: &[u8]| {
        let header = u64::from_le_bytes(*file.first_chunk().expect("a header")) as usize;
        file[8 + header..].to_vec()
    };
    assert!(weights(&resumed) == weights(&at_once), "a run that was stopped ends with other weights");
}

#[test]
fn a_model_is_adapted_to_other_text_from_where_it_stands() {
    let (model, folder) = (TRAINED.model(), tempfile::tempdir().expect("a folder"));
    let (pairs, run) = (folder.path().join("pairs.tsv"), folder.path().join("run"));
    // The other domain says another word for `haus`.
    let text = std::fs::read_to_string(TRAINED.path("pairs.tsv")).expect("written");
    let text: Vec<String> =
        text.lines().filter_map(|line| line.split_once('\t')).map(|(s, t)| format!("{s}\t{}\n", t.replace("haus", "baum"))).collect();
    std::fs::write(&pairs, text.concat()).expect("written");
    let translate = |model: &str| printed(&["translate", "--model", model, "--plain", "rot haus"]);
    assert_eq!(translate(&model).trim(), "haus rot");

    let from = ["train", "--from", &model, text_of(&pairs), "--set=data.held_out=50", "--set=training.epochs=0"];
    let into = ["-o", text_of(&run)];
    let settings = [
        "--set=training.validate_every=30",
        "--set=training.warmup=10",
        "--set=training.learning_rate=0.003",
        "--set=training.batch_tokens=1024",
    ];
    let train = |updates: &str| printed(&[&from[..], &into[..], &settings[..], &[updates]].concat());
    train("--set=training.updates=30");
    let adapted = run.join("model.safetensors");
    assert_eq!(translate(text_of(&adapted)).trim(), "baum rot", "30 updates are enough for who knows the language");
    let card = printed(&["info", text_of(&adapted)]);
    assert!(card.contains("started from") && card.contains("CC0") && card.contains("Toy"), "{card}");

    assert!(failure(&[&from[..], &into[..]].concat(), 1).contains("already holds a training run"));
    printed(&["train", "--resume", "-o", text_of(&run), "--set=training.updates=40"]);
    let other_run = folder.path().join("other");
    for other in ["--set=model.dim=16", "--set=tokenizer.vocabulary=400"] {
        assert!(failure(&[&from[..], &["-o", text_of(&other_run), other]].concat(), 1).contains("another vocabulary"), "{other}");
    }
    let settings = printed(&["train", "--from", "built-in", "--print-config", "--set=decoding.beam=2"]);
    assert!(settings.contains("reading = \"mean\"") && settings.contains("beam = 2 ") && settings.contains("German"), "{settings}");
    failure(&[&from[..], &into[..], &["--preset=tiny"]].concat(), 2);
}

#[test]
fn the_card_says_what_the_model_is() {
    let model = TRAINED.model();
    let text = printed(&["info", &model]);
    assert!(text.contains("transformer (") && text.contains("CC0") && text.contains("120 updates"), "{text}");
    let value: Value = serde_json::from_str(&printed(&["info", "--json", &model])).expect("JSON");
    assert_eq!(value["card"]["source_language"], "Toy");
    assert_eq!(value["config"]["model"]["dim"], 32);
}

#[test]
fn the_printed_configuration_can_be_used_and_follows_the_arguments() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("my.toml");
    let text = printed(&["train", "--print-config", "--preset", "rnn-attention", "--set", "training.dropout=0.25"]);
    assert!(text.contains("type = \"rnn_attention\"") && text.contains("dropout = 0.25 "), "{text}");
    std::fs::write(&path, &text).expect("written");
    assert_eq!(printed(&["train", "--print-config", "--config", text_of(&path)]), text);
}

#[test]
fn the_lecture_has_its_numbers() {
    let text = printed(&["attend"]);
    // Scores, weights and context of "journey" without weights; its query; causal weights; dropped weights; both multi-head results.
    for line in [
        "scores   0.9544   1.4950   1.4754   0.8434   0.7070   1.0865",
        "softmax   0.1385   0.2379   0.2333   0.1240   0.1082   0.1581",
        "journey   0.4419   0.6515   0.5683",
        "journey   0.4306   1.4551",
        "scores   1.2705   1.8524   1.8111   1.0795   0.5577   1.5440",
        "softmax   0.1500   0.2264   0.2199   0.1311   0.0906   0.1820",
        "starts    0.3800   0.3097   0.3103   0.0000   0.0000   0.0000",
        "starts    0.7599   0.6194   0.6206   0.0000   0.0000   0.0000",
        "step     -0.5299  -0.1081   0.5077   0.3493",
        "Your      0.3190   0.4858",
    ] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.lines().any(|printed| squeezed(printed) == squeezed(line)), "{line} in\n{text}");
    }
    let causal = printed(&["attend", "--mechanism", "causal", "--query", "Your"]);
    assert!(causal.contains("-inf") && !causal.contains("Simplified"), "{causal}");
    assert!(failure(&["attend", "--query", "house"], 1).contains("Your journey starts with one step"));
}

#[test]
fn own_text_goes_through_the_models_own_weights() {
    let model = TRAINED.model();
    let value: Value = serde_json::from_str(&printed(&["attend", "--json", "--model", &model, "rot haus baum"])).expect("JSON");
    let tokens = value["tokens"].as_array().expect("tokens").len();
    assert_eq!(value["mechanisms"].as_array().expect("mechanisms").len(), 4);
    for mechanism in value["mechanisms"].as_array().expect("mechanisms") {
        let weights = mechanism["weights"].as_array().expect("rows");
        assert_eq!(weights.len(), tokens);
        for row in weights {
            let sum: f64 = row.as_array().expect("numbers").iter().map(|weight| weight.as_f64().expect("a number")).sum();
            assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        }
    }
    assert!(failure(&["attend", "--model", &model, "--head", "9", "rot"], 1).contains("the model has 4"));
}

#[test]
fn what_is_wrong_is_said_by_name() {
    assert!(failure(&["translate", "--beam", "0", "x"], 2).contains("--beam"));
    assert!(failure(&["evaluate", "--beam", "0", "x.tsv"], 2).contains("--beam"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path.display().to_string()
    };
    let model = TRAINED.model();
    let cut = path("cut.safetensors", &std::fs::read(&model).expect("a model")[..5000]);
    assert!(failure(&["translate", "--model", &cut, "x"], 1).contains("cut.safetensors"));
    assert!(failure(&["info", "/nowhere/model"], 1).contains("/nowhere/model"));
    assert!(failure(&["translate", "--model", &model, "--reading", "layer:7", "rot"], 1).contains("layers 0 to 0"));
    assert!(failure(&["translate", "--model", &model, "--input", &path("bad.txt", b"rot\n\xff\xfe\n")], 1).contains("line 2 is not UTF-8"));
    assert!(failure(&["translate", "--model", &model, &"rot ".repeat(2000)], 1).contains("break it into shorter"));
    assert!(failure(&["evaluate", "--model", &model, &path("one.tsv", b"no tab here\n")], 1).contains("missing column"));
    assert!(failure(&["train", &path("empty.tsv", b""), "-o", &path("run", b"")[..]], 1).contains("empty.tsv"));
    assert!(failure(&["train", "--set", "training.dropuot=1", "x.tsv"], 1).contains("dropuot"));
    assert!(failure(&["train"], 1).contains("nothing to train on"));
    assert!(failure(&["train", "--resume", "-o", text_of(folder.path())], 1).contains("there is no run"));
    assert!(failure(&["train", "--preset", "huge"], 2).contains("transformer"));
    assert!(failure(&["evaluate", "--columns", "1,1", "x.tsv"], 2).contains("two different numbers"));
    assert!(failure(&["translate", "--beam", "many", "x"], 2).contains("--beam"));
    assert!(failure(&["frobnicate"], 2).contains("frobnicate"));
}

#[test]
fn a_file_keeps_what_it_holds_until_there_is_something_to_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let (letter, model) = (folder.path().join("letter"), TRAINED.model());
    let letter = text_of(&letter);
    std::fs::write(letter, "rot haus\n").expect("written");
    let keeps = |command: &[&str], why: &str| {
        assert!(failure(&[command, &["--model", &model]].concat(), 1).contains(why), "{command:?}");
        assert_eq!(std::fs::read_to_string(letter).expect("it is still there"), "rot haus\n", "{command:?}");
    };
    keeps(&["translate", "--input", letter, "-o", letter], "is read");
    keeps(&["translate", "--input", "/nowhere/text", "-o", letter], "/nowhere/text");
    keeps(&["translate", "--svg", "x.svg", "-o", letter], "as an argument");
    keeps(&["score", "-o", letter], "nothing to score");
    keeps(&["score", "--input", letter, "-o", letter], "is read");
    keeps(&["evaluate", "--translations", letter, letter, letter], "is read");
    // What is shorter leaves nothing of it behind.
    printed(&["translate", "--model", &model, "--plain", "-o", letter, "rot"]);
    assert_eq!(std::fs::read_to_string(letter).expect("a translation"), "rot\n");
    let nothing = folder.path().join("nothing");
    std::fs::write(&nothing, "").expect("written");
    printed(&["translate", "--model", &model, "--input", text_of(&nothing), "-o", letter]);
    assert_eq!(std::fs::read_to_string(letter).expect("no translation"), "");
}

#[test]
fn what_is_drawn_at_random_does_not_repeat_itself_line_by_line() {
    let model = TRAINED.model();
    let mut command = heedful();
    command.args(["translate", "--model", &model, "--sample", "--temperature", "3"]).write_stdin("rot haus baum hund\n".repeat(530));
    let text = String::from_utf8(command.output().expect("it runs").stdout).expect("UTF-8");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 530);
    assert_ne!(lines[..18], lines[512..]);
}

#[test]
fn training_goes_on_when_nobody_reads_what_it_says() {
    let (pairs, folder) = (TRAINED.path("pairs.tsv"), tempfile::tempdir().expect("a folder"));
    let run = folder.path().join("run");
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("heedful"))
        .args(["train", text_of(&pairs), "-o", text_of(&run)])
        .args(TINY)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it runs");
    drop(child.stderr.take());
    assert!(child.wait().expect("it ends").success());
    assert!(run.join("model.safetensors").exists());
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("heedful"))
        .arg("attend")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_command_has_examples_in_its_help_and_completions_exist() {
    for command in ["translate", "train", "compare", "evaluate", "align", "score", "attend", "explore", "info", "completions"] {
        assert!(printed(&[command, "--help"]).contains("Examples:\n  heedful"), "{command}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(printed(&["completions", shell]).contains("translate"));
    }
}

#[test]
fn the_built_in_model_translates_and_says_where_each_word_came_from() {
    let text = printed(&["translate", "Kannst du mir helfen, diesen Satz zu übersetzen?"]);
    assert!(text.starts_with("Can you help me translate this sentence?\n"), "{text}");
    for (target, source) in [("help", "helfen"), ("translate", "übersetzen"), ("sentence", "Satz")] {
        let pair = |line: &str| line.split_whitespace().take(2).eq([target, source]);
        assert!(text.lines().any(pair), "{target} does not come from {source}:\n{text}");
    }
    assert!(printed(&["info"]).contains("CC BY 2.0"));
}

#[test]
fn every_rung_of_the_ladder_is_built_in() {
    for (name, architecture) in [("built-in", "transformer"), ("built-in:rnn-attention", "rnn_attention"), ("built-in:rnn", "rnn")] {
        assert!(printed(&["info", name]).contains(&format!("{architecture} (")), "{name}");
        let sentence: Value =
            serde_json::from_str(&printed(&["translate", "--model", name, "--json", "Ich habe keine Zeit."])).expect("JSON");
        let sentence = sentence.to_string();
        assert!(sentence.contains("I don't have time.") || sentence.contains("I have no time."), "{name}: {sentence}");
    }
    let blind = printed(&["translate", "--model", "built-in:rnn", "Das ist gut. Ich habe keine Zeit."]);
    assert_eq!(blind.matches("This model has no attention").count(), 1, "{blind}");
    assert!(failure(&["info", "built-in:lstm"], 1).contains("built-in:lstm"));
}

#[test]
fn attention_that_was_guided_aligns_as_it_was_taught() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (mut text, mut links) = (String::new(), String::new());
    for words in sentences(1500) {
        let reversed: Vec<&str> = words.iter().rev().copied().collect();
        writeln!(text, "{}\t{}", words.join(" "), reversed.join(" ")).expect("into a string");
        let pairs: Vec<String> = (0..words.len()).map(|i| format!("{i}-{}", words.len() - 1 - i)).collect();
        writeln!(links, "{}", pairs.join(" ")).expect("into a string");
    }
    let first = |text: &str| text.lines().take(40).map(|line| line.to_owned() + "\n").collect::<String>();
    for (name, content) in [("pairs.tsv", &text), ("links", &links), ("test.tsv", &first(&text)), ("test.links", &first(&links))] {
        std::fs::write(path(name), content).expect("written");
    }
    let (pairs, links, run, model) = (path("pairs.tsv"), path("links"), path("run"), path("run/model.safetensors"));
    let mut arguments = vec!["train", &pairs, "--links", &links, "-o", &run, "--set=training.guide_weight=1"];
    arguments.extend(TINY);
    printed(&arguments);

    let (test, gold) = (path("test.tsv"), path("test.links"));
    let measured = printed(&["align", "--model", &model, &test, "--gold", &gold, "--json"]);
    let rows: Value = serde_json::from_str(&measured).expect("JSON");
    let aer = |reading: &str| {
        let row = rows.as_array().expect("rows").iter().find(|row| row["reading"] == reading).expect("a row");
        row["aer"].as_f64().expect("a number")
    };
    assert!(aer("layer:0+shift") < 0.1, "{measured}");
    assert!(aer("layer:0") > 0.3, "what was not guided reads otherwise: {measured}");

    let beside = printed(&["align", "--model", &model, &test, "--gold", &gold, "--reading", "last", "--beside", &gold, "--beside", &gold]);
    let all_right = |name: &str| beside.lines().any(|line| line.starts_with(name) && line.contains(" 0.0      100.0   100.0"));
    assert!(all_right(&gold) && all_right("both files, grow-diag-final-and"), "{beside}");
    assert!(failure(&["align", "--model", &model, &test, "--gold", &gold, "--beside", &links], 1).contains("1500 lines"));

    // What the model file remembers is the reading that was guided; the other direction of a palindromic task is the same model.
    let lines = printed(&["align", "--model", &model, "--both", &model, &test, "--threshold", "0.5"]);
    assert_eq!(lines.lines().count(), 40);
    let taught = std::fs::read_to_string(&gold).expect("links");
    let right = lines.lines().zip(taught.lines()).filter(|(a, b)| {
        let sorted = |line: &str| {
            let mut links: Vec<String> = line.split(' ').map(str::to_owned).collect();
            links.sort();
            links
        };
        sorted(a) == sorted(b)
    });
    assert!(right.count() >= 34, "{lines}");
    assert!(failure(&["align", "--model", &model, &test, "--gold", &links], 1).contains("1500 lines, and the text 40 pairs"));
    assert!(failure(&["align", "--model", &model, &test, "--reading", "layer:7"], 1).contains("layers 0 to 0"));
}

#[test]
fn words_are_aligned_without_a_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (mut text, mut gold) = (String::new(), String::new());
    for words in sentences(1500) {
        let shouted = words.join(" ").to_uppercase();
        writeln!(text, "{}\t{}", shouted.split(' ').rev().collect::<Vec<_>>().join(" "), words.join(" ")).expect("into a string");
        let links: Vec<String> = (0..words.len()).map(|i| format!("{i}-{}", words.len() - 1 - i)).collect();
        writeln!(gold, "{}", links.join(" ")).expect("into a string");
    }
    let (pairs, links) = (path("pairs.tsv"), path("gold"));
    std::fs::write(&pairs, text).and_then(|()| std::fs::write(&links, gold)).expect("written");
    let measured = printed(&["align", "--hmm", &pairs, "--gold", &links, "--json"]);
    let rows: Value = serde_json::from_str(&measured).expect("JSON");
    let named = |name: &str| rows.as_array().expect("rows").iter().find(|row| row["reading"] == name).expect("a row").clone();
    for name in ["hmm", "reverse hmm", "hmm, grow-diag-final-and"] {
        assert!(named(name)["aer"].as_f64().is_some_and(|aer| aer < 0.05), "{name}: {measured}");
    }

    let found = path("found");
    assert_eq!(printed(&["align", "--hmm", &pairs, "--gold", &links, "--json", "-o", &found]), "");
    assert_eq!(std::fs::read_to_string(&found).expect("a report"), measured);
    printed(&["align", "--hmm", &pairs, "-o", &found, "--symmetrise", "intersection"]);
    let count = std::fs::read_to_string(&found).expect("links").split_whitespace().count();
    assert_eq!(Some(count as u64), named("hmm, intersection")["links"].as_u64());
    for wrong in [["--both", "built-in"], ["--model", "built-in"], ["--reading", "last"], ["--no-source", "1"]] {
        failure(&[&["align", "--hmm", &pairs], &wrong[..]].concat(), 2);
    }
    assert!(failure(&["align", "--stem", "4", &pairs], 2).contains("--hmm"));
    assert!(failure(&["align", "--symmetrise", "union", &pairs], 2).contains("--both"));
}
