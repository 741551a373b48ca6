//! Products of f32 in the tile registers of AMX, each number as a sum of three bf16.
//!
//! A bf16 has 8 significant bits and an f32 has 24, so that `x = h + m + l` is exact, with `|m| <= 2^-8 |x|` and `|l| <= 2^-17 |x|`. Of the nine
//! products of the thirds of two numbers six are added up, in f32, the smallest first: `l h`, `m h`, `m m`, `h m`, `h l`, `h h`. The three that are
//! left out come to `2^-24` of the product, which is what rounding it to f32 may cost, so that the sums are as good as those of multiply-adds
//! (the idea: Henry, Tang and Heinecke 2019, "Leveraging the bfloat16 artificial intelligence datatype for higher-precision computations"). A
//! tile instruction does 16 x 16 x 32 of these products in 16 cycles: six of them still take less than half the time of multiply-adds.
//!
//! What differs from f32: thirds and sums below `2^-126` count as 0, and an infinity becomes NaN. Whoever multiplies looks first
//! whether all numbers are ordinary (`Rows::are_ordinary`).

use std::arch::asm;
#[allow(clippy::wildcard_imports)] // Every name in it begins with `_`.
use std::arch::x86_64::*;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::OnceLock;

/// Rows of a tile of any operand, and columns of one of the result.
const SIDE: usize = 16;
/// Terms of a sum that a tile instruction adds up.
pub const TERMS: usize = 32;
/// Numbers times this must be finite to be rounded to thirds.
pub const HEADROOM: f32 = 128.0;

/// One third of a block of an operand, as the tile registers take it: of the left one `[16 rows][32 terms]`, of the right one
/// `[16 pairs of terms][16 columns][2]`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Tile([u16; SIDE * TERMS]);

const EMPTY: [Tile; 3] = [Tile([0; SIDE * TERMS]); 3];

/// Proof that the CPU has AMX for bf16, AVX-512, and leave of the operating system to use them.
#[derive(Clone, Copy, Debug)]
pub struct Tiles(());

impl Tiles {
    /// Asks the CPU and the operating system, once.
    pub(super) fn detect() -> Option<Self> {
        static FOUND: OnceLock<bool> = OnceLock::new();
        FOUND.get_or_init(|| super::Avx512::detect() && has_instructions() && is_permitted()).then_some(Self(()))
    }

    /// Splits numbers into thirds.
    #[inline(always)]
    pub fn split(self, numbers: &[f32; SIDE]) -> Split {
        // SAFETY: the token; 16 numbers are readable.
        Split(unsafe { thirds(_mm512_loadu_ps(numbers.as_ptr())) })
    }

