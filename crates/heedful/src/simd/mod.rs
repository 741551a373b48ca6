//! Vectors of f32 in the widest form that this CPU has, behind one trait.
//!
//! A kernel is written once, generic over [`Isa`], and wrapped into an [`Op`]; [`dispatch`] compiles it for every [`Tier`] and runs
//! the best one. A value of a type that implements [`Isa`] is proof that the CPU has its instructions, since only this module can
//! make one; that is what makes the methods of [`Isa`] safe to call.
//!
//! | tier | instructions | lanes |
//! |---|---|---|
//! | [`Tier::Scalar`] | none beyond the target's baseline; loops over `[f32; 8]` without `unsafe`, multiply and add rounded separately | 8 |
//! | [`Tier::Avx2`] | AVX2, FMA, F16C | 8 |
//! | [`Tier::Avx512`] | AVX-512 F, BW, DQ, VL and those of `Avx2` | 16 |
//! | [`Tier::Amx`] | those of `Avx512`, and tile registers for large products: f32 as sums of three bf16 | 16 |
//!
//! The environment variable `HEEDFUL_ISA=scalar|avx2|avx512|amx`, read once, sets the tier that [`dispatch`] uses. A tier that the CPU
//! lacks, or an unknown name, gives one warning on standard error and the best tier that the CPU has.
//!
//! Detection and all `unsafe` of the engine live here.
//!
//! ```
//! use heedful::simd::{self, Isa, Op};
//!
//! /// `y += a x`
//! struct Axpy<'a> {
//!     a: f32,
//!     x: &'a [f32],
//!     y: &'a mut [f32],
//! }
//!
//! impl Op for Axpy<'_> {
//!     type Output = ();
//!
//!     #[inline(always)]
//!     fn run<I: Isa>(self, isa: I) {
//!         let a = isa.splat(self.a);
//!         for (x, y) in self.x.chunks(I::LANES).zip(self.y.chunks_mut(I::LANES)) {
//!             let sum = isa.fma(a, isa.load_partial(x, 0.0), isa.load_partial(y, 0.0));
//!             isa.store_partial(sum, y);
//!         }
//!     }
//! }
//!
//! let mut y = [1.0; 19];
//! simd::dispatch(Axpy { a: 2.0, x: &[3.0; 19], y: &mut y });
//! assert_eq!(y, [7.0; 19]);
//! ```

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod buffer;
pub mod bytes;
pub mod panel;
mod scalar;
#[cfg(target_arch = "x86_64")]
pub mod tiles;
#[cfg(not(target_arch = "x86_64"))]
#[path = "no_tiles.rs"]
pub mod tiles;
pub(crate) mod transpose;

use half::{bf16, f16};
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub use scalar::Scalar;
pub use tiles::Tiles;

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Scalar {}
    #[cfg(target_arch = "x86_64")]
    impl Sealed for super::Avx2 {}
    #[cfg(target_arch = "x86_64")]
    impl Sealed for super::Avx512 {}
}

/// Lanes of the largest tier.
pub const MOST_LANES: usize = 16;

