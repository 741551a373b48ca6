//! One model, one file: a `.safetensors` file with the weights, and in its metadata the configuration, the tokenizer and the model card.
//!
//! | metadata key | what |
//! |---|---|
//! | `heedful.format` | the version of this layout, `1` |
//! | `heedful.config` | JSON: architecture and sizes, and how to decode by default ([`BundleConfig`]) |
//! | `heedful.tokenizer` | JSON: [`Tokenizer::to_json`] |
//! | `heedful.card` | JSON: [`Card`] |
//!
//! A tensor has the name and shape of its parameter, as `F32`, `F16` or `I8`. An `I8` tensor `NAME` of `[…, columns]` has a companion `NAME.scale`,
//! `F32` of `[rows]`: a number is its byte times its row's scale, and linear layers compute with it in 8 bits
//! ([`EightBits`]). Whatever a file holds, reading it gives a model that can be used or a [`BundleError`].

mod card;
mod error;
mod header;
mod numbers;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use heedful_nn::EightBits;
use serde::{Deserialize, Serialize};

use crate::config::{DecodingConfig, Storage};
use crate::files::write_atomically;
use crate::model::config::ModelConfig;
use crate::model::{self, Model, Start};
use crate::text::Tokenizer;
use crate::translator::{TranslateError, TranslateOptions, Translator};

pub use card::{Card, CardScore};
pub use error::BundleError;
use header::{Dtype, Header, Info, LENGTH_BYTES};

/// [`TranslateOptions::batch_tokens`] of a model in 8 bits. Its weights are laid out for products once, not at each product, so a batch need not be
/// large; and a small one leaves the scores of its vocabulary in the cache.
const EIGHT_BITS_BATCH: usize = 256;

const VERSION: &str = "1";
const FORMAT: &str = "heedful.format";
const CONFIG: &str = "heedful.config";
const TOKENIZER: &str = "heedful.tokenizer";
const CARD: &str = "heedful.card";

/// What a model is and how it translates by default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BundleConfig {
    /// The architecture and its sizes.
    pub model: ModelConfig,
    /// How to decode.
    pub decoding: DecodingConfig,
}

/// Everything that is needed to translate, and to know what one translates with.
pub struct Bundle {
    /// What the model is and how it translates by default.
    pub config: BundleConfig,
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// The model with its weights.
    pub model: Box<dyn Model>,
    /// What the model says about itself.
    pub card: Card,
}

