//! A suite written to disk and replayed through a runner that is right, wrong, silent, unwilling or broken.

use std::collections::BTreeMap;
use std::{fs, path::PathBuf};

use heedful_cases::{Case, Outputs, Runner, Stop, Suite, Tensor, Verdict, find_suites, replay};
use safetensors::tensor::{Dtype, TensorView};

struct Doubler;

impl Runner for Doubler {
    fn tensors(&self, case: &Case) -> Result<Outputs, Stop> {
        case.only_attributes(&["opset"])?;
        let x = case.input("x")?;
        let doubled = Tensor::floats(&x.shape, x.f32s()?.iter().map(|x| 2.0 * x));
        match case.op.as_str() {
            "double" => Ok(Outputs::new().with("y", doubled)),
            "silent" => Ok(Outputs::new()),
            "broken" => panic!("no such luck"),
            other => Err(Stop::skip(format!("not {other}"))),
        }
    }
}

/// A folder of its own for each test, removed when the test ends.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn folder(name: &str) -> Folder {
    let path = std::env::temp_dir().join(format!("heedful-cases-{}-{name}", std::process::id()));
    fs::create_dir_all(path.join("suite")).unwrap();
    Folder(path)
}

fn write_suite(folder: &Folder, cases: &str) {
    let bytes = |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|x| x.to_le_bytes()).collect() };
    let (x, y) = (bytes(&[1.0, f32::NAN, 2.5]), bytes(&[2.0, f32::NAN, 5.0]));
    let half: Vec<u8> = [0x3c00u16, 0x7e00, 0x4100].iter().flat_map(|x| x.to_le_bytes()).collect();
    let tensors = BTreeMap::from([
        ("x", TensorView::new(Dtype::F32, vec![3], &x).unwrap()),
        ("y", TensorView::new(Dtype::F32, vec![3], &y).unwrap()),
        ("h", TensorView::new(Dtype::F16, vec![3], &half).unwrap()),
    ]);
    fs::write(folder.0.join("suite/t.safetensors"), safetensors::serialize(tensors, None).unwrap()).unwrap();
    fs::write(folder.0.join("suite/manifest.json"), format!(r#"{{"suite": "s", "tensors": "t.safetensors", "cases": [{cases}]}}"#))
        .unwrap();
}

fn case(op: &str, input: &str, output: &str, extra: &str) -> String {
    format!(
        r#"{{"name": "{op}{extra}", "op": "{op}", "attrs": {{"opset": 1 {extra}}}, "inputs": {{"x": {{"t": "{input}"}}}},
            "outputs": {{"y": {{"t": "{output}", "rtol": 1e-6, "atol": 0}}}}}}"#
    )
    .replace('\n', " ")
}

#[test]
fn every_verdict() {
    let folder = folder("verdicts");
    let cases = [
        case("double", "x", "y", ""),
        case("double", "h", "y", ""),
        case("double", "x", "x", ""),
        case("silent", "x", "y", ""),
        case("broken", "x", "y", ""),
        case("triple", "x", "y", ""),
    ];
    let advisory = case("double", "x", "x", "").replacen("\"op\"", "\"advisory\": true, \"op\"", 1);
    let unknown = case("double", "x", "y", "").replace("opset", "sweetness");
    write_suite(&folder, &[cases.join(","), advisory, unknown].join(","));
    let suites = find_suites(&folder.0).unwrap();
    let report = replay(&Suite::read(&suites[0]).unwrap(), &Doubler);
    let kinds: Vec<char> = report
        .verdicts()
        .iter()
        .map(|(_, verdict)| match verdict {
            Verdict::Passed => 'p',
            Verdict::Failed(_) => 'f',
            Verdict::Advisory(_) => 'a',
            Verdict::Skipped(_) => 's',
        })
        .collect();
    assert_eq!(kinds, ['p', 'p', 'f', 'f', 'f', 's', 'a', 'f']);
    let text = report.to_string();
    assert!(text.starts_with("s: 2 passed, 4 failed, 1 advisory, 1 skipped\n"), "{text}");
    for part in ["largest error 2.500e0, allowed 2.500e-6", "y was not computed", "no such luck", "not triple", "sweetness is unknown"] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
}

#[test]
fn a_folder_without_a_suite_is_an_error() {
    let folder = folder("empty");
    assert!(find_suites(&folder.0).unwrap_err().contains("neither a suite"));
    fs::write(folder.0.join("suite/manifest.json"), "{").unwrap();
    assert!(Suite::read(&folder.0.join("suite")).unwrap_err().contains("manifest.json"));
}
