//! Cases of other implementations, replayed through the same runner as `examples/layer_conformance`.

#[path = "../examples/layer_conformance/runner/mod.rs"]
mod runner;

use std::path::Path;

use heedful_cases::{Suite, find_suites, replay};

#[test]
fn recorded_cases_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases");
    let mut passed = 0;
    for suite in find_suites(&folder).expect("the folder of suites") {
        let report = replay(&Suite::read(&suite).expect("a suite"), &runner::Layers);
        assert_eq!(report.passed(), report.verdicts().len(), "{report}");
        passed += report.passed();
    }
    assert_eq!(passed, 38);
}