    /// Prepares this thread's tile registers, until the guard is dropped. One guard at a time: the first of two to be dropped would put them out of use
    /// for the other, whose next product would end the process with an illegal instruction.
    #[inline]
    pub fn open(self) -> Registers {
        #[repr(C, align(64))]
        struct Shapes {
            palette: u8,
            start_row: u8,
            reserved: [u8; 14],
            row_bytes: [u16; 16],
            rows: [u8; 16],
        }
        static ALL: Shapes = {
            let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
            let mut i = 0;
            while i < 8 {
                (row_bytes[i], rows[i]) = ((2 * TERMS) as u16, SIDE as u8);
                i += 1;
            }
            Shapes { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
        };
        // SAFETY: `self` is proof of the instruction, and the 64 bytes are a valid description of eight tiles.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const ALL, options(nostack, readonly, preserves_flags)) };
        Registers { spare: UnsafeCell::new(Spare([0.0; 4 * SIDE * SIDE])), thread: PhantomData }
    }
}

/// Leaf 7 of `cpuid`: AMX-TILE and AMX-BF16.
fn has_instructions() -> bool {
    let (bf16, tile) = (1 << 22, 1 << 24);
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & (bf16 | tile) == bf16 | tile
}

/// Linux saves tile registers only for processes that ask for it.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: a system call with two numbers; it changes no memory of this process.
    unsafe {
        asm!("syscall", inlateout("rax") result, in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") XFEATURE_XTILEDATA, out("rcx") _, out("r11") _,
            options(nostack));
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// 16 numbers in thirds, which operands are [put](Left::put) together from.
#[derive(Clone, Copy, Debug)]
pub struct Split([__m512i; 3]);

/// A matrix in thirds, in blocks of 16 rows (or columns) and 32 terms: `[blocks][depth]`.
#[derive(Debug, Default)]
struct Thirds {
    tiles: Vec<[Tile; 3]>,
    blocks: usize,
    depth: usize,
}

impl Thirds {
    fn resize(&mut self, size: usize, terms: usize) {
        (self.blocks, self.depth) = (size.div_ceil(SIDE), terms.div_ceil(TERMS));
        self.tiles.resize((self.blocks * self.depth).max(self.tiles.len()), EMPTY);
    }
}

/// The left operand of a product, `[rows][terms]`.
#[derive(Debug, Default)]
pub struct Left(Thirds);

/// The right operand of a product, `[terms][columns]`.
#[derive(Debug, Default)]
pub struct Right(Thirds);

impl Left {
    /// Takes in `rows[n * row_stride + k]`, `n < count`, `k < terms`.
    #[inline]
    pub fn fill(&mut self, _: Tiles, rows: &[f32], row_stride: usize, count: usize, terms: usize) {
        self.0.resize(count, terms);
        let needed = count.saturating_sub(1).saturating_mul(row_stride).saturating_add(terms);
        assert!(count == 0 || terms == 0 || needed <= rows.len(), "tiles: the left operand is too short");
        // SAFETY: the token; and each row is as long as asserted.
        unsafe { fill_left(&mut self.0, rows, row_stride, count, terms) };
    }

    /// Makes room for `count` rows of `terms` terms, which are to be [put](Self::put) into it; what they are is left open.
    #[inline]
    pub fn resize(&mut self, count: usize, terms: usize) {
        self.0.resize(count, terms);
    }

    /// Takes in 32 terms of a row from term `32 block` on: the even ones and the odd ones.
    #[inline(always)]
    pub fn put(&mut self, row: usize, block: usize, even: Split, odd: Split) {
        put(&mut self.0.tiles[row / SIDE * self.0.depth + block], row % SIDE, even, odd);
    }

    /// Lets 32 terms of some rows be 0, from term `32 block` on.
    #[inline]
    pub fn clear(&mut self, rows: Range<usize>, block: usize) {
        for row in rows {
            for third in &mut self.0.tiles[row / SIDE * self.0.depth + block] {
                third.0[row % SIDE * TERMS..][..TERMS].fill(0);
            }
        }
    }
}

impl Right {
    /// Takes in `columns[k * stride + c]`, `k < terms`, `c < count`, which is a multiple of 16.
    #[inline(always)]
    pub fn fill(&mut self, tiles: Tiles, columns: &[f32], stride: usize, count: usize, terms: usize) {
        self.resize(count, terms);
        let needed = terms.saturating_sub(1).saturating_mul(stride).saturating_add(count);
        assert!(count == 0 || terms == 0 || needed <= columns.len(), "tiles: the right operand is too short");
        for pair in 0..terms.div_ceil(2) {
            for block in 0..count / SIDE {
                let at = 2 * pair * stride + block * SIDE;
                let (even, _) = columns[at..].split_first_chunk().expect("16 columns");
                let odd = match columns.get(at + stride..at + stride + SIDE) {
                    Some(odd) if 2 * pair + 1 < terms => odd.first_chunk().expect("16 columns"),
                    _ => &[0.0; SIDE],
                };
                self.put(pair, block, tiles.split(even), tiles.split(odd));
            }
        }
    }

    /// Makes room for `terms` terms of `count` columns, a multiple of 16, which are to be [put](Self::put) into it. Terms that are missing up to a
    /// multiple of 32 become 0.
    #[inline]
    pub fn resize(&mut self, count: usize, terms: usize) {
        assert!(count.is_multiple_of(SIDE), "tiles: {count} columns are no multiple of {SIDE}");
        self.0.resize(count, terms);
        if let Some(last) = self.0.depth.checked_sub(1)
            && !terms.is_multiple_of(TERMS)
        {
            for block in self.0.tiles[..self.0.blocks * self.0.depth].chunks_exact_mut(self.0.depth) {
                for third in &mut block[last] {
                    third.0[terms % TERMS / 2 * TERMS..].fill(0);
                }
            }
        }
    }

    /// Takes in terms `2 pair` and `2 pair + 1` of the 16 columns from `16 block` on.
    #[inline(always)]
    pub fn put(&mut self, pair: usize, block: usize, even: Split, odd: Split) {
        put(&mut self.0.tiles[block * self.0.depth + pair / SIDE], pair % SIDE, even, odd);
    }
}

/// Writes row `row` of 16 of a block: numbers in turn from `even` and `odd`.
#[inline(always)]
fn put(tiles: &mut [Tile; 3], row: usize, Split(even): Split, Split(odd): Split) {
    for third in 0..3 {
        let to = tiles[third].0[row * TERMS..][..TERMS].as_mut_ptr();
        // SAFETY: a `Split` is proof of the instructions; a row of a tile, 64 bytes on a line of the cache, is writable.
        unsafe {
            // `even >> 16 | odd & upper`: the last third of a number close to the smallest has bits in its lower half.
            let upper = _mm512_set1_epi32(0xffff_0000_u32.cast_signed());
            let pairs = _mm512_ternarylogic_epi32::<0xf8>(_mm512_srli_epi32::<16>(even[third]), odd[third], upper);
            _mm512_store_si512(to.cast(), pairs);
        }
    }
}

/// # Safety
/// AVX-512 F and BW; `rows` reaches as far as the arguments say.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn fill_left(to: &mut Thirds, rows: &[f32], row_stride: usize, count: usize, terms: usize) {
    // The upper halves of the lanes of both, in order.
    let upper: [u16; 32] = std::array::from_fn(|i| 2 * i as u16 + 1);
    // SAFETY: 64 bytes are readable.
    let upper = unsafe { _mm512_loadu_si512(upper.as_ptr().cast()) };
    for (block, tiles) in to.tiles[..to.blocks * to.depth].chunks_exact_mut(to.depth.max(1)).enumerate() {
        for (k, tiles) in tiles.iter_mut().enumerate() {
            for i in 0..SIDE {
                let (n, k) = (block * SIDE + i, k * TERMS);
                let used = if n < count { terms - k } else { 0 };
                let row = rows.as_ptr().wrapping_add(n * row_stride + k);
                // SAFETY: the masked loads read numbers of row `n` that are there.
                let (low, high) = unsafe {
                    let low = _mm512_maskz_loadu_ps(lanes_below(used), row);
                    (thirds(low), thirds(_mm512_maskz_loadu_ps(lanes_below(used.saturating_sub(SIDE)), row.wrapping_add(SIDE))))
                };
                for third in 0..3 {
                    let row = _mm512_permutex2var_epi16(low[third], upper, high[third]);
                    // SAFETY: row `i` of 16 of a tile, 64 bytes.
                    unsafe { _mm512_store_si512(tiles[third].0.as_mut_ptr().add(i * TERMS).cast(), row) };
                }
            }
        }
    }
}

/// The lanes below `n`.
#[inline(always)]
fn lanes_below(n: usize) -> __mmask16 {
    ((1_u32 << n.min(SIDE)) - 1) as __mmask16
}

/// `[h, m, l]` in the upper halves of the lanes; the lower halves are 0, except of an `l` that is denormal, where they are to be cut off.
///
/// # Safety
/// AVX-512 F.
#[inline(always)]
unsafe fn thirds(x: __m512) -> [__m512i; 3] {
    // SAFETY: the caller's promise.
    unsafe {
        let (half, upper) = (_mm512_set1_epi32(0x8000), _mm512_set1_epi32(0xffff_0000_u32.cast_signed()));
        let high = _mm512_and_si512(_mm512_add_epi32(_mm512_castps_si512(x), half), upper);
        let rest = _mm512_sub_ps(x, _mm512_castsi512_ps(high));
        let middle = _mm512_and_si512(_mm512_add_epi32(_mm512_castps_si512(rest), half), upper);
        [high, middle, _mm512_castps_si512(_mm512_sub_ps(rest, _mm512_castsi512_ps(middle)))]
    }
}

/// This thread's tile registers, ready for use.
#[derive(Debug)]
pub struct Registers {
    /// Where what lies beyond the edges of a result goes.
    spare: UnsafeCell<Spare>,
    /// They are this thread's alone.
    thread: PhantomData<*mut ()>,
}

/// 32 x 32 numbers of a result, on lines of the cache.
#[derive(Debug)]
#[repr(C, align(64))]
struct Spare([f32; 4 * SIDE * SIDE]);

impl Drop for Registers {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `self` is proof of the instruction.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }
}

