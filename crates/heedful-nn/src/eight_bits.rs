//! Weights in 8 bits, for products with rows that are rounded to 8 bits on the way.
//!
//! With a scale `s_w[j]` for each row of a weight `W ~ s_w Q_w`, and one `s_x = max |x| / 127` for each row `x ~ s_x Q_x`:
//!
//! ```text
//! y[i, j] = s_x[i] s_w[j] sum_k Q_x[i, k] Q_w[j, k] + b[j]
//! ```
//!
//! The sums are exact in integers, so a row's result has the same bits whatever the other rows, on every tier. What is lost is the rounding of `x`:
//! at most half of `s_x` a number.

use std::cell::RefCell;

use heedful::simd::bytes::{self, COLUMNS, GROUP};
use heedful::simd::{Isa, Op, dispatch};

/// Rows that meet one panel of the weight after another while the nearest cache holds their sums.
const ROWS: usize = 32;

/// A weight `[outputs, inputs]` of bytes with a scale a row, laid out for products.
#[derive(Clone, Debug)]
pub struct EightBits {
    /// `[outputs / COLUMNS]` panels of `[inputs / GROUP][COLUMNS][GROUP]`, each rounded up.
    panels: Vec<u8>,
    /// `[outputs]`, and zeros up to the end of the last panel.
    scales: Vec<f32>,
    inputs: usize,
    outputs: usize,
}

impl EightBits {
    /// The weight `scales[j] * bytes[j, k]`, `bytes [outputs, inputs]`.
    ///
    /// # Panics
    /// If there are not `scales.len()` rows of bytes.
    pub fn new(weight: &[i8], scales: &[f32]) -> Self {
        let outputs = scales.len();
        let inputs = weight.len().checked_div(outputs).unwrap_or(0);
        assert_eq!(weight.len(), outputs * inputs, "{} bytes in {outputs} rows", weight.len());
        let depth = inputs.next_multiple_of(GROUP);
        let mut panels = vec![0; outputs.div_ceil(COLUMNS) * COLUMNS * depth];
        if depth > 0 {
            for (p, panel) in panels.chunks_exact_mut(COLUMNS * depth).enumerate() {
                bytes::pack(panel, |k, c| {
                    let j = p * COLUMNS + c;
                    if k < inputs && j < outputs { weight[j * inputs + k] } else { 0 }
                });
            }
        }
        let mut scales = scales.to_vec();
        scales.resize(outputs.next_multiple_of(COLUMNS), 0.0);
        Self { panels, scales, inputs, outputs }
    }

    /// `y [n, outputs] = x W^T + b` for `x [n, inputs]`. A row of `x` that holds NaN or infinity gives NaN.
    ///
    /// # Panics
    /// If the sizes do not belong together.
    pub fn product(&self, x: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        assert!(
            x.len() * self.outputs == y.len() * self.inputs,
            "{} numbers times [{}, {}]^T are not {}",
            x.len(),
            self.outputs,
            self.inputs,
            y.len()
        );
        assert!(bias.is_none_or(|bias| bias.len() == self.outputs), "a bias for another weight");
        if self.inputs == 0 || self.outputs == 0 {
            return;
        }
        dispatch(Product { weight: self, x, bias, y });
    }
}

/// Some rows of `x` in 8 bits, and the sums of a panel with them.
#[derive(Default)]
struct Rounded {
    bytes: Vec<i8>,
    scales: Vec<f32>,
    starts: Vec<i32>,
    sums: Vec<[i32; COLUMNS]>,
}

thread_local! {
    static ROUNDED: RefCell<Rounded> =
        const { RefCell::new(Rounded { bytes: Vec::new(), scales: Vec::new(), starts: Vec::new(), sums: Vec::new() }) };
}

struct Product<'a> {
    weight: &'a EightBits,
    x: &'a [f32],
    bias: Option<&'a [f32]>,
    y: &'a mut [f32],
}

impl Op for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, _: I) {
        let Self { weight: &EightBits { ref panels, ref scales, inputs, outputs }, x, bias, y } = self;
        let depth = inputs.next_multiple_of(GROUP);
        let mut rounded = ROUNDED.take();
        for (x, y) in x.chunks(ROWS * inputs).zip(y.chunks_mut(ROWS * outputs)) {
            rounded.round(x, inputs, depth);
            for (p, panel) in panels.chunks_exact(COLUMNS * depth).enumerate() {
                let first = p * COLUMNS;
                let width = (outputs - first).min(COLUMNS);
                let mut biases = [0.0; COLUMNS];
                if let Some(bias) = bias {
                    biases[..width].copy_from_slice(&bias[first..][..width]);
                }
                bytes::sums(panel, &rounded.bytes, &rounded.starts, &mut rounded.sums);
                let scales: &[f32; COLUMNS] = scales[first..].first_chunk().expect("scales up to the end of the last panel");
                for ((row, sums), scale) in y.chunks_exact_mut(outputs).zip(&rounded.sums).zip(&rounded.scales) {
                    // Of constant length where it can be, which makes it a few vector instructions.
                    match row[first..].first_chunk_mut::<COLUMNS>() {
                        Some(row) => finish(row, sums, *scale, scales, &biases),
                        None => finish(&mut row[first..], sums, *scale, scales, &biases),
                    }
                }
            }
        }
        ROUNDED.set(rounded);
    }
}

