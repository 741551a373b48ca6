//! Model files: what is written reads back, and whatever is wrong in one is refused by name.

use std::sync::LazyLock;

use heedful_translate::bundle::{Bundle, BundleConfig, Card, CardScore};
use heedful_translate::config::Storage;
use heedful_translate::model::config::{ModelConfig, TransformerConfig};
use heedful_translate::model::{Start, build};
use heedful_translate::text::{BOS, EOS, Tokenizer};
use proptest::prelude::*;
use safetensors::SafeTensors;
use serde_json::{Value, json};

fn bundle() -> Bundle {
    let tokenizer = Tokenizer::learn(&["das ist ein Haus", "this is a house"], 300).expect("a tokenizer");
    let sizes = TransformerConfig { dim: 8, feed_forward: 16, heads: 2, encoder_layers: 1, decoder_layers: 1 };
    let config = BundleConfig { model: ModelConfig::Transformer(sizes), ..Default::default() };
    let model = build(&config.model, tokenizer.vocabulary_size(), Start::Random(7));
    let score = CardScore { test_set: "valid".into(), metric: "BLEU".into(), value: 41.25, signature: "nrefs:1".into() };
    let card = Card { name: "tiny".into(), licence: "CC0".into(), scores: vec![score], ..Default::default() };
    Bundle { config, tokenizer, model, card }
}

static F32: LazyLock<Vec<u8>> = LazyLock::new(|| bundle().to_bytes(Storage::F32).expect("finite weights"));
static I8: LazyLock<Vec<u8>> = LazyLock::new(|| bundle().to_bytes(Storage::I8).expect("finite weights"));

/// The error of reading a file.
fn refusal(bytes: &[u8]) -> String {
    match Bundle::from_bytes(bytes) {
        Ok(_) => panic!("a damaged file was read"),
        Err(error) => error.to_string(),
    }
}

/// The file with another header; the numbers stay.
fn with_header(file: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let (json, data) = split(file);
    let mut header = serde_json::from_slice(json).expect("JSON");
    change(&mut header);
    with_json(&header.to_string(), data)
}

fn split(file: &[u8]) -> (&[u8], &[u8]) {
    let length = u64::from_le_bytes(*file.first_chunk().expect("eight bytes")) as usize;
    file[8..].split_at(length)
}

fn with_json(json: &str, data: &[u8]) -> Vec<u8> {
    [&(json.len() as u64).to_le_bytes(), json.as_bytes(), data].concat()
}

/// The file with one key of its configuration changed.
fn with_config(path: &str, value: Value) -> Vec<u8> {
    with_header(&F32, |header| {
        let text = &mut header["__metadata__"]["heedful.config"];
        let mut config: Value = serde_json::from_str(text.as_str().expect("text")).expect("JSON");
        let (section, key) = path.split_once('.').expect("section.key");
        config[section][key] = value;
        *text = config.to_string().into();
    })
}

#[test]
fn a_model_reads_back_from_memory_and_from_a_file() {
    let original = bundle();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("new").join("model.safetensors");
    original.save(&path, Storage::F32).expect("written");
    for copy in [Bundle::open(&path).expect("read"), Bundle::from_bytes(&F32).expect("read")] {
        assert_eq!(copy.model.parameters().values(), original.model.parameters().values());
        assert_eq!((&copy.config, &copy.card), (&original.config, &original.card));
        assert_eq!(copy.tokenizer.encode_ids("ein house ☺"), original.tokenizer.encode_ids("ein house ☺"));
    }
    original.save(&path, Storage::F16).expect("written over the old one");
    assert_eq!(std::fs::read_dir(path.parent().expect("a folder")).expect("readable").count(), 1, "no temporary file is left");
    assert_eq!(std::fs::read(&path).expect("read"), bundle().to_bytes(Storage::F16).expect("finite"), "same model, same bytes");
}

#[test]
fn smaller_storage_is_smaller_and_close() {
    let original = bundle();
    let sizes = [Storage::F32, Storage::F16, Storage::I8].map(|storage| {
        let bytes = original.to_bytes(storage).expect("finite weights");
        let copy = Bundle::from_bytes(&bytes).expect("read");
        for entry in original.model.parameters().entries() {
            let [before, after] = [&original, &copy].map(|bundle| &bundle.model.parameters()[entry.parameter]);
            let largest = before.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            let tolerance = match storage {
                Storage::F32 => 0.0,
                Storage::F16 => largest / 2048.0,
                Storage::I8 => largest / 250.0,
            };
            for (x, y) in before.iter().zip(after) {
                assert!((x - y).abs() <= tolerance, "{} {x} {y}", entry.name);
            }
        }
        split(&bytes).1.len()
    });
    assert!(sizes[1] * 2 == sizes[0] && sizes[2] < sizes[1] * 8 / 10, "{sizes:?}");
}

