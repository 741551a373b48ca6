//! Cases of other implementations, replayed through the same runner as `examples/conformance`.

#[path = "../examples/conformance/runner/mod.rs"]
mod runner;

use std::collections::BTreeMap;
use std::path::Path;

use heedful_cases::{Case, Outputs, Runner, Suite, Tensor, find_suites, replay};
use serde_json::Value;

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

/// A case of `sdpa` with these inputs and no recorded outputs.
fn sdpa(inputs: [(&str, Tensor); 5]) -> Case {
    let attributes = [("causal", "none".into()), ("scale", Value::Null), ("enable_gqa", false.into())];
    Case {
        suite: "ranks".into(),
        name: "case".into(),
        op: "sdpa".into(),
        attributes: attributes.map(|(name, value)| (name.to_owned(), value)).into_iter().collect(),
        inputs: inputs.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect(),
        outputs: BTreeMap::new(),
        tags: Vec::new(),
        advisory: false,
    }
}

/// Part `index` of a tensor along its first dimension, or the tensor itself if that dimension is 1 or missing at this rank.
fn part(tensor: &Tensor, rank: usize, index: usize) -> Tensor {
    if tensor.shape.len() < rank {
        return tensor.clone();
    }
    let size: usize = tensor.shape[1..].iter().product();
    let start = if tensor.shape[0] == 1 { 0 } else { index * size };
    Tensor::doubles(&tensor.shape[1..], tensor.f64s().unwrap()[start..start + size].to_vec())
}

#[test]
fn leading_dimensions_are_so_many_calls() {
    let tensor = |seed: usize, shape: &[usize]| {
        let values = (0..shape.iter().product()).map(|i: usize| ((i * 37 + seed * 11) % 101) as f64 / 50.0 - 1.0).collect();
        Tensor::doubles(shape, values)
    };
    for mask in [&[4, 6][..], &[3, 1, 4, 6], &[1, 2, 4, 1], &[2, 1, 1, 1, 6], &[2, 3, 2, 4, 6], &[1, 3, 1, 4, 1]] {
        let inputs = [
            ("q", tensor(1, &[2, 3, 2, 4, 5])),
            ("k", tensor(2, &[2, 3, 2, 6, 5])),
            ("v", tensor(3, &[2, 3, 2, 6, 7])),
            ("attn_mask", tensor(4, mask)),
            ("d_out", tensor(5, &[2, 3, 2, 4, 7])),
        ];
        let whole = runner::Engine.tensors(&sdpa(inputs.clone())).unwrap();
        let parts = [0, 1].map(|index| {
            let inputs = inputs.each_ref().map(|(name, tensor)| (*name, part(tensor, 5, index)));
            runner::Engine.tensors(&sdpa(inputs)).unwrap()
        });
        for name in ["out", "dq", "dk", "dv", "d_attn_mask"] {
            let numbers = |outputs: &Outputs| outputs.get(name).unwrap().f64s().unwrap().to_vec();
            let (got, [a, b]) = (numbers(&whole), parts.each_ref().map(numbers));
            let separate = got.len() == a.len() + b.len();
            let expected: Vec<f64> = if separate { [a, b].concat() } else { a.iter().zip(&b).map(|(a, b)| a + b).collect() };
            assert_eq!(got.len(), expected.len());
            assert!(got.iter().zip(&expected).all(|(g, e)| (g - e).abs() < 1e-5), "{name} with mask {mask:?}");
        }
    }
}
