//! Exact attention on CPUs that can be looked into.

pub mod kernel;
pub mod lens;
pub mod mechanism;
pub mod plan;
pub mod reference;
pub mod rotary;
pub mod simd;
pub mod softmax;

mod attention;
mod cache;
mod error;
mod options;
mod problem;
mod view;

pub use attention::{attend, attend_backward, attend_packed, attend_packed_backward};
pub use cache::Cache;
pub use error::{Error, Result};
pub use options::{Diagonal, Options, Parallelism};
pub use view::{Element, Layout, QkvMut, View, ViewMut};