impl Bundle {
    /// Reads a model file.
    ///
    /// # Errors
    /// If the file cannot be read, or as [`Self::from_bytes`].
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let failed = |source: io::Error| BundleError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        // The header is checked before the rest is read: what is no model file is refused without filling the memory with it.
        let mut first = Vec::with_capacity(LENGTH_BYTES);
        file.by_ref().take(LENGTH_BYTES as u64).read_to_end(&mut first).map_err(failed)?;
        let length = header_length(&first)?;
        let mut json = Vec::new();
        file.by_ref().take(length as u64).read_to_end(&mut json).map_err(failed)?;
        let header = Header::parse(whole(&json, length)?)?;
        let mut data = Vec::new();
        // One byte more than expected, to notice a file that goes on.
        file.take(header.data_len() as u64 + 1).read_to_end(&mut data).map_err(failed)?;
        Self::assemble(&header, &data)
    }

    /// Reads a model file that is in memory.
    ///
    /// # Errors
    /// Whatever is wrong with it: see [`BundleError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        let length = header_length(bytes)?;
        let rest = &bytes[LENGTH_BYTES..];
        let header = Header::parse(whole(rest, length)?)?;
        Self::assemble(&header, &rest[length..])
    }

    fn assemble(header: &Header, data: &[u8]) -> Result<Self, BundleError> {
        if data.len() != header.data_len() {
            let found = if data.len() < header.data_len() { format!("only {}", data.len()) } else { "more".to_owned() };
            return Err(BundleError::Damaged(format!(
                "its tensors need {} bytes after the header, and there are {found}",
                header.data_len()
            )));
        }
        let format = metadata(header, FORMAT)?;
        if format != VERSION {
            let what = format!(
                "the file has version {format:?} and this program reads {VERSION:?}; update heedful, or get a model of this version"
            );
            return Err(BundleError::Metadata { key: FORMAT, what });
        }
        let config: BundleConfig = json(header, CONFIG)?;
        let card = json(header, CARD)?;
        config
            .model
            .check()
            .and_then(|()| config.decoding.check())
            .map_err(|error| BundleError::Metadata { key: CONFIG, what: error.to_string() })?;
        let tokenizer = Tokenizer::from_json(metadata(header, TOKENIZER)?)
            .map_err(|error| BundleError::Metadata { key: TOKENIZER, what: error.to_string() })?;

        // Sizes are compared before anything of that size is allocated.
        let stored: u128 = header.tensors.values().filter_map(Info::elements).map(|elements| elements as u128).sum();
        let least = config.model.least_weights(tokenizer.vocabulary_size());
        if least > stored {
            let what =
                format!("it describes a model of at least {least} weights, and the file has {stored}; the file is damaged: get it again");
            return Err(BundleError::Metadata { key: CONFIG, what });
        }
        let mut model = model::build(&config.model, tokenizer.vocabulary_size(), Start::Blank);
        if let Some(attention) = model.cross_attention() {
            config.decoding.reading.check(attention).map_err(|error| BundleError::Metadata { key: CONFIG, what: error.to_string() })?;
        }
        fill(model.as_mut(), header, data)?;
        Ok(Self { config, tokenizer, model, card })
    }

    /// The translator that this is, and how it translates by default.
    ///
    /// # Errors
    /// If tokenizer and model do not belong together.
    pub fn into_translator(self) -> Result<(Translator, TranslateOptions), TranslateError> {
        let mut options = self.config.decoding.options();
        if self.model.parameters().are_eight_bits() {
            options.batch_tokens = EIGHT_BITS_BATCH;
        }
        let translator = Translator::new(Arc::from(self.model), self.tokenizer)?.with_reading(self.config.decoding.reading)?;
        Ok((translator, options))
    }

    /// Writes the model file: beside `path` first, then renamed, so that `path` is never a part of one.
    ///
    /// # Errors
    /// If a weight cannot be stored, or the file not be written.
    pub fn save(&self, path: &Path, storage: Storage) -> Result<(), BundleError> {
        let bytes = self.to_bytes(storage)?;
        write_atomically(path, &bytes).map_err(|source| BundleError::Write { path: path.to_owned(), source })
    }

    /// The model file. The same model gives the same bytes.
    ///
    /// # Errors
    /// If a weight is NaN, infinite or beyond 16 bits.
    pub fn to_bytes(&self, storage: Storage) -> Result<Vec<u8>, BundleError> {
        let parameters = self.model.parameters();
        let mut header = Header { metadata: self.metadata(), tensors: BTreeMap::new() };
        let mut data = Vec::new();
        let mut store = |name: &str, shape: &[usize], values: &[f32], dtype: Dtype, scales: &[f32]| {
            let start = data.len();
            numbers::write(values, dtype, numbers::columns(shape), scales, &mut data);
            header.tensors.insert(name.to_owned(), Info { dtype, shape: shape.to_vec(), data_offsets: [start, data.len()] });
        };
        let mut all_scales = Vec::new();
        for entry in parameters.entries() {
            let values = &parameters[entry.parameter];
            let dtype = dtype(storage, &entry.shape);
            let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            if !numbers::are_finite(values) {
                return Err(BundleError::tensor(&entry.name, "it holds NaN or infinity; training went wrong, take an earlier checkpoint"));
            }
            if dtype == Dtype::F16 && largest > half::f16::MAX.to_f32() {
                return Err(BundleError::tensor(&entry.name, format!("it holds {largest}, beyond 16 bits; store the model as f32")));
            }
            let scales = if dtype == Dtype::I8 { numbers::scales(values, numbers::columns(&entry.shape)) } else { Vec::new() };
            store(&entry.name, &entry.shape, values, dtype, &scales);
            if dtype == Dtype::I8 {
                all_scales.push((scale_name(&entry.name), scales));
            }
        }
        for (name, scales) in all_scales {
            store(&name, &[scales.len()], &scales, Dtype::F32, &[]);
        }
        let mut bytes = header.to_bytes();
        bytes.append(&mut data);
        Ok(bytes)
    }

    fn metadata(&self) -> BTreeMap<String, String> {
        let to_json = "numbers are finite, and strings have a JSON form";
        BTreeMap::from(
            [
                (FORMAT, VERSION.to_owned()),
                (CONFIG, serde_json::to_string(&self.config).expect(to_json)),
                (TOKENIZER, self.tokenizer.to_json()),
                (CARD, serde_json::to_string(&self.card).expect(to_json)),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        )
    }
}