/// The scores of the first word of a translation.
fn first_scores(bundle: &Bundle) -> Vec<f32> {
    bundle.model.decoder(&[&[40, 41, 42, EOS]]).step(&[BOS]).to_vec()
}

#[test]
fn a_model_stored_in_eight_bits_computes_in_eight_bits_until_its_weights_change() {
    let mut bundle = Bundle::from_bytes(&I8).expect("read");
    let rounded = first_scores(&bundle);
    assert!(bundle.model.parameters().are_eight_bits());
    assert!(!Bundle::from_bytes(&F32).expect("read").model.parameters().are_eight_bits());
    bundle.model.parameters_mut().values_mut();
    let exact = first_scores(&bundle);
    let largest = exact.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let difference = rounded.iter().zip(&exact).fold(0.0f32, |largest, (a, b)| largest.max((a - b).abs()));
    assert!(difference > 0.0 && difference < 0.03 * largest, "{difference} of {largest}");
}

#[test]
fn other_programs_can_read_the_file() {
    let original = bundle();
    let tensors = SafeTensors::deserialize(&F32).expect("a valid file");
    assert_eq!(tensors.len(), original.model.parameters().entries().len());
    for entry in original.model.parameters().entries() {
        let tensor = tensors.tensor(&entry.name).expect("every parameter");
        assert_eq!(tensor.shape(), entry.shape);
        let bytes: Vec<u8> = original.model.parameters()[entry.parameter].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(tensor.data(), bytes);
    }
    assert!(SafeTensors::deserialize(&I8).is_ok());
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for file in [&*F32, &*I8] {
        for end in (0..file.len()).step_by(97).chain([0, 7, 8, 9, file.len() - 1]) {
            refusal(&file[..end]);
        }
        assert!(refusal(&[file, [0].as_slice()].concat()).contains("there are more"));
    }
    assert!(refusal(b"").contains("0 bytes"));
}

#[test]
fn a_huge_header_is_refused_before_it_is_read() {
    for length in [u64::MAX, 1 << 32, 100_000_001] {
        assert!(refusal(&[length.to_le_bytes().as_slice(), b"{}"].concat()).contains(&length.to_string()));
    }
    assert!(refusal(&with_json("", b"")[..8]).contains("header"));
    let missing = std::path::Path::new("/dev/zero");
    if missing.exists() {
        assert!(Bundle::open(missing).is_err());
    }
}

#[test]
fn tensors_must_be_those_of_the_model() {
    let name = "decoder.norm.gain";
    assert!(split(&F32).0.windows(name.len()).any(|part| part == name.as_bytes()), "the test's tensor exists");
    let change = |key: &str, value: Value| with_header(&F32, |header| header[name][key] = value);
    for (file, expected) in [
        (change("shape", json!([4, 2])), "its shape is [4, 2] and the model needs [8]"),
        (change("shape", json!([9])), "do not fill bytes"),
        (change("shape", json!([u64::MAX, u64::MAX])), "do not fill bytes"),
        (change("dtype", json!("F16")), "do not fill bytes"),
        (change("dtype", json!("F64")), "unknown variant `F64`"),
        (change("data_offsets", json!([0, 32])), "overlaps"),
        (change("data_offsets", json!([32, 0])), "do not fill bytes 32 to 0"),
        (change("data_offsets", json!([1u64 << 40, (1u64 << 40) + 32])), "leaves a gap"),
        (change("colour", json!("red")), "unknown field `colour`"),
        (with_header(&F32, |header| header["extra"] = json!({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]})), "`extra`"),
    ] {
        let error = refusal(&file);
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(name) || error.contains("extra") || expected == "overlaps" || expected == "leaves a gap", "{error}");
    }
    let renamed = with_header(&F32, |header| {
        let info = header[name].take();
        header.as_object_mut().expect("an object").remove(name);
        header["decoder.norm.weight"] = info;
    });
    assert!(refusal(&renamed).contains(&format!("tensor `{name}`: it is missing")));
    let scale = "embedding.table.scale";
    let unscaled = with_header(&I8, |header| {
        let info = header[scale].take();
        header.as_object_mut().expect("an object").remove(scale);
        header["scales"] = info;
    });
    assert!(refusal(&unscaled).contains(&format!("tensor `{scale}`: it is missing")));
}