/// `out[n][c] (+)= sum_k left[n][k] right[k][c]` for the rows from block `first[0]` of the left operand on, and its terms from block `first[1]` on.
#[derive(Debug)]
pub struct Product<'a> {
    /// `[rows][terms]`
    pub left: &'a Left,
    /// The first of its rows and terms that take part, in blocks of 16 rows and of 32 terms.
    pub first: [usize; 2],
    /// `[terms][columns]`, all of which take part.
    pub right: &'a Right,
    /// Rows of the result.
    pub count: usize,
    /// `[count][columns]`
    pub out: &'a mut [f32],
    /// From row to row of the result.
    pub out_stride: usize,
    /// Whether to add to what `out` holds, rather than to overwrite it.
    pub accumulate: bool,
}

/// Loads thirds of an operand, and adds the products of all four pairs of blocks.
macro_rules! multiply {
    ([$($loads:literal),*], $($operands:tt)*) => {
        asm!(
            $($loads,)*
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            row = in(reg) 2 * TERMS,
            $($operands)*
            options(nostack, readonly, preserves_flags),
        )
    };
}

/// What is done beside products in tile registers.
///
/// The tile unit and the vectors work at the same time only if both find their next instructions within the few dozen that the CPU looks ahead:
/// a turn should be short, some 60 instructions, and without branches that depend on data. To be marked `#[inline(always)]`, so that it is compiled
/// with the tier's instructions.
pub trait Beside {
    /// Does the part of it that belongs to `phase`, a constant that goes from 0 to [`PHASES`] over and over. It must not be a product in tile registers.
    fn turn(&mut self, phase: usize);
}

