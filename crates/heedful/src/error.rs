//! What can be wrong with a call.

use thiserror::Error;

/// The result of a call into the engine.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call was refused. Nothing has been written when one of these is returned.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// An operand whose shape does not fit the others.
    #[error("{operation}: {operand} has shape {shape:?}: {fix}")]
    Shape {
        /// The function that was called.
        operation: &'static str,
        /// The parameter.
        operand: &'static str,
        /// Its shape.
        shape: Vec<usize>,
        /// What it must be.
        fix: String,
    },
    /// A slice that is too short or too long.
    #[error("{operation}: {operand} holds {len} elements: {fix}")]
    Length {
        /// The function that was called.
        operation: &'static str,
        /// The parameter.
        operand: &'static str,
        /// Its length.
        len: usize,
        /// What it must be.
        fix: String,
    },
    /// Shape and strides that a slice cannot carry.
    #[error("a view with shape {shape:?} and strides {strides:?} over {len} elements: {fix}")]
    View {
        /// The shape that was asked for.
        shape: [usize; 4],
        /// The strides that were asked for.
        strides: [usize; 4],
        /// The length of the slice.
        len: usize,
        /// What is wrong and what to do.
        fix: String,
    },
    /// A value that an option cannot take.
    #[error("{operation}: option {option} is {value}: {fix}")]
    Option {
        /// The function that was called.
        operation: &'static str,
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        fix: String,
    },
}
