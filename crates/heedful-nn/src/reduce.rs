//! Sums over a row in sixteen running sums, so that the compiler may add in vectors; the order of additions is fixed.
//!
//! Always inlined: inside [`heedful::simd::dispatch`] they are compiled for the instruction set in use.

const LANES: usize = 16;

/// `sum_i f(x_i)`.
#[inline(always)]
pub(crate) fn sum_of(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for x in &mut chunks {
        for l in 0..LANES {
            lanes[l] += f(x[l]);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane += f(x);
    }
    lanes.iter().sum()
}

/// `sum_i f(x_i, y_i)`.
#[inline(always)]
pub(crate) fn sum_of_pairs(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (mut xs, mut ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    for (x, y) in (&mut xs).zip(&mut ys) {
        for l in 0..LANES {
            lanes[l] += f(x[l], y[l]);
        }
    }
    for (lane, (&x, &y)) in lanes.iter_mut().zip(xs.remainder().iter().zip(ys.remainder())) {
        *lane += f(x, y);
    }
    lanes.iter().sum()
}

/// `sum_i f(x_i, y_i, z_i)`.
#[inline(always)]
pub(crate) fn sum_of_triples(x: &[f32], y: &[f32], z: &[f32], f: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (mut xs, mut ys, mut zs) = (x.chunks_exact(LANES), y.chunks_exact(LANES), z.chunks_exact(LANES));
    for ((x, y), z) in (&mut xs).zip(&mut ys).zip(&mut zs) {
        for l in 0..LANES {
            lanes[l] += f(x[l], y[l], z[l]);
        }
    }
    for (lane, ((&x, &y), &z)) in lanes.iter_mut().zip(xs.remainder().iter().zip(ys.remainder()).zip(zs.remainder())) {
        *lane += f(x, y, z);
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_summed_whole() {
        for n in 0..50 {
            let x: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let squares = (0..n).map(|i| (i * i) as f32).sum::<f32>();
            assert_eq!(sum_of(&x, |x| x), (n * (n.max(1) - 1) / 2) as f32);
            assert_eq!(sum_of_pairs(&x, &x, |x, y| x * y), squares);
            assert_eq!(sum_of_triples(&x, &x, &x, |x, y, z| x * y + z - z), squares);
        }
    }
}
