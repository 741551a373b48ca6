//! When two tensors count as equal.

use crate::{Tensor, Values};

/// `|got - expected| <= absolute + relative * |expected|`, element by element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Relative part.
    pub relative: f64,
    /// Absolute part.
    pub absolute: f64,
}

/// Compares `got` with `expected`: NaN must meet NaN, an infinity the same infinity (any infinity if `any_infinity`), integers and
/// truth values must be equal, and other numbers lie within the tolerance.
///
/// # Errors
/// Says what differs, and the largest error.
pub fn compare(got: &Tensor, expected: &Tensor, tolerance: Tolerance, any_infinity: bool) -> Result<(), String> {
    if got.shape != expected.shape {
        return Err(format!("shape {:?}, expected {:?}", got.shape, expected.shape));
    }
    match (&got.values, &expected.values) {
        (Values::Floats(got), Values::Floats(expected)) => floats(got, expected, tolerance, any_infinity),
        (Values::Integers(got), Values::Integers(expected)) => exact(got, expected),
        (Values::Bools(got), Values::Bools(expected)) => exact(got, expected),
        _ => Err(format!("dtype {}, expected {}", got.dtype, expected.dtype)),
    }
}

fn exact<T: PartialEq + std::fmt::Debug>(got: &[T], expected: &[T]) -> Result<(), String> {
    match got.iter().zip(expected).position(|(g, e)| g != e) {
        Some(i) => Err(format!("element {i} is {:?}, expected {:?}", got[i], expected[i])),
        None => Ok(()),
    }
}

fn floats(got: &[f64], expected: &[f64], tolerance: Tolerance, any_infinity: bool) -> Result<(), String> {
    let mut wrong = 0;
    let mut largest = (0.0, String::new());
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        let special = e.is_nan() || g.is_nan() || e.is_infinite() || g.is_infinite();
        let equal = (e.is_nan() && g.is_nan()) || g == e || (any_infinity && e.is_infinite() && g.is_infinite());
        let (error, allowed) =
            if special { (f64::INFINITY, 0.0) } else { ((g - e).abs(), tolerance.absolute + tolerance.relative * e.abs()) };
        if !equal && error > allowed {
            wrong += 1;
            let ratio = error / allowed.max(f64::MIN_POSITIVE);
            if ratio > largest.0 {
                largest = (ratio, format!("{g:e} for {e:e} at element {i}: largest error {error:.3e}, allowed {allowed:.3e}"));
            }
        }
    }
    if wrong == 0 { Ok(()) } else { Err(format!("{}; {wrong} of {} elements differ", largest.1, got.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(got: &[f64], expected: &[f64], any_infinity: bool) -> bool {
        let tensor = |x: &[f64]| Tensor::doubles(&[x.len()], x.to_vec());
        compare(&tensor(got), &tensor(expected), Tolerance { relative: 0.1, absolute: 0.01 }, any_infinity).is_ok()
    }

    #[test]
    fn special_numbers_must_meet_themselves() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        assert!(check(&[nan, inf, -inf], &[nan, inf, -inf], false));
        assert!(!check(&[0.0], &[nan], false) && !check(&[nan], &[0.0], false));
        assert!(!check(&[inf], &[1.0], false) && !check(&[1.0], &[inf], false) && !check(&[inf], &[-inf], false));
        assert!(check(&[inf], &[-inf], true) && !check(&[1.0], &[-inf], true));
    }

    #[test]
    fn both_tolerances_count() {
        assert!(check(&[1.1, 0.009], &[1.0, 0.0], false));
        assert!(!check(&[1.12], &[1.0], false) && !check(&[0.011], &[0.0], false));
    }

    #[test]
    fn shapes_and_kinds_must_agree() {
        let tolerance = Tolerance { relative: 1.0, absolute: 1.0 };
        let a = Tensor::doubles(&[1, 2], vec![0.0; 2]);
        assert!(compare(&a, &Tensor::doubles(&[2, 1], vec![0.0; 2]), tolerance, false).is_err());
        let b = Tensor { values: Values::Integers(vec![0, 0]), ..a.clone() };
        assert!(compare(&a, &b, tolerance, false).is_err());
        let c = Tensor { values: Values::Integers(vec![0, 1]), ..a.clone() };
        assert!(compare(&c, &b, tolerance, false).is_err() && compare(&b, &b, tolerance, false).is_ok());
    }
}
