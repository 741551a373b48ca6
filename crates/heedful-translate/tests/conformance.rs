//! Recorded cases of sacreBLEU and of lilt's alignment scripts, replayed by the runner of the `score_conformance` example.

#[path = "../examples/score_conformance/runner.rs"]
mod runner;

use std::path::Path;

use heedful_cases::{Suite, Verdict, find_suites, replay};

#[test]
fn scores_and_alignments_are_as_others_compute_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases");
    let suites = find_suites(&folder).unwrap();
    assert_eq!(suites.len(), 4);
    for suite in suites {
        let report = replay(&Suite::read(&suite).unwrap(), &runner::Translation);
        assert!(!report.verdicts().is_empty() && report.verdicts().iter().all(|(_, verdict)| *verdict == Verdict::Passed), "{report}");
    }
}