#[test]
fn nan_and_infinity_are_refused_by_tensor() {
    let (json, _) = split(&F32);
    let header: Value = serde_json::from_slice(json).expect("JSON");
    for bad in [f32::NAN, f32::INFINITY] {
        let name = "encoder.norm.bias";
        let start = 8 + json.len() + header[name]["data_offsets"][0].as_u64().expect("a place") as usize;
        let mut file = F32.clone();
        file[start + 4..start + 8].copy_from_slice(&bad.to_le_bytes());
        assert!(refusal(&file).contains(&format!("tensor `{name}`: it holds NaN or infinity")));

        let mut bundle = bundle();
        bundle.model.parameters_mut().values_mut()[0] = bad;
        assert!(bundle.to_bytes(Storage::F32).is_err());
    }
    let mut bundle = bundle();
    bundle.model.parameters_mut().values_mut()[0] = 1e5;
    assert!(bundle.to_bytes(Storage::F16).expect_err("beyond 16 bits").to_string().contains("store the model as f32"));
}

#[test]
fn metadata_must_be_complete_and_known() {
    for key in ["heedful.format", "heedful.config", "heedful.tokenizer", "heedful.card"] {
        let removed = with_header(&F32, |header| {
            header["__metadata__"].as_object_mut().expect("an object").remove(key);
        });
        assert!(refusal(&removed).contains(&format!("metadata `{key}`: it is missing")));
        let damaged = with_header(&F32, |header| header["__metadata__"][key] = "{\"a\":".into());
        assert!(refusal(&damaged).contains(&format!("metadata `{key}`")));
    }
    let newer = with_header(&F32, |header| header["__metadata__"]["heedful.format"] = "2".into());
    assert!(refusal(&newer).contains("update heedful"));
    assert!(refusal(&with_header(&F32, |header| header["__metadata__"]["heedful.format"] = json!(1))).contains("a string"));
    assert!(refusal(&with_json("{}", b"")).contains("no heedful model"));
    assert!(refusal(&with_json("[]", b"")).contains("header"));
}

#[test]
fn configurations_out_of_range_are_refused_before_memory_is_asked_for() {
    assert!(refusal(&with_config("model.heads", json!(3))).contains("`model.heads` is 3"));
    assert!(refusal(&with_config("model.dim", json!(0))).contains("`model.dim` is 0"));
    assert!(refusal(&with_config("model.dim", json!(u64::MAX))).contains("`model.dim`"));
    assert!(refusal(&with_config("model.dim", json!(16384))).contains("a model of at least"));
    assert!(refusal(&with_config("model.type", json!("cnn"))).contains("unknown variant `cnn`"));
    assert!(refusal(&with_config("model.colour", json!(1))).contains("unknown field `colour`"));
    assert!(refusal(&with_config("decoding.reading", json!("layer:1"))).contains("layers 0 to 0"));
    assert!(refusal(&with_config("decoding.beam", json!(0))).contains("`decoding.beam` is 0"));
}

#[test]
fn a_key_that_occurs_twice_is_refused() {
    let (json, data) = split(&F32);
    let json = std::str::from_utf8(json).expect("text").trim_end();
    let inside = &json[1..json.len() - 1];
    assert!(refusal(&with_json(&format!("{{{inside},\"__metadata__\":{{}}}}"), data)).contains("`__metadata__` occurs twice"));
    let tensor = "\"encoder.norm.bias\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,32]}";
    assert!(refusal(&with_json(&format!("{{{inside},{tensor}}}"), data)).contains("tensor `encoder.norm.bias` occurs twice"));
    let twice = json.replacen("\"heedful.format\":\"1\"", "\"heedful.format\":\"1\",\"heedful.format\":\"1\"", 1);
    assert!(refusal(&with_json(&twice, data)).contains("`heedful.format` occurs twice"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), json: bool) {
        let file = if json { with_json(&String::from_utf8_lossy(&bytes), &bytes) } else { bytes };
        prop_assert!(Bundle::from_bytes(&file).is_err());
    }

    #[test]
    fn damage_in_the_header_never_panics(place in 0.0..1.0f64, with in any::<u8>(), eight_bits: bool) {
        let mut file = if eight_bits { I8.clone() } else { F32.clone() };
        let end = 8 + split(&file).0.len();
        let place = (place * end as f64) as usize;
        file[place] = with;
        // A changed letter in a text of the card is still a valid file.
        let _ = Bundle::from_bytes(&file);
    }
}
