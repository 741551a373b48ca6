//! The AVX-512 tier: 16 lanes, masks in registers of their own.

use super::tiles::Tiles;
use super::{Isa, Op, Tier};
use half::{bf16, f16};
#[allow(clippy::wildcard_imports)] // Every name in it begins with `_`.
use std::arch::x86_64::*;

const LANES: usize = 16;

/// Proof that the CPU has AVX-512 F, BW, DQ and VL, and what [`Avx2`](super::Avx2) stands for; on the tier above also that it has tiles.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(Option<Tiles>);

impl Avx512 {
    pub(super) fn detect() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
    }

    /// The token, for a caller that knows `best_tier()` to be this one or a higher one.
    #[inline]
    pub(super) fn detected() -> Self {
        debug_assert!(Tier::Avx512.is_available());
        Self(None)
    }

    /// The token of [`Tier::Amx`], for a caller that knows `best_tier()` to be that one.
    #[inline]
    pub(super) fn with_tiles() -> Self {
        Self(Tiles::detect())
    }
}

/// The lanes below `n`.
#[inline(always)]
fn lanes_below(n: usize) -> __mmask16 {
    ((1_u32 << n.min(LANES)) - 1) as __mmask16
}

// SAFETY, for every block in this file without a comment of its own: the intrinsics work on values alone, and `self` is proof
// that the CPU has them.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Isa for Avx512 {
    type Vector = __m512;
    type Mask = __mmask16;
    const LANES: usize = LANES;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    fn lane_indices(self) -> __m512 {
        unsafe { _mm512_setr_ps(0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.) }
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> __m512 {
        let from = &from[..LANES];
        // SAFETY: 16 elements are readable.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn load_partial(self, from: &[f32], fill: f32) -> __m512 {
        // SAFETY: the masked load reads only elements below `from.len()`.
        unsafe { _mm512_mask_loadu_ps(_mm512_set1_ps(fill), lanes_below(from.len()), from.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, v: __m512, to: &mut [f32]) {
        let to = &mut to[..LANES];
        // SAFETY: 16 elements are writable.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn store_partial(self, v: __m512, to: &mut [f32]) {
        // SAFETY: the masked store writes only elements below `to.len()`.
        unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), lanes_below(to.len()), v) }
    }
    #[inline(always)]
    fn load_f16(self, from: &[f16]) -> __m512 {
        let from = &from[..LANES];
        // SAFETY: 16 elements of two bytes are readable.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_bf16(self, from: &[bf16]) -> __m512 {
        let from = &from[..LANES];
        // SAFETY: 16 elements of two bytes are readable.
        let bits = unsafe { _mm256_loadu_si256(from.as_ptr().cast()) };
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits))) }
    }
    #[inline(always)]
    fn store_f16(self, v: __m512, to: &mut [f16]) {
        let to = &mut to[..LANES];
        // SAFETY: 16 elements of two bytes are writable, and any bits are an f16.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v)) }
    }
    #[inline(always)]
    fn store_bf16(self, v: __m512, to: &mut [bf16]) {
        let to = &mut to[..LANES];
        let halves = unsafe {
            let bits = _mm512_castps_si512(v);
            let even = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(even, _mm512_set1_epi32(0x7fff)));
            let quiet_nan = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
            let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
            _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(_mm512_mask_blend_epi32(is_nan, rounded, quiet_nan)))
        };
        // SAFETY: 16 elements of two bytes are writable, and any bits are a bf16.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), halves) }
    }
    #[inline(always)]
    fn prefetch<T>(self, from: &[T]) {
        // SAFETY: a hint, which reads nothing as far as the program can tell.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn neg_fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn abs(self, v: __m512) -> __m512 {
        unsafe { _mm512_abs_ps(v) }
    }
    #[inline(always)]
    fn copy_sign(self, magnitude: __m512, sign: __m512) -> __m512 {
        unsafe {
            let sign_bit = _mm512_set1_ps(-0.0);
            _mm512_or_ps(_mm512_andnot_ps(sign_bit, magnitude), _mm512_and_ps(sign_bit, sign))
        }
    }
    #[inline(always)]
    fn sqrt(self, v: __m512) -> __m512 {
        unsafe { _mm512_sqrt_ps(v) }
    }
    #[inline(always)]
    fn round(self, v: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v) }
    }
    #[inline(always)]
    fn scale_by_power_of_two(self, v: __m512, n: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(v, n) }
    }
    #[inline(always)]
    fn split_exponent(self, v: __m512) -> (__m512, __m512) {
        unsafe { (_mm512_getmant_ps::<_MM_MANT_NORM_1_2, _MM_MANT_SIGN_ZERO>(v), _mm512_getexp_ps(v)) }
    }
    #[inline(always)]
    fn lt(self, a: __m512, b: __m512) -> __mmask16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b) }
    }
    #[inline(always)]
    fn le(self, a: __m512, b: __m512) -> __mmask16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b) }
    }
    #[inline(always)]
    fn eq(self, a: __m512, b: __m512) -> __mmask16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b) }
    }
    #[inline(always)]
    fn first(self, n: usize) -> __mmask16 {
        lanes_below(n)
    }
    #[inline(always)]
    fn and(self, a: __mmask16, b: __mmask16) -> __mmask16 {
        a & b
    }
    #[inline(always)]
    fn or(self, a: __mmask16, b: __mmask16) -> __mmask16 {
        a | b
    }
    #[inline(always)]
    fn not(self, m: __mmask16) -> __mmask16 {
        !m
    }
    #[inline(always)]
    fn any(self, m: __mmask16) -> bool {
        m != 0
    }
    #[inline(always)]
    fn select(self, m: __mmask16, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(m, b, a) }
    }
    #[inline(always)]
    fn interleave(self, a: __m512, b: __m512) -> (__m512, __m512) {
        unsafe {
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            (_mm512_permutex2var_ps(a, low, b), _mm512_permutex2var_ps(a, high, b))
        }
    }
    /// Quarters of vectors are put together as they are loaded, so that half of the shuffles of `transpose` are left.
    #[inline(always)]
    fn load_columns(self, from: &[f32], stride: usize) -> [__m512; LANES] {
        assert!((LANES - 1).saturating_mul(stride).saturating_add(LANES) <= from.len(), "load_columns: the rows are too short");
        let mut columns = [self.splat(0.0); LANES];
        for c in (0..LANES).step_by(4) {
            // Quarter `i` of `four[r]`: columns `c` to `c + 3` of row `4 * i + r`.
            let mut four = [self.splat(0.0); 4];
            for r in 0..4 {
                // SAFETY: the assertion above: 16 elements of each row are readable.
                four[r] = unsafe {
                    let v = _mm512_castps128_ps512(_mm_loadu_ps(from.as_ptr().add(r * stride + c)));
                    let v = _mm512_mask_broadcast_f32x4(v, 0x00f0, _mm_loadu_ps(from.as_ptr().add((4 + r) * stride + c)));
                    let v = _mm512_mask_broadcast_f32x4(v, 0x0f00, _mm_loadu_ps(from.as_ptr().add((8 + r) * stride + c)));
                    _mm512_mask_broadcast_f32x4(v, 0xf000, _mm_loadu_ps(from.as_ptr().add((12 + r) * stride + c)))
                };
            }
            unsafe {
                let first = _mm512_castps_pd(_mm512_unpacklo_ps(four[0], four[1]));
                let second = _mm512_castps_pd(_mm512_unpacklo_ps(four[2], four[3]));
                columns[c] = _mm512_castpd_ps(_mm512_unpacklo_pd(first, second));
                columns[c + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(first, second));
                let first = _mm512_castps_pd(_mm512_unpackhi_ps(four[0], four[1]));
                let second = _mm512_castps_pd(_mm512_unpackhi_ps(four[2], four[3]));
                columns[c + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(first, second));
                columns[c + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(first, second));
            }
        }
        columns
    }
    #[inline(always)]
    fn sum(self, v: __m512) -> f32 {
        unsafe {
            let v = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
            let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
        }
    }
    #[inline(always)]
    fn maximum(self, v: __m512) -> f32 {
        unsafe {
            let v = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
            let v = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_max_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)))
        }
    }
    #[inline(always)]
    fn tiles(self) -> Option<Tiles> {
        self.0
    }
    #[inline]
    fn call<O: Op>(self, op: O) -> O::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
        fn with_features<O: Op>(isa: Avx512, op: O) -> O::Output {
            op.run(isa)
        }
        // SAFETY: `self` is proof that the CPU has these features.
        unsafe { with_features(self, op) }
    }
}
