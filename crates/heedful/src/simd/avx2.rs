//! The AVX2 tier, with FMA and F16C: 8 lanes, masks as vectors of all-ones or all-zeros.

use super::{Isa, Op, Tier};
use half::{bf16, f16};
#[allow(clippy::wildcard_imports)] // Every name in it begins with `_`.
use std::arch::x86_64::*;

const LANES: usize = 8;

/// Proof that the CPU has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
    }

    /// The token, for a caller that knows `best_tier()` to be this one or a higher one.
    pub(super) fn detected() -> Self {
        debug_assert!(Tier::Avx2.is_available());
        Self(())
    }
}

/// All-ones in the lanes below `n`.
#[inline(always)]
fn lanes_below(n: usize) -> __m256i {
    // SAFETY: value intrinsics of AVX2; only methods of `Avx2`, whose `self` is proof of it, call this.
    unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(n.min(LANES) as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
}

/// `2^n` for `-126 <= n <= 127`.
#[inline(always)]
fn power_of_two(n: __m256i) -> __m256 {
    // SAFETY: as for `lanes_below`.
    unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(n, _mm256_set1_epi32(127)))) }
}

// SAFETY, for every block in this file without a comment of its own: the intrinsics work on values alone, and `self` is proof
// that the CPU has them.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Isa for Avx2 {
    type Vector = __m256;
    type Mask = __m256;
    const LANES: usize = LANES;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    fn lane_indices(self) -> __m256 {
        unsafe { _mm256_setr_ps(0., 1., 2., 3., 4., 5., 6., 7.) }
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> __m256 {
        let from = &from[..LANES];
        // SAFETY: 8 elements are readable.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn load_partial(self, from: &[f32], fill: f32) -> __m256 {
        let mask = lanes_below(from.len());
        // SAFETY: the masked load reads only elements below `from.len()`.
        let loaded = unsafe { _mm256_maskload_ps(from.as_ptr(), mask) };
        unsafe { _mm256_blendv_ps(_mm256_set1_ps(fill), loaded, _mm256_castsi256_ps(mask)) }
    }
    #[inline(always)]
    fn store(self, v: __m256, to: &mut [f32]) {
        let to = &mut to[..LANES];
        // SAFETY: 8 elements are writable.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn store_partial(self, v: __m256, to: &mut [f32]) {
        // SAFETY: the masked store writes only elements below `to.len()`.
        unsafe { _mm256_maskstore_ps(to.as_mut_ptr(), lanes_below(to.len()), v) }
    }
    #[inline(always)]
    fn load_f16(self, from: &[f16]) -> __m256 {
        let from = &from[..LANES];
        // SAFETY: 8 elements of two bytes are readable.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_bf16(self, from: &[bf16]) -> __m256 {
        let from = &from[..LANES];
        // SAFETY: 8 elements of two bytes are readable.
        let bits = unsafe { _mm_loadu_si128(from.as_ptr().cast()) };
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits))) }
    }
    #[inline(always)]
    fn store_f16(self, v: __m256, to: &mut [f16]) {
        let to = &mut to[..LANES];
        // SAFETY: 8 elements of two bytes are writable, and any bits are an f16.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v)) }
    }
    #[inline(always)]
    fn store_bf16(self, v: __m256, to: &mut [bf16]) {
        let to = &mut to[..LANES];
        let halves = unsafe {
            let bits = _mm256_castps_si256(v);
            let even = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(even, _mm256_set1_epi32(0x7fff)));
            let quiet_nan = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
            let is_nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
            let wide = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet_nan, is_nan));
            _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256::<1>(wide))
        };
        // SAFETY: 8 elements of two bytes are writable, and any bits are a bf16.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), halves) }
    }
    #[inline(always)]
    fn prefetch<T>(self, from: &[T]) {
        // SAFETY: a hint, which reads nothing as far as the program can tell.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn neg_fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn abs(self, v: __m256) -> __m256 {
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), v) }
    }
    #[inline(always)]
    fn copy_sign(self, magnitude: __m256, sign: __m256) -> __m256 {
        unsafe {
            let sign_bit = _mm256_set1_ps(-0.0);
            _mm256_or_ps(_mm256_andnot_ps(sign_bit, magnitude), _mm256_and_ps(sign_bit, sign))
        }
    }
    #[inline(always)]
    fn sqrt(self, v: __m256) -> __m256 {
        unsafe { _mm256_sqrt_ps(v) }
    }
    #[inline(always)]
    fn round(self, v: __m256) -> __m256 {
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v) }
    }
    #[inline(always)]
    fn scale_by_power_of_two(self, v: __m256, n: __m256) -> __m256 {
        // In two steps, since 2^n itself may be out of range; only the second one can round.
        unsafe {
            let n = _mm256_min_ps(_mm256_max_ps(n, _mm256_set1_ps(-252.0)), _mm256_set1_ps(254.0));
            let n = _mm256_cvtps_epi32(n);
            let half = _mm256_srai_epi32::<1>(n);
            _mm256_mul_ps(_mm256_mul_ps(v, power_of_two(half)), power_of_two(_mm256_sub_epi32(n, half)))
        }
    }
    #[inline(always)]
    fn split_exponent(self, v: __m256) -> (__m256, __m256) {
        unsafe {
            let bits = _mm256_castps_si256(v);
            let fraction = _mm256_and_si256(bits, _mm256_set1_epi32(0x007f_ffff));
            let mantissa = _mm256_castsi256_ps(_mm256_or_si256(fraction, _mm256_set1_epi32(0x3f80_0000)));
            let exponent = _mm256_sub_epi32(_mm256_srli_epi32::<23>(bits), _mm256_set1_epi32(127));
            (mantissa, _mm256_cvtepi32_ps(exponent))
        }
    }
    #[inline(always)]
    fn lt(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(a, b) }
    }
    #[inline(always)]
    fn le(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_cmp_ps::<_CMP_LE_OQ>(a, b) }
    }
    #[inline(always)]
    fn eq(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b) }
    }
    #[inline(always)]
    fn first(self, n: usize) -> __m256 {
        unsafe { _mm256_castsi256_ps(lanes_below(n)) }
    }
    #[inline(always)]
    fn and(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_and_ps(a, b) }
    }
    #[inline(always)]
    fn or(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_or_ps(a, b) }
    }
    #[inline(always)]
    fn not(self, m: __m256) -> __m256 {
        unsafe { _mm256_xor_ps(m, _mm256_castsi256_ps(_mm256_set1_epi32(-1))) }
    }
    #[inline(always)]
    fn any(self, m: __m256) -> bool {
        unsafe { _mm256_movemask_ps(m) != 0 }
    }
    #[inline(always)]
    fn select(self, m: __m256, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_blendv_ps(b, a, m) }
    }
    #[inline(always)]
    fn interleave(self, a: __m256, b: __m256) -> (__m256, __m256) {
        unsafe {
            let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            (_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high))
        }
    }
    #[inline(always)]
    fn sum(self, v: __m256) -> f32 {
        unsafe {
            let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
        }
    }
    #[inline(always)]
    fn maximum(self, v: __m256) -> f32 {
        unsafe {
            let v = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_max_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)))
        }
    }
    #[inline]
    fn call<O: Op>(self, op: O) -> O::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn with_features<O: Op>(isa: Avx2, op: O) -> O::Output {
            op.run(isa)
        }
        // SAFETY: `self` is proof that the CPU has these features.
        unsafe { with_features(self, op) }
    }
}