/// Turns while a block of 32 x 32 sums takes in 32 terms. In each of them the tile unit is busy for 64 cycles.
pub const PHASES: usize = 6;

/// Nothing.
impl Beside for () {
    #[inline(always)]
    fn turn(&mut self, _: usize) {}
}

impl Registers {
    /// Computes a product.
    ///
    /// # Panics
    /// If the operands or the result are too small.
    pub fn multiply(&self, product: Product<'_>) {
        self.multiply_beside([Some(product)], &mut ());
    }

    /// Computes products, with something else done `beside` them. Blocks of 32 x 32 sums are taken one after the other in four registers; of the
    /// others, two hold a third of the left operand and two one of the right. Each sum is taken in the same order wherever it lies.
    ///
    /// # Panics
    /// If the operands or the result are too small.
    #[inline(always)]
    pub fn multiply_beside<const N: usize>(&self, products: [Option<Product<'_>>; N], beside: &mut impl Beside) {
        for mut product in products.into_iter().flatten() {
            let depth = product.check();
            for column in (0..product.width()).step_by(2 * SIDE) {
                for row in (0..product.count).step_by(2 * SIDE) {
                    let [mut a, mut b] = product.blocks(row, column);
                    let is_whole = product.size(row, column) == [2 * SIDE; 2];
                    if product.accumulate && !is_whole {
                        self.cross_edge(&mut product, row, column, false);
                    }
                    let (c, stride) = if is_whole {
                        (product.out[row * product.out_stride + column..].as_mut_ptr(), product.out_stride)
                    } else {
                        (self.spare.get().cast(), 2 * SIDE)
                    };
                    // SAFETY: the registers are ready; `depth` blocks are readable from each pointer of `a` and `b` on, and 32 rows of 32 numbers
                    // are writable from `c` on.
                    unsafe {
                        start(c, stride, product.accumulate);
                        for _ in 0..depth {
                            let ([a0, a1], [b0, b1]) = (a, b);
                            multiply!(
                                [
                                    "tileloadd tmm4, [{a0} + {row} + 2048]",
                                    "tileloadd tmm5, [{a1} + {row} + 2048]",
                                    "tileloadd tmm6, [{b0} + {row}]",
                                    "tileloadd tmm7, [{b1} + {row}]"
                                ],
                                a0 = in(reg) a0, a1 = in(reg) a1, b0 = in(reg) b0, b1 = in(reg) b1,
                            );
                            beside.turn(0);
                            multiply!(
                                ["tileloadd tmm4, [{a0} + {row} + 1024]", "tileloadd tmm5, [{a1} + {row} + 1024]"],
                                a0 = in(reg) a0, a1 = in(reg) a1,
                            );
                            beside.turn(1);
                            multiply!(
                                ["tileloadd tmm6, [{b0} + {row} + 1024]", "tileloadd tmm7, [{b1} + {row} + 1024]"],
                                b0 = in(reg) b0, b1 = in(reg) b1,
                            );
                            beside.turn(2);
                            multiply!(
                                ["tileloadd tmm4, [{a0} + {row}]", "tileloadd tmm5, [{a1} + {row}]"],
                                a0 = in(reg) a0, a1 = in(reg) a1,
                            );
                            beside.turn(3);
                            multiply!(
                                ["tileloadd tmm6, [{b0} + {row} + 2048]", "tileloadd tmm7, [{b1} + {row} + 2048]"],
                                b0 = in(reg) b0, b1 = in(reg) b1,
                            );
                            beside.turn(4);
                            multiply!(
                                ["tileloadd tmm6, [{b0} + {row}]", "tileloadd tmm7, [{b1} + {row}]"],
                                b0 = in(reg) b0, b1 = in(reg) b1,
                            );
                            beside.turn(5);
                            (a, b) = (a.map(|a| a.wrapping_add(1)), b.map(|b| b.wrapping_add(1)));
                        }
                        store(c, stride);
                    }
                    if !is_whole {
                        self.cross_edge(&mut product, row, column, true);
                    }
                }
            }
        }
    }

    /// Copies a block of sums that reaches beyond the edges between the result and `spare`.
    fn cross_edge(&self, product: &mut Product<'_>, row: usize, column: usize, outwards: bool) {
        let [rows, columns] = product.size(row, column);
        let out = product.out[row * product.out_stride + column..].chunks_mut(product.out_stride);
        // SAFETY: nothing else borrows it, and this borrow ends here.
        let spare = unsafe { &mut *self.spare.get() };
        for (spare, out) in spare.0.chunks_exact_mut(2 * SIDE).zip(out).take(rows) {
            if outwards {
                out[..columns].copy_from_slice(&spare[..columns]);
            } else {
                spare[..columns].copy_from_slice(&out[..columns]);
            }
        }
    }
}

impl Product<'_> {
    /// Columns of the result.
    #[inline(always)]
    fn width(&self) -> usize {
        self.right.0.blocks * SIDE
    }

