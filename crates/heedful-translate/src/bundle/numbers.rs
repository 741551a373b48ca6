//! Weights as stored bytes and back.
//!
//! With 8 bits, a row `w` of a matrix becomes `round(w / scale)` with `scale = max |w| / 127`; so no weight moves by more than half a scale.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::header::Dtype;

/// Numbers converted at once: as many as stay in the nearest cache.
const BLOCK: usize = 1024;

/// Numbers per row of a tensor, which is its last dimension.
pub fn columns(shape: &[usize]) -> usize {
    shape.last().copied().unwrap_or(1).max(1)
}

/// Rows of a tensor.
pub fn rows(shape: &[usize]) -> usize {
    shape.iter().product::<usize>() / columns(shape)
}

/// The largest magnitude in each row over 127.
pub fn scales(values: &[f32], columns: usize) -> Vec<f32> {
    values.chunks(columns).map(|row| row.iter().fold(0.0f32, |largest, value| largest.max(value.abs())) / 127.0).collect()
}

/// Appends `values` as `dtype`; `scales` are those of the rows, for [`Dtype::I8`].
pub fn write(values: &[f32], dtype: Dtype, columns: usize, scales: &[f32], bytes: &mut Vec<u8>) {
    match dtype {
        Dtype::F32 => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Dtype::F16 => bytes.extend(values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes())),
        Dtype::I8 => bytes.extend(values.chunks(columns).zip(scales).flat_map(|(row, &scale)| {
            let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            row.iter().map(move |value| (value * inverse).round().clamp(-127.0, 127.0) as i8 as u8)
        })),
    }
}

/// Reads what [`write`] wrote into `values`, which has as many numbers.
pub fn read(bytes: &[u8], dtype: Dtype, columns: usize, scales: &[f32], values: &mut [f32]) {
    match dtype {
        Dtype::F32 => {
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
                *value = f32::from_le_bytes(*bytes);
            }
        }
        Dtype::F16 => {
            let mut halves = [f16::ZERO; BLOCK];
            for (values, bytes) in values.chunks_mut(BLOCK).zip(bytes.chunks(2 * BLOCK)) {
                let halves = &mut halves[..values.len()];
                for (half, bytes) in halves.iter_mut().zip(bytes.as_chunks().0) {
                    *half = f16::from_le_bytes(*bytes);
                }
                halves.convert_to_f32_slice(values);
            }
        }
        Dtype::I8 => {
            for ((row, bytes), &scale) in values.chunks_mut(columns).zip(bytes.chunks(columns)).zip(scales) {
                for (value, byte) in row.iter_mut().zip(bytes) {
                    *value = f32::from(byte.cast_signed()) * scale;
                }
            }
        }
    }
}

/// Whether no number is NaN or infinite.
pub fn are_finite(values: &[f32]) -> bool {
    // The exponent of both is all ones; the largest of integers vectorises where an early end would not.
    values.chunks(BLOCK).all(|block| block.iter().fold(0, |largest, value| largest.max(value.to_bits() & 0x7fff_ffff)) < 0x7f80_0000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(values: &[f32], dtype: Dtype, columns: usize) -> Vec<f32> {
        let scales = scales(values, columns);
        let mut bytes = Vec::new();
        write(values, dtype, columns, &scales, &mut bytes);
        assert_eq!(bytes.len(), values.len() * dtype.size());
        let mut back = vec![f32::NAN; values.len()];
        read(&bytes, dtype, columns, &scales, &mut back);
        back
    }

    #[test]
    fn each_dtype_keeps_what_it_can_hold() {
        let values: Vec<f32> = (0..3 * 1111).map(|i| ((i * 7919 % 1009) as f32 - 504.0) * if i < 1111 { 1e-3 } else { 0.07 }).collect();
        assert_eq!(round_trip(&values, Dtype::F32, 1111), values);
        for (value, back) in values.iter().zip(round_trip(&values, Dtype::F16, 1111)) {
            assert!((value - back).abs() <= value.abs() / 2048.0 + 1e-7, "{value} {back}");
        }
        let scales = scales(&values, 1111);
        for (i, (value, back)) in values.iter().zip(round_trip(&values, Dtype::I8, 1111)).enumerate() {
            assert!((value - back).abs() <= scales[i / 1111] * 0.5001, "{value} {back}");
        }
    }

    #[test]
    fn a_row_of_zeros_stays_zero() {
        assert_eq!(round_trip(&[0.0, 0.0, 127.0, -254.0], Dtype::I8, 2), [0.0, 0.0, 128.0, -254.0]);
    }

    #[test]
    fn nan_and_infinity_are_found_wherever_they_are() {
        assert!(are_finite(&[f32::MAX, f32::MIN, f32::MIN_POSITIVE, -0.0]));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in [0, 1023, 1024, 2047] {
                let mut values = vec![1.0; 2048];
                values[place] = bad;
                assert!(!are_finite(&values));
            }
        }
    }
}
