//! Cases of other implementations, replayed through the same runner as `examples/conformance`.

#[path = "../examples/conformance/runner/mod.rs"]
mod runner;

use std::path::Path;

use heedful_cases::{Suite, find_suites, replay};

#[test]
fn recorded_cases_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases");
    let mut passed = 0;
    let mut failed = Vec::new();
    for suite in find_suites(&folder).unwrap() {
        let report = replay(&Suite::read(&suite).unwrap(), &runner::Engine);
        if report.failed() > 0 {
            failed.push(report.to_string());
        }
        passed += report.passed();
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    // The cases of the folder, but for advisory ones and those whose operation is another crate's.
    assert!(passed >= 80, "only {passed} cases were replayed");
}