    /// Returns the terms of a sum, in blocks.
    #[inline(always)]
    fn check(&self) -> usize {
        let (left, depth) = (&self.left.0, self.right.0.depth);
        let [first_row, first_term] = self.first;
        assert!(
            first_row + self.count.div_ceil(SIDE) <= left.blocks && first_term + depth <= left.depth,
            "tiles: the left operand is too small"
        );
        let needed = self.count.saturating_sub(1).saturating_mul(self.out_stride).saturating_add(self.width());
        assert!(self.count == 0 || needed <= self.out.len(), "tiles: the result is too short");
        depth
    }

    /// Where the operands of a block of sums begin; beyond the edges, those of its neighbour.
    #[inline(always)]
    fn blocks(&self, row: usize, column: usize) -> [[*const [Tile; 3]; 2]; 2] {
        let (left, right) = (&self.left.0, &self.right.0);
        let two = |blocks: usize, i: usize| [i, (i + 1).min(blocks - 1)];
        [
            two(left.blocks, self.first[0] + row / SIDE)
                .map(|block| left.tiles[block * left.depth + self.first[1]..][..right.depth].as_ptr()),
            two(right.blocks, column / SIDE).map(|block| right.tiles[block * right.depth..][..right.depth].as_ptr()),
        ]
    }

    /// Rows and columns that a block of sums has.
    #[inline(always)]
    fn size(&self, row: usize, column: usize) -> [usize; 2] {
        [(self.count - row).min(2 * SIDE), (self.width() - column).min(2 * SIDE)]
    }
}

/// Loads 32 x 32 sums so far, or starts with 0.
///
/// # Safety
/// The registers must be ready; from `c` on, 32 rows of 32 numbers, `stride` apart, must be readable.
#[inline(always)]
unsafe fn start(c: *const f32, stride: usize, accumulate: bool) {
    // SAFETY: the caller's promise.
    unsafe {
        if accumulate {
            asm!(
                "tileloadd tmm0, [{c0} + {stride}]",
                "tileloadd tmm1, [{c0} + {stride} + 64]",
                "tileloadd tmm2, [{c1} + {stride}]",
                "tileloadd tmm3, [{c1} + {stride} + 64]",
                c0 = in(reg) c,
                c1 = in(reg) c.wrapping_add(SIDE * stride),
                stride = in(reg) stride * size_of::<f32>(),
                options(nostack, readonly, preserves_flags),
            );
        } else {
            asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nomem, nostack, preserves_flags));
        }
    }
}

