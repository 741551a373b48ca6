//! Rotary position embedding: queries and keys are turned by an angle that grows with their position.

use crate::problem::shape;
use crate::{Error, Result, ViewMut};

/// Which two channels form the plane that is turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// Channel `i` with channel `i + half` (GPT-NeoX, Llama).
    Halves,
    /// Channel `2 i` with channel `2 i + 1` (the paper's; GPT-J).
    Neighbours,
}

/// Tables of a rotary position embedding (Su et al. 2021, section 3.2.2).
///
/// The pair `(a, b)` number `i` at position `p` becomes `(a cos - b sin, a sin + b cos)` with the angle of `[p, i]`. Channels from
/// `2 * half` on stay as they are. Scores then depend on the distance of query and key alone.
#[derive(Clone, Debug)]
pub struct Rotary {
    cos: Vec<f32>,
    sin: Vec<f32>,
    half: usize,
    pairing: Pairing,
}

impl Rotary {
    /// The angles `p * base^(-2 i / dim)` for `dim` channels; the paper's base is 10000.
    ///
    /// # Errors
    /// If `dim` is odd or 0.
    pub fn new(positions: usize, dim: usize, base: f64, pairing: Pairing) -> Result<Self> {
        let fix = || "channels are turned in pairs: take an even number of at least 2".to_owned();
        if dim == 0 || dim % 2 == 1 {
            return Err(Error::Option { operation: "Rotary::new", option: "dim", value: dim.to_string(), fix: fix() });
        }
        let half = dim / 2;
        let angle = |p: usize, i: usize| p as f64 * base.powf(-2.0 * i as f64 / dim as f64);
        let angles: Vec<f64> = (0..positions).flat_map(|p| (0..half).map(move |i| angle(p, i))).collect();
        let table = |f: fn(f64) -> f64| angles.iter().map(|&angle| f(angle) as f32).collect();
        Ok(Self { cos: table(f64::cos), sin: table(f64::sin), half, pairing })
    }

    /// Tables `[positions, half]` of cosines and sines.
    ///
    /// # Errors
    /// If the tables differ in size or are not made of rows of `half`.
    pub fn from_tables(cos: Vec<f32>, sin: Vec<f32>, half: usize, pairing: Pairing) -> Result<Self> {
        let error = |operand, len, fix| Err(Error::Length { operation: "Rotary::from_tables", operand, len, fix });
        if half == 0 || !cos.len().is_multiple_of(half) {
            return error("cos", cos.len(), format!("it must hold rows of {half} numbers, at least 1 each"));
        }
        if sin.len() != cos.len() {
            return error("sin", sin.len(), format!("it must be as long as cos, {}", cos.len()));
        }
        Ok(Self { cos, sin, half, pairing })
    }

    /// Turns `x`, `[batch, heads, len, dim]`, in place; token `i` of sequence `b` is at `positions[b * len + i]`.
    ///
    /// # Errors
    /// If `dim` is smaller than the tables need, or a position lies beyond them.
    pub fn apply(&self, x: ViewMut<'_>, positions: &[usize]) -> Result<()> {
        self.turn("Rotary::apply", x, positions, 1.0)
    }

    /// The gradient of [`apply`](Self::apply): turns the gradient `d_x` back, in place.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn apply_backward(&self, d_x: ViewMut<'_>, positions: &[usize]) -> Result<()> {
        self.turn("Rotary::apply_backward", d_x, positions, -1.0)
    }

    fn turn(&self, operation: &'static str, mut x: ViewMut<'_>, positions: &[usize], direction: f32) -> Result<()> {
        let [batch, heads, len, dim] = x.shape();
        let rows = self.cos.len() / self.half;
        if dim < 2 * self.half {
            return Err(shape(operation, "x", x.shape(), format!("its last dimension must be at least {}", 2 * self.half)));
        }
        if positions.len() != batch * len {
            let fix = format!("give one for each token, [{batch}, {len}]");
            return Err(Error::Length { operation, operand: "positions", len: positions.len(), fix });
        }
        if let Some(position) = positions.iter().find(|&&position| position >= rows) {
            let fix = format!("the tables hold {rows} positions: make them longer");
            return Err(Error::Option { operation, option: "positions", value: position.to_string(), fix });
        }
        let layout = *x.layout();
        let stride = layout.strides()[3];
        let channels = |i: usize| match self.pairing {
            Pairing::Halves => (i, i + self.half),
            Pairing::Neighbours => (2 * i, 2 * i + 1),
        };
        for b in 0..batch {
            for i in 0..len {
                let table = positions[b * len + i] * self.half;
                for h in 0..heads {
                    let row = layout.row(b, h, i);
                    for pair in 0..self.half {
                        let (cos, sin) = (self.cos[table + pair], direction * self.sin[table + pair]);
                        let (first, second) = channels(pair);
                        let (first, second) = (row + first * stride, row + second * stride);
                        let data = x.data();
                        (data[first], data[second]) = (data[first] * cos - data[second] * sin, data[first] * sin + data[second] * cos);
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_depend_on_the_distance_alone() {
        for pairing in [Pairing::Halves, Pairing::Neighbours] {
            let rotary = Rotary::new(64, 8, 10_000.0, pairing).unwrap();
            let score = |p: usize, q: usize| {
                let mut x: Vec<f32> = (0..20).map(|i| (i as f32 * 0.7).sin()).collect();
                let view = ViewMut::contiguous(&mut x, [1, 1, 2, 10]).unwrap();
                rotary.apply(view, &[p, q]).unwrap();
                x[..10].iter().zip(&x[10..]).map(|(a, b)| a * b).sum::<f32>()
            };
            assert!((score(3, 10) - score(40, 47)).abs() < 1e-5);
            assert!((score(3, 10) - score(3, 11)).abs() > 1e-3);
        }
    }

    #[test]
    fn backward_undoes_forward() {
        let rotary = Rotary::new(9, 4, 10_000.0, Pairing::Halves).unwrap();
        let before: Vec<f32> = (0..24).map(|i| i as f32).collect();
        let mut x = before.clone();
        rotary.apply(ViewMut::contiguous(&mut x, [2, 2, 1, 6]).unwrap(), &[3, 8]).unwrap();
        assert!(x != before && x[4..6] == before[4..6]);
        rotary.apply_backward(ViewMut::contiguous(&mut x, [2, 2, 1, 6]).unwrap(), &[3, 8]).unwrap();
        assert!(x.iter().zip(&before).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    #[test]
    fn positions_beyond_the_tables_are_refused() {
        let rotary = Rotary::new(4, 2, 10_000.0, Pairing::Halves).unwrap();
        let error = rotary.apply(ViewMut::contiguous(&mut [0.0; 2], [1, 1, 1, 2]).unwrap(), &[4]).unwrap_err().to_string();
        assert!(error.contains("positions is 4") && error.contains("hold 4 positions"), "{error}");
        assert!(Rotary::new(4, 3, 10_000.0, Pairing::Halves).is_err());
    }
}