/// Vectors are few and sensitive: they keep 16 bits where matrices have 8.
fn dtype(storage: Storage, shape: &[usize]) -> Dtype {
    match storage {
        Storage::F32 => Dtype::F32,
        Storage::I8 if shape.len() >= 2 => Dtype::I8,
        Storage::F16 | Storage::I8 => Dtype::F16,
    }
}

fn scale_name(name: &str) -> String {
    format!("{name}.scale")
}

fn header_length(bytes: &[u8]) -> Result<usize, BundleError> {
    let first =
        bytes.first_chunk().ok_or_else(|| BundleError::Damaged(format!("it has {} bytes, fewer than the shortest header", bytes.len())))?;
    header::length(*first)
}

/// The first `length` bytes, if there are as many.
fn whole(bytes: &[u8], length: usize) -> Result<&[u8], BundleError> {
    bytes.get(..length).ok_or_else(|| BundleError::Damaged(format!("its header is {length} bytes long, and the file ends before")))
}

fn metadata<'a>(header: &'a Header, key: &'static str) -> Result<&'a str, BundleError> {
    header.metadata.get(key).map(String::as_str).ok_or_else(|| BundleError::Metadata {
        key,
        what: "it is missing; the file is no heedful model (weights of other programs lack tokenizer and configuration)".to_owned(),
    })
}

fn json<'a, T: Deserialize<'a>>(header: &'a Header, key: &'static str) -> Result<T, BundleError> {
    serde_json::from_str(metadata(header, key)?).map_err(|error| BundleError::Metadata {
        key,
        what: format!("{error}; the file is damaged or of a newer heedful: get it again or update"),
    })
}

/// Reads every parameter of the model from the tensor of its name; tensors and parameters must correspond one to one.
fn fill(model: &mut dyn Model, header: &Header, data: &[u8]) -> Result<(), BundleError> {
    let mut left: BTreeSet<&str> = header.tensors.keys().map(String::as_str).collect();
    let entries = model.parameters().entries().to_vec();
    let mut scales = Vec::new();
    let mut eight_bits = Vec::new();
    for entry in &entries {
        let name = entry.name.as_str();
        let info = tensor(header, name, &entry.shape)?;
        left.remove(name);
        let columns = numbers::columns(&entry.shape);
        if info.dtype == Dtype::I8 {
            let name = scale_name(name);
            let rows = numbers::rows(&entry.shape);
            let info = tensor(header, &name, &[rows])?;
            if info.dtype != Dtype::F32 {
                return Err(BundleError::tensor(&name, format!("its type is {:?}, and scales are F32; the file is damaged", info.dtype)));
            }
            left.remove(name.as_str());
            scales.resize(rows, 0.0);
            numbers::read(&data[info.range()], Dtype::F32, rows, &[], &mut scales);
            check_finite(&name, &scales)?;
        }
        let values = &mut model.parameters_mut()[entry.parameter];
        numbers::read(&data[info.range()], info.dtype, columns, &scales, values);
        check_finite(name, values)?;
        if info.dtype == Dtype::I8 {
            let bytes: Vec<i8> = data[info.range()].iter().map(|byte| byte.cast_signed()).collect();
            eight_bits.push((entry.parameter, EightBits::new(&bytes, &scales)));
        }
    }
    model.parameters_mut().keep_eight_bits(eight_bits);
    match left.first() {
        Some(name) => Err(BundleError::tensor(name, "the model has no such parameter; the file is damaged or of a newer heedful")),
        None => Ok(()),
    }
}

fn tensor<'a>(header: &'a Header, name: &str, shape: &[usize]) -> Result<&'a Info, BundleError> {
    let info = header.tensors.get(name).ok_or_else(|| BundleError::tensor(name, "it is missing; the file is damaged: get it again"))?;
    if info.shape != shape {
        let what = format!("its shape is {:?} and the model needs {shape:?}; weights and configuration do not belong together", info.shape);
        return Err(BundleError::tensor(name, what));
    }
    Ok(info)
}

fn check_finite(name: &str, values: &[f32]) -> Result<(), BundleError> {
    if numbers::are_finite(values) {
        return Ok(());
    }
    Err(BundleError::tensor(name, "it holds NaN or infinity; the file is damaged or its training went wrong: get it again"))
}
