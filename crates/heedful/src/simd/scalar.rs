//! The portable tier: loops over `[f32; 8]` that any compiler backend can vectorise, without `unsafe`.

use super::{Isa, Op};
use half::{bf16, f16};
use std::array::from_fn;

const LANES: usize = 8;

/// Proof of nothing: every CPU can run this tier.
#[derive(Clone, Copy, Debug)]
pub struct Scalar(());

impl Scalar {
    pub(super) fn new() -> Self {
        Self(())
    }
}

/// `2^n` for `-126 <= n <= 127`.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(((n + 127) as u32) << 23)
}

/// Halves onto each other, down to one lane.
#[inline(always)]
fn fold(mut v: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            v[i] = f(v[i], v[i + width]);
        }
    }
    v[0]
}

impl Isa for Scalar {
    type Vector = [f32; LANES];
    type Mask = [bool; LANES];
    const LANES: usize = LANES;
    const REGISTERS: usize = 8;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Vector {
        [value; LANES]
    }
    #[inline(always)]
    fn lane_indices(self) -> Self::Vector {
        from_fn(|i| i as f32)
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> Self::Vector {
        let from = &from[..LANES];
        from_fn(|i| from[i])
    }
    #[inline(always)]
    fn load_partial(self, from: &[f32], fill: f32) -> Self::Vector {
        from_fn(|i| from.get(i).copied().unwrap_or(fill))
    }
    #[inline(always)]
    fn store(self, v: Self::Vector, to: &mut [f32]) {
        to[..LANES].copy_from_slice(&v);
    }
    #[inline(always)]
    fn store_partial(self, v: Self::Vector, to: &mut [f32]) {
        for (to, v) in to.iter_mut().zip(v) {
            *to = v;
        }
    }
    #[inline(always)]
    fn load_f16(self, from: &[f16]) -> Self::Vector {
        let from = &from[..LANES];
        from_fn(|i| from[i].to_f32())
    }
    #[inline(always)]
    fn load_bf16(self, from: &[bf16]) -> Self::Vector {
        let from = &from[..LANES];
        from_fn(|i| from[i].to_f32())
    }
    #[inline(always)]
    fn store_f16(self, v: Self::Vector, to: &mut [f16]) {
        to[..LANES].copy_from_slice(&v.map(f16::from_f32));
    }
    #[inline(always)]
    fn store_bf16(self, v: Self::Vector, to: &mut [bf16]) {
        to[..LANES].copy_from_slice(&v.map(bf16::from_f32));
    }
    #[inline(always)]
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        from_fn(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn fma(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // `f32::mul_add` is a library call where the target has no FMA.
        from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn neg_fma(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        from_fn(|i| c[i] - a[i] * b[i])
    }
    #[inline(always)]
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn abs(self, v: Self::Vector) -> Self::Vector {
        v.map(f32::abs)
    }
    #[inline(always)]
    fn copy_sign(self, magnitude: Self::Vector, sign: Self::Vector) -> Self::Vector {
        from_fn(|i| magnitude[i].copysign(sign[i]))
    }
    #[inline(always)]
    fn sqrt(self, v: Self::Vector) -> Self::Vector {
        v.map(f32::sqrt)
    }
    #[inline(always)]
    fn round(self, v: Self::Vector) -> Self::Vector {
        // Adding 1.5 * 2^23 leaves no bits for a fraction. `f32::round_ties_even` is a library call before SSE 4.1.
        const SHIFT: f32 = 12_582_912.0;
        v.map(|x| (x + SHIFT) - SHIFT)
    }
    #[inline(always)]
    fn scale_by_power_of_two(self, v: Self::Vector, n: Self::Vector) -> Self::Vector {
        // In two steps, since 2^n itself may be out of range; only the second one can round.
        from_fn(|i| {
            let n = n[i].clamp(-252.0, 254.0) as i32;
            let half = n >> 1;
            v[i] * power_of_two(half) * power_of_two(n - half)
        })
    }
    #[inline(always)]
    fn split_exponent(self, v: Self::Vector) -> (Self::Vector, Self::Vector) {
        let bits = v.map(f32::to_bits);
        (from_fn(|i| f32::from_bits(bits[i] & 0x007f_ffff | 0x3f80_0000)), from_fn(|i| ((bits[i] >> 23) as i32 - 127) as f32))
    }
    #[inline(always)]
    fn lt(self, a: Self::Vector, b: Self::Vector) -> Self::Mask {
        from_fn(|i| a[i] < b[i])
    }
    #[inline(always)]
    fn le(self, a: Self::Vector, b: Self::Vector) -> Self::Mask {
        from_fn(|i| a[i] <= b[i])
    }
    #[inline(always)]
    fn eq(self, a: Self::Vector, b: Self::Vector) -> Self::Mask {
        from_fn(|i| a[i] == b[i])
    }
    #[inline(always)]
    fn first(self, n: usize) -> Self::Mask {
        from_fn(|i| i < n)
    }
    #[inline(always)]
    fn and(self, a: Self::Mask, b: Self::Mask) -> Self::Mask {
        from_fn(|i| a[i] & b[i])
    }
    #[inline(always)]
    fn or(self, a: Self::Mask, b: Self::Mask) -> Self::Mask {
        from_fn(|i| a[i] | b[i])
    }
    #[inline(always)]
    fn not(self, m: Self::Mask) -> Self::Mask {
        m.map(|m| !m)
    }
    #[inline(always)]
    fn any(self, m: Self::Mask) -> bool {
        m.contains(&true)
    }
    #[inline(always)]
    fn select(self, m: Self::Mask, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        from_fn(|i| if m[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn interleave(self, a: Self::Vector, b: Self::Vector) -> (Self::Vector, Self::Vector) {
        let lane = |i: usize| if i.is_multiple_of(2) { a[i / 2] } else { b[i / 2] };
        (from_fn(lane), from_fn(|i| lane(LANES + i)))
    }
    #[inline(always)]
    fn sum(self, v: Self::Vector) -> f32 {
        fold(v, |a, b| a + b)
    }
    #[inline(always)]
    fn maximum(self, v: Self::Vector) -> f32 {
        fold(v, f32::max)
    }
    #[inline]
    fn call<O: Op>(self, op: O) -> O::Output {
        op.run(self)
    }
}