/// A set of instructions that the CPU has been found to have, and the vector of f32 that they work on.
///
/// Implementations are tokens which only [`dispatch`] and [`dispatch_on`] hand out; there are no others, since kernels rely on their constants.
///
/// Loads and stores take slices. `load` and `store` need at least [`LANES`](Isa::LANES) elements and touch the first `LANES` of them;
/// the `partial` forms touch the first `min(len, LANES)`.
///
/// Comparisons are false where an operand is NaN.
pub trait Isa: sealed::Sealed + Copy + Send + Sync + fmt::Debug + 'static {
    /// [`LANES`](Isa::LANES) numbers of type f32.
    type Vector: Copy;
    /// One truth value for each lane.
    type Mask: Copy;
    /// Number of lanes of a vector: at most 16.
    const LANES: usize;
    /// Number of vectors that a loop can keep in registers.
    const REGISTERS: usize;

    /// `value` in every lane.
    fn splat(self, value: f32) -> Self::Vector;
    /// 0, 1, 2, ... in the lanes.
    fn lane_indices(self) -> Self::Vector;

    /// The first `LANES` elements. Panics if there are fewer.
    fn load(self, from: &[f32]) -> Self::Vector;
    /// The first `min(len, LANES)` elements, and `fill` in the lanes that remain.
    fn load_partial(self, from: &[f32], fill: f32) -> Self::Vector;
    /// Writes the first `LANES` elements. Panics if there are fewer.
    fn store(self, v: Self::Vector, to: &mut [f32]);
    /// Writes the first `min(len, LANES)` elements.
    fn store_partial(self, v: Self::Vector, to: &mut [f32]);

    /// The first `LANES` elements, widened exactly. Panics if there are fewer.
    fn load_f16(self, from: &[f16]) -> Self::Vector;
    /// The first `LANES` elements, widened exactly. Panics if there are fewer.
    fn load_bf16(self, from: &[bf16]) -> Self::Vector;
    /// Writes the first `LANES` elements, rounded to nearest, ties to even. Panics if there are fewer.
    fn store_f16(self, v: Self::Vector, to: &mut [f16]);
    /// Writes the first `LANES` elements, rounded to nearest, ties to even. Panics if there are fewer.
    fn store_bf16(self, v: Self::Vector, to: &mut [bf16]);

    /// Hints that the cache line of the first element is soon to be read, from the second level of caches on.
    #[inline(always)]
    fn prefetch<T>(self, _from: &[T]) {}

    /// `a + b`
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a - b`
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b`
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a / b`
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`, rounded once where the tier has FMA and twice on [`Tier::Scalar`].
    fn fma(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// `c - a * b`, rounded once where the tier has FMA and twice on [`Tier::Scalar`].
    fn neg_fma(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// The larger one; `b` if either is NaN.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The smaller one; `b` if either is NaN.
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `|v|`
    fn abs(self, v: Self::Vector) -> Self::Vector;
    /// `|magnitude|` with the sign of `sign`.
    fn copy_sign(self, magnitude: Self::Vector, sign: Self::Vector) -> Self::Vector;
    /// The square root.
    fn sqrt(self, v: Self::Vector) -> Self::Vector;
    /// The nearest integer, ties to even, for `|v| <= 2^22`.
    fn round(self, v: Self::Vector) -> Self::Vector;
    /// `v * 2^n`, rounded once, for integers `-252 <= n <= 254` (beyond that, `n` is clamped or exact). NaN in `v` stays.
    fn scale_by_power_of_two(self, v: Self::Vector, n: Self::Vector) -> Self::Vector;
    /// `(m, e)` with `v = m * 2^e` and `1 <= m < 2`, for positive, finite, normal `v`; unspecified for others.
    fn split_exponent(self, v: Self::Vector) -> (Self::Vector, Self::Vector);

    /// `a < b`
    fn lt(self, a: Self::Vector, b: Self::Vector) -> Self::Mask;
    /// `a <= b`
    fn le(self, a: Self::Vector, b: Self::Vector) -> Self::Mask;
    /// `a == b`
    fn eq(self, a: Self::Vector, b: Self::Vector) -> Self::Mask;
    /// True in the lanes below `n`.
    fn first(self, n: usize) -> Self::Mask;
    /// Both.
    fn and(self, a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// Either.
    fn or(self, a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// The opposite.
    fn not(self, m: Self::Mask) -> Self::Mask;
    /// Whether any lane is true.
    fn any(self, m: Self::Mask) -> bool;
    /// `a` where the mask is true and `b` elsewhere.
    fn select(self, m: Self::Mask, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// The lanes of `a` and `b` in turn, `a[0] b[0] a[1] b[1] ...`: the first `LANES` of them and the others.
    fn interleave(self, a: Self::Vector, b: Self::Vector) -> (Self::Vector, Self::Vector);
    /// The columns of a matrix of `LANES` rows of `LANES` numbers: `result[c][r] = from[r * stride + c]`. Panics if a number lies outside of `from`; what
    /// the array holds after the first `LANES` is left open.
    #[inline(always)]
    fn load_columns(self, from: &[f32], stride: usize) -> [Self::Vector; MOST_LANES] {
        let mut block = [self.splat(0.0); MOST_LANES];
        for i in 0..Self::LANES {
            block[i] = self.load(&from[i * stride..]);
        }
        transpose::transpose(self, &mut block);
        block
    }

    /// The sum of the lanes, in a fixed order (halves onto each other).
    fn sum(self, v: Self::Vector) -> f32;
    /// The largest lane; unspecified if one is NaN.
    fn maximum(self, v: Self::Vector) -> f32;

    /// The tile registers, if they are to be used: on [`Tier::Amx`].
    #[inline(always)]
    fn tiles(self) -> Option<Tiles> {
        None
    }

    /// Runs `op` in a function of its own, compiled with the tier's instructions: for a large body that is called from several places.
    fn call<O: Op>(self, op: O) -> O::Output;
}

/// A computation that is generic over the instructions it uses.
///
/// Mark `run`, and every generic function that it calls, `#[inline(always)]`: code that is not inlined into the dispatching
/// function is compiled without the tier's instructions (correct, but slow). The same holds for closures that are run on another
/// thread: dispatch inside them, not around them.
pub trait Op {
    /// What the computation returns.
    type Output;
    /// Computes with the instructions of `isa`.
    fn run<I: Isa>(self, isa: I) -> Self::Output;
}

/// Which instructions to use; each tier includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Portable code, 8 lanes.
    Scalar,
    /// AVX2, FMA and F16C, 8 lanes.
    Avx2,
    /// AVX-512 F, BW, DQ, VL, 16 lanes.
    Avx512,
    /// The same, and AMX for large products.
    Amx,
}

impl Tier {
    /// All tiers, from the lowest to the highest.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Avx2, Self::Avx512, Self::Amx];

    /// The name that `HEEDFUL_ISA` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }

    /// Whether this CPU has the tier's instructions.
    pub fn is_available(self) -> bool {
        self <= best_tier()
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no tier has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown instruction tier {0:?}: use scalar, avx2, avx512 or amx")]
pub struct UnknownTier(String);

impl FromStr for Tier {
    type Err = UnknownTier;

    fn from_str(name: &str) -> Result<Self, UnknownTier> {
        Self::ALL.into_iter().find(|tier| tier.name().eq_ignore_ascii_case(name.trim())).ok_or_else(|| UnknownTier(name.to_owned()))
    }
}

/// The highest tier that this CPU has; detected once.
pub fn best_tier() -> Tier {
    static BEST: OnceLock<Tier> = OnceLock::new();
    *BEST.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        if Avx2::detect() {
            return match (Avx512::detect(), tiles::Tiles::detect()) {
                (_, Some(_)) => Tier::Amx,
                (true, None) => Tier::Avx512,
                (false, None) => Tier::Avx2,
            };
        }
        Tier::Scalar
    })
}

/// The tiers that this CPU has, from the lowest to the highest: what a test of a kernel goes through.
pub fn available_tiers() -> impl Iterator<Item = Tier> {
    Tier::ALL.into_iter().filter(|tier| tier.is_available())
}

/// The tier that [`dispatch`] uses: the one in `HEEDFUL_ISA` if that names one which the CPU has, and otherwise [`best_tier`].
pub fn active_tier() -> Tier {
    static ACTIVE: OnceLock<Tier> = OnceLock::new();
    *ACTIVE.get_or_init(|| {
        let best = best_tier();
        let Some(wanted) = std::env::var_os("HEEDFUL_ISA").filter(|name| !name.is_empty()) else {
            return best;
        };
        match wanted.to_string_lossy().parse::<Tier>() {
            Ok(tier) if tier <= best => return tier,
            Ok(tier) => eprintln!("heedful: HEEDFUL_ISA={tier}, which this CPU lacks; using {best}"),
            Err(error) => eprintln!("heedful: HEEDFUL_ISA: {error}; using {best}"),
        }
        best
    })
}

/// Runs `op` with the instructions of [`active_tier`].
#[inline]
pub fn dispatch<O: Op>(op: O) -> O::Output {
    dispatch_on(active_tier(), op)
}

/// Runs `op` with the instructions of `tier`, or of [`best_tier`] if this CPU lacks them.
#[inline]
pub fn dispatch_on<O: Op>(tier: Tier, op: O) -> O::Output {
    match tier.min(best_tier()) {
        #[cfg(target_arch = "x86_64")]
        Tier::Amx => Avx512::with_tiles().call(op),
        #[cfg(target_arch = "x86_64")]
        Tier::Avx512 => Avx512::detected().call(op),
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 => Avx2::detected().call(op),
        _ => op.run(Scalar::new()),
    }
}

#[cfg(test)]
mod tests;
