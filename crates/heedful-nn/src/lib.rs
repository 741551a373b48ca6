//! The layers that sequence models are made of, each with an explicit forward and backward.

pub mod parameters;
pub mod product;
pub mod workspace;

pub use parameters::{Entry, Gradients, Init, Parameter, Parameters};
pub use product::Matrix;
pub use workspace::Workspace;
