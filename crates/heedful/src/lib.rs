//! Exact attention on CPUs that can be looked into.

pub mod kernel;
pub mod plan;
pub mod reference;
pub mod simd;
pub mod softmax;

mod attention;
mod error;
mod options;
mod problem;
mod view;

pub use attention::{attend, attend_backward, attend_packed, attend_packed_backward};
pub use error::{Error, Result};
pub use options::{Diagonal, Options, Parallelism};
pub use view::{Element, Layout, QkvMut, View, ViewMut};