#[inline(always)]
fn finish(y: &mut [f32], sums: &[i32; COLUMNS], scale: f32, scales: &[f32; COLUMNS], biases: &[f32; COLUMNS]) {
    for (c, y) in y.iter_mut().enumerate() {
        *y = sums[c] as f32 * (scale * scales[c]) + biases[c];
    }
}

impl Rounded {
    /// Takes rows of `inputs` numbers, each filled up with zeros to `depth`.
    #[inline(always)]
    fn round(&mut self, x: &[f32], inputs: usize, depth: usize) {
        let n = x.len() / inputs;
        self.bytes.clear();
        self.bytes.resize(n * depth, 0);
        self.scales.clear();
        self.starts.clear();
        self.sums.resize(n, [0; COLUMNS]);
        for (row, bytes) in x.chunks_exact(inputs).zip(self.bytes.chunks_exact_mut(depth)) {
            self.scales.push(round(row, &mut bytes[..inputs]));
            self.starts.push(bytes::start(bytes));
        }
    }
}

/// Writes `row / scale`, rounded to the nearest integer (ties to even), and returns `scale = max |row| / 127`; NaN if the row is not finite.
#[inline(always)]
fn round(row: &[f32], bytes: &mut [i8]) -> f32 {
    // As integers, magnitudes are in the same order, with infinity and NaN on top; and the largest of integers vectorises.
    let largest = f32::from_bits(row.iter().fold(0, |largest, x| largest.max(x.to_bits() & 0x7fff_ffff)));
    if !largest.is_finite() {
        return f32::NAN;
    }
    // Below this, the inverse would overflow.
    let inverse = if largest > 1e-30 { 127.0 / largest } else { 0.0 };
    // The last bits of a number between 2^23 and 2^24 are its integer part.
    let shift = (3 << 22) as f32;
    for (byte, x) in bytes.iter_mut().zip(row) {
        *byte = (x * inverse + shift).to_bits() as i8;
    }
    largest / 127.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `y` as the formula says, from rows rounded one by one.
    fn textbook(weight: &[i8], scales: &[f32], x: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let inputs = weight.len() / scales.len();
        let mut y = Vec::new();
        for row in x.chunks(inputs) {
            let scale = row.iter().fold(0.0f32, |largest, x| largest.max(x.abs())) / 127.0;
            for (j, (weight, s)) in weight.chunks(inputs).zip(scales).enumerate() {
                let terms = row.iter().zip(weight).map(|(x, w)| {
                    let rounded = if scale > 0.0 { (f64::from(*x) / f64::from(scale)).round_ties_even() } else { 0.0 };
                    rounded * f64::from(*w)
                });
                y.push((terms.sum::<f64>() * f64::from(scale) * f64::from(*s)) as f32 + bias.map_or(0.0, |bias| bias[j]));
            }
        }
        y
    }

    proptest! {
        #[test]
        fn equals_the_formula_and_a_row_does_not_depend_on_others(n in 0usize..70, inputs in 1usize..50, outputs in 1usize..70, with_bias: bool) {
            let weight: Vec<i8> = (0..outputs * inputs).map(|i| (i * 37 % 255) as i8).collect();
            let scales: Vec<f32> = (0..outputs).map(|j| 0.001 * (1 + j % 5) as f32).collect();
            let x: Vec<f32> = (0..n * inputs).map(|i| ((i * 101 % 197) as f32 - 98.0) / 13.0).collect();
            let bias: Vec<f32> = (0..outputs).map(|j| j as f32 - 9.0).collect();
            let bias = with_bias.then_some(&bias[..]);
            let packed = EightBits::new(&weight, &scales);
            let mut y = vec![f32::NAN; n * outputs];
            packed.product(&x, bias, &mut y);
            for (found, expected) in y.iter().zip(textbook(&weight, &scales, &x, bias)) {
                // A number may lie so near the middle of two bytes that f32 rounds it to the other one.
                prop_assert!((found - expected).abs() <= 1e-5 * expected.abs() + 0.005 * 127.0 * 0.07, "{found} {expected}");
            }
            let mut alone = vec![f32::NAN; outputs];
            for (x, y) in x.chunks(inputs).zip(y.chunks(outputs)) {
                packed.product(x, bias, &mut alone);
                prop_assert_eq!(&alone[..], y);
            }
        }
    }

    #[test]
    fn whole_numbers_are_exact() {
        let (weight, scales) = ([1, -2, 3, 4, 5, -6], [1.0, 0.5]);
        let mut y = [0.0; 4];
        EightBits::new(&weight, &scales).product(&[127.0, 10.0, -4.0, 0.0, 0.0, 0.0], Some(&[100.0, 0.0]), &mut y);
        assert_eq!(y, [195.0, 291.0, 100.0, 0.0]);
    }

    #[test]
    fn what_is_not_finite_stays_visible_in_its_row() {
        let packed = EightBits::new(&[1, 2, 3, 4], &[1.0, 1.0]);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut y = [0.0; 4];
            packed.product(&[bad, 1.0, 127.0, 0.0], None, &mut y);
            assert!(y[0].is_nan() && y[1].is_nan());
            assert_eq!(y[2..], [127.0, 381.0]);
        }
    }
}
