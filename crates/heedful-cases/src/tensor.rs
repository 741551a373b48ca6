//! A tensor as it is stored in a suite.

use safetensors::tensor::{Dtype, TensorView};

use crate::Stop;

/// The numbers of a tensor, row-major. Floats of every width are kept as f64, which represents all of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// f64, f32, f16 or bf16.
    Floats(Vec<f64>),
    /// Signed or unsigned integers.
    Integers(Vec<i64>),
    /// Truth values.
    Bools(Vec<bool>),
}

/// A row-major tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name in the file's header: `F32`, `BF16`, `I64`, ...
    pub dtype: String,
    /// Row-major shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// The strides, in elements, of the view that the original test passed. The numbers here are contiguous all the same.
    pub strides: Option<Vec<usize>>,
    /// The numbers.
    pub values: Values,
}

impl Tensor {
    /// A tensor of f32 numbers, as a runner computes it.
    pub fn floats(shape: &[usize], values: impl IntoIterator<Item = f32>) -> Self {
        Self::new("F32", shape, Values::Floats(values.into_iter().map(f64::from).collect()))
    }

    /// A tensor of f64 numbers, as a runner computes it.
    pub fn doubles(shape: &[usize], values: Vec<f64>) -> Self {
        Self::new("F64", shape, Values::Floats(values))
    }

    fn new(dtype: &str, shape: &[usize], values: Values) -> Self {
        Self { dtype: dtype.to_owned(), shape: shape.to_vec(), strides: None, values }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match &self.values {
            Values::Floats(values) => values.len(),
            Values::Integers(values) => values.len(),
            Values::Bools(values) => values.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers as f32.
    ///
    /// # Errors
    /// If they are not floats.
    pub fn f32s(&self) -> Result<Vec<f32>, Stop> {
        Ok(self.f64s()?.iter().map(|&x| x as f32).collect())
    }

    /// The numbers as f64.
    ///
    /// # Errors
    /// If they are not floats.
    pub fn f64s(&self) -> Result<&[f64], Stop> {
        match &self.values {
            Values::Floats(values) => Ok(values),
            _ => Err(self.is_not("floats")),
        }
    }

    /// The numbers as signed integers.
    ///
    /// # Errors
    /// If they are not integers.
    pub fn integers(&self) -> Result<&[i64], Stop> {
        match &self.values {
            Values::Integers(values) => Ok(values),
            _ => Err(self.is_not("integers")),
        }
    }

    /// The numbers as lengths or positions.
    ///
    /// # Errors
    /// If they are not integers, or one of them is negative.
    pub fn usizes(&self) -> Result<Vec<usize>, Stop> {
        let convert = |&x: &i64| usize::try_from(x).map_err(|_| Stop::fail(format!("{x} where a length or position belongs")));
        self.integers()?.iter().map(convert).collect()
    }

    /// The truth values.
    ///
    /// # Errors
    /// If it holds numbers.
    pub fn bools(&self) -> Result<&[bool], Stop> {
        match &self.values {
            Values::Bools(values) => Ok(values),
            _ => Err(self.is_not("truth values")),
        }
    }

    fn is_not(&self, wanted: &str) -> Stop {
        Stop::fail(format!("a tensor of dtype {} and shape {:?} where {wanted} belong", self.dtype, self.shape))
    }

    pub(crate) fn read(view: &TensorView<'_>) -> Result<Self, String> {
        let bytes = view.data();
        let dtype = view.dtype();
        let values = match dtype {
            Dtype::F64 => Values::Floats(chunks(bytes, f64::from_le_bytes)),
            Dtype::F32 => Values::Floats(chunks(bytes, |b| f32::from_le_bytes(b).into())),
            Dtype::BF16 => Values::Floats(chunks(bytes, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16).into())),
            Dtype::F16 => Values::Floats(chunks(bytes, |b| f16_to_f64(u16::from_le_bytes(b)))),
            Dtype::I64 => Values::Integers(chunks(bytes, i64::from_le_bytes)),
            Dtype::I32 => Values::Integers(chunks(bytes, |b| i32::from_le_bytes(b).into())),
            Dtype::I16 => Values::Integers(chunks(bytes, |b| i16::from_le_bytes(b).into())),
            Dtype::I8 => Values::Integers(chunks(bytes, |b| i8::from_le_bytes(b).into())),
            Dtype::U8 => Values::Integers(chunks(bytes, |b| u8::from_le_bytes(b).into())),
            Dtype::BOOL => Values::Bools(chunks(bytes, |[b]| b != 0)),
            other => return Err(format!("dtype {other:?} is unknown to this reader")),
        };
        Ok(Self::new(&format!("{dtype:?}"), view.shape(), values))
    }
}

fn chunks<const N: usize, T>(bytes: &[u8], convert: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| convert(chunk)).collect()
}

/// IEEE 754 binary16.
fn f16_to_f64(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff) / 1024.0);
    sign * match exponent {
        0 => fraction * 2f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction) * 2f64.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_numbers() {
        for (bits, value) in [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 2f64.powi(-24)), (0x7c00, f64::INFINITY)] {
            assert_eq!(f16_to_f64(bits), value);
        }
        assert!(f16_to_f64(0x7e00).is_nan());
    }
}
