//! Everyday sentences that the built-in model has never seen, with every translation that counts as right.

use assert_cmd::Command;

/// Kind, German sentence, accepted English sentences; separated by tabs. None of them, on either side, is in the training text.
const SENTENCES: &str = include_str!("everyday.tsv");
/// How many of the 40 the built-in model gets right; another model may only get better.
const RIGHT: usize = 32;

#[test]
fn sentences_with_names_numbers_questions_negations_and_separable_verbs_come_out_right() {
    let rows: Vec<Vec<&str>> = SENTENCES.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows.len(), 40);
    let input: String = rows.iter().flat_map(|row| [row[1], "\n"]).collect();
    let output = Command::cargo_bin("heedful").expect("the program").arg("translate").write_stdin(input).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout).expect("UTF-8");
    let translations: Vec<&str> = output.lines().collect();
    assert_eq!(translations.len(), rows.len(), "{output}");

    let wrong: Vec<String> = rows
        .iter()
        .zip(translations)
        .filter(|(row, translation)| !row[2..].contains(translation))
        .map(|(row, translation)| format!("{}: {} -> {translation} (accepted: {})", row[0], row[1], row[2..].join(" | ")))
        .collect();
    println!("{} of {} right", rows.len() - wrong.len(), rows.len());
    assert!(rows.len() - wrong.len() >= RIGHT, "{} of {} wrong:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
