//! Exact attention on CPUs that can be looked into.

pub mod kernel;
pub mod simd;
