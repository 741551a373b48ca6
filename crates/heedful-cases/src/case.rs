//! One case: what goes in, what must come out, and how a run of it may end without an answer.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::{Tensor, Tolerance};

/// Why a case gives no outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The case is not this runner's to compute; says why.
    Skip(String),
    /// The case ought to be computed and cannot be; says why.
    Fail(String),
}

impl Stop {
    /// A skip with its reason.
    pub fn skip(reason: impl Into<String>) -> Self {
        Self::Skip(reason.into())
    }

    /// A failure with its reason.
    pub fn fail(reason: impl Into<String>) -> Self {
        Self::Fail(reason.into())
    }
}

/// An error of the library under test is a failure: the inputs of every case are valid.
impl<E: std::error::Error> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Fail(error.to_string())
    }
}

/// An output that was recorded, and how near one must come to it.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The recorded numbers.
    pub tensor: Tensor,
    /// For f32 arithmetic.
    pub tolerance: Tolerance,
    /// For f64 arithmetic on the same inputs, where it was recorded.
    pub tolerance64: Option<Tolerance>,
}

/// One case of a tensor suite.
#[derive(Clone, Debug)]
pub struct Case {
    /// The suite's name.
    pub suite: String,
    /// The case's name, unique in its suite.
    pub name: String,
    /// The operation, such as `sdpa` or `onnx.Attention`.
    pub op: String,
    /// The operation's attributes.
    pub attributes: Map<String, Value>,
    /// Inputs by their formal name. The cotangent of output `y` is the input `d_y`.
    pub inputs: BTreeMap<String, Tensor>,
    /// Outputs by their formal name. The gradient of input `x` is the output `d_x` (or `dx`, where the suite says so).
    pub outputs: BTreeMap<String, Expected>,
    /// What the case is about.
    pub tags: Vec<String>,
    /// Whether the result is implementation-defined: a difference is told, and does not fail.
    pub advisory: bool,
}

impl Case {
    /// The input of this name.
    ///
    /// # Errors
    /// If the case has none.
    pub fn input(&self, name: &str) -> Result<&Tensor, Stop> {
        self.inputs.get(name).ok_or_else(|| Stop::fail(format!("input {name} is missing")))
    }

    /// The input of this name, if the case has one.
    pub fn optional(&self, name: &str) -> Option<&Tensor> {
        self.inputs.get(name)
    }

    /// The attribute of this name; `None` when it is absent or null.
    pub fn attribute(&self, name: &str) -> Option<&Value> {
        self.attributes.get(name).filter(|value| !value.is_null())
    }

    /// A number attribute; non-finite ones are written as strings.
    ///
    /// # Errors
    /// If it is not a number.
    pub fn float(&self, name: &str) -> Result<Option<f64>, Stop> {
        let number = |value: &Value| match value {
            Value::String(text) => text.parse().ok(),
            other => other.as_f64(),
        };
        self.convert(name, "a number", number)
    }

    /// An integer attribute.
    ///
    /// # Errors
    /// If it is not an integer.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Stop> {
        self.convert(name, "an integer", Value::as_i64)
    }

    /// A truth value: `true`, `false`, 0 or 1; false when absent.
    ///
    /// # Errors
    /// If it is something else.
    pub fn flag(&self, name: &str) -> Result<bool, Stop> {
        let truth = |value: &Value| value.as_bool().or(value.as_i64().filter(|n| (0..=1).contains(n)).map(|n| n == 1));
        Ok(self.convert(name, "a truth value", truth)?.unwrap_or(false))
    }

    /// A text attribute.
    ///
    /// # Errors
    /// If it is not text.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Stop> {
        self.convert(name, "text", Value::as_str)
    }

    fn convert<'a, T>(&'a self, name: &str, kind: &str, convert: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>, Stop> {
        let wrong = |value: &Value| Stop::fail(format!("attribute {name} = {value} is not {kind}"));
        self.attribute(name).map(|value| convert(value).ok_or_else(|| wrong(value))).transpose()
    }

    /// Refuses attributes beyond `known`: an attribute that is ignored could make a wrong result look right.
    ///
    /// # Errors
    /// Names the first attribute that is not known.
    pub fn only_attributes(&self, known: &[&str]) -> Result<(), Stop> {
        only("attribute", self.attributes.keys(), known)
    }

    /// Refuses inputs beyond `known`.
    ///
    /// # Errors
    /// Names the first input that is not known.
    pub fn only_inputs(&self, known: &[&str]) -> Result<(), Stop> {
        only("input", self.inputs.keys(), known)
    }
}

fn only<'a>(kind: &str, mut names: impl Iterator<Item = &'a String>, known: &[&str]) -> Result<(), Stop> {
    match names.find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Stop::fail(format!("{kind} {name} is unknown to this runner"))),
        None => Ok(()),
    }
}

/// What a run of a case computed.
#[derive(Clone, Debug, Default)]
pub struct Outputs(BTreeMap<String, Tensor>);

impl Outputs {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the output `name`. One that the case does not ask for is ignored.
    #[must_use]
    pub fn with(mut self, name: &str, tensor: Tensor) -> Self {
        self.insert(name, tensor);
        self
    }

    /// The output `name`, if it was computed.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// Adds the output `name`. One that the case does not ask for is ignored.
    pub fn insert(&mut self, name: &str, tensor: Tensor) {
        self.0.insert(name.to_owned(), tensor);
    }
}

/// One case of a text suite. Its fields are the suite's own.
#[derive(Clone, Debug)]
pub struct TextCase {
    /// The suite's name.
    pub suite: String,
    /// The suite's folder, for files beside `cases.json`.
    pub folder: PathBuf,
    /// The case's name, unique in its suite.
    pub name: String,
    /// All fields, `name` among them.
    pub fields: Map<String, Value>,
    /// Whether a difference is told and does not fail.
    pub advisory: bool,
}
