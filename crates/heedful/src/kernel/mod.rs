//! Kernels, written once for every instruction tier.
//!
//! [`elementary`]: exponential, hyperbolic tangent and so on of one vector, for use inside an [`Op`](crate::simd::Op).
//! [`lanes`]: element-wise loops and reductions over slices, generic over the [`Isa`](crate::simd::Isa), for use inside an `Op`.
//! [`slice`]: the same for callers outside of one; each call dispatches once.

pub mod elementary;
pub mod lanes;
pub mod slice;