/// Stores 32 x 32 sums.
///
/// # Safety
/// The registers must be ready; from `c` on, 32 rows of 32 numbers, `stride` apart, must be writable.
#[inline(always)]
unsafe fn store(c: *mut f32, stride: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "tilestored [{c0} + {stride}], tmm0",
            "tilestored [{c0} + {stride} + 64], tmm1",
            "tilestored [{c1} + {stride}], tmm2",
            "tilestored [{c1} + {stride} + 64], tmm3",
            c0 = in(reg) c,
            c1 = in(reg) c.wrapping_add(SIDE * stride),
            stride = in(reg) stride * size_of::<f32>(),
            options(nostack, preserves_flags),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// In [-1, 1), with all 24 bits in use.
    fn numbers(seed: u64) -> impl Iterator<Item = f32> {
        let mut state = seed;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1 << 23) as f32) - 1.0
        })
    }

    #[test]
    fn numbers_close_to_the_smallest_lose_digits_and_nothing_else() {
        let Some(tiles) = Tiles::detect() else { return };
        let tiny: Vec<f32> = numbers(7).take(64 * SIDE).enumerate().map(|(i, x)| x * 2_f32.powi(i as i32 % 49 - 149)).collect();
        let (mut l, mut r) = (Left::default(), Right::default());
        let mut out = vec![0.0; 2 * SIDE];
        l.fill(tiles, &[1.0; 128], 64, 2, 64);
        r.fill(tiles, &tiny, SIDE, SIDE, 64);
        tiles.open().multiply(Product { left: &l, first: [0, 0], right: &r, count: 2, out: &mut out, out_stride: SIDE, accumulate: false });
        for (c, out) in out.iter().enumerate() {
            let sum: f64 = tiny[c % SIDE..].iter().step_by(SIDE).map(|&x| f64::from(x)).sum();
            assert!((f64::from(*out) - sum).abs() < 64.0 * f64::from(f32::MIN_POSITIVE), "{out} for {sum}");
        }
    }

    proptest! {
        #[test]
        fn sums_are_as_good_as_those_of_f32(
            count in 1usize..70,
            columns in 1usize..5,
            terms in 1usize..100,
            (skip, pad) in (0usize..3, 0usize..20),
            accumulate: bool,
            seed: u64,
        ) {
            let Some(tiles) = Tiles::detect() else { return Ok(()) };
            let (width, rows) = (columns * SIDE, skip * SIDE + count);
            let (stride, out_stride) = (terms + pad, width + pad);
            let left: Vec<f32> = numbers(seed).take(rows * stride).collect();
            let right: Vec<f32> = numbers(!seed).take(terms * out_stride).collect();
            let mut out: Vec<f32> = numbers(seed ^ 1).take(count * out_stride).collect();
            let before = out.clone();
            let (mut l, mut r) = (Left::default(), Right::default());
            // What an operand held before does not matter.
            l.fill(tiles, &[f32::NAN; 4000], 40, 100, 40);
            l.fill(tiles, &left, stride, rows, terms);
            r.fill(tiles, &right, out_stride, width, terms);
            tiles.open().multiply(Product { left: &l, first: [skip, 0], right: &r, count, out: &mut out, out_stride, accumulate });
            for (i, (out, before)) in out.iter().zip(before).enumerate() {
                let (n, c) = (i / out_stride, i % out_stride);
                if c >= width {
                    prop_assert_eq!(*out, before);
                    continue;
                }
                let products = (0..terms).map(|k| f64::from(left[(skip * SIDE + n) * stride + k]) * f64::from(right[k * out_stride + c]));
                let start = if accumulate { f64::from(before) } else { 0.0 };
                let sum = start + products.clone().sum::<f64>();
                let size = start.abs() + products.map(f64::abs).sum::<f64>();
                // That of multiply-adds may be `terms / 2^24`.
                prop_assert!((f64::from(*out) - sum).abs() <= size * 4.0 * f64::from(f32::EPSILON), "{out} for {sum} of {size}");
            }
        }
    }
}
