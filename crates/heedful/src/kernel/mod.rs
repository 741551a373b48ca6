//! Kernels, written once for every instruction tier.
//!
//! [`elementary`]: exponential, hyperbolic tangent and so on of one vector, for use inside an [`Op`](crate::simd::Op).
//! [`lanes`]: element-wise loops and reductions over slices, generic over the [`Isa`](crate::simd::Isa), for use inside an `Op`.
//! [`mod@slice`]: the same for callers outside of one; each call dispatches once.

pub(crate) mod backward;
pub(crate) mod decode;
pub(crate) mod dots;
pub mod elementary;
pub(crate) mod forward;
pub(crate) mod glance;
pub mod lanes;
pub(crate) mod lens;
pub(crate) mod score;
pub(crate) mod short;
pub mod slice;
pub(crate) mod steps;
pub(crate) mod tile;
