//! What must not change a result: how the numbers are stored, and how many threads compute it.

use half::{bf16, f16};
use heedful::{Diagonal, Element, Options, Parallelism, QkvMut, View, ViewMut, attend, attend_backward, reference};

fn numbers(seed: u32, len: usize) -> Vec<f32> {
    (0..len as u32).map(|i| ((i + 17 * seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

const Q_SHAPE: [usize; 4] = [3, 4, 150, 20];
const K_SHAPE: [usize; 4] = [3, 2, 170, 20];

fn view<T: Copy>(data: &[T], shape: [usize; 4]) -> View<'_, T> {
    View::contiguous(data, shape).unwrap()
}

fn sizes() -> [usize; 2] {
    [Q_SHAPE, K_SHAPE].map(|shape| shape.iter().product())
}

/// Half-width storage gives what f32 storage of the same numbers gives: they are widened exactly, and only read.
fn stored_as<T: Element>() {
    let [q_len, k_len] = sizes();
    let narrow = |seed, len| numbers(seed, len).into_iter().map(T::from_f32).collect::<Vec<T>>();
    let (q, k, v) = (narrow(1, q_len), narrow(2, k_len), narrow(3, k_len));
    let wide = |narrow: &[T]| narrow.iter().map(|x| x.to_f32()).collect::<Vec<f32>>();
    let (wide_q, wide_k, wide_v) = (wide(&q), wide(&k), wide(&v));
    let options = Options::new().causal(Diagonal::BottomRight);
    let run = |q: View<'_, T>, k: View<'_, T>, v: View<'_, T>| {
        let (mut out, mut lse) = (vec![0.0; q_len], vec![0.0; q_len / 20]);
        attend(q, k, v, &options, ViewMut::contiguous(&mut out, Q_SHAPE).unwrap(), Some(&mut lse)).unwrap();
        let [mut d_q, mut d_k, mut d_v] = [vec![0.0; q_len], vec![0.0; k_len], vec![0.0; k_len]];
        let gradients = QkvMut::separate(
            ViewMut::contiguous(&mut d_q, Q_SHAPE).unwrap(),
            ViewMut::contiguous(&mut d_k, K_SHAPE).unwrap(),
            ViewMut::contiguous(&mut d_v, K_SHAPE).unwrap(),
        );
        let (out_view, d_out) = (View::contiguous(&out, Q_SHAPE).unwrap(), View::contiguous(&wide_q, Q_SHAPE).unwrap());
        attend_backward(q, k, v, &options, out_view, &lse, d_out, gradients, None).unwrap();
        [out, d_q, d_k, d_v]
    };
    let got = run(view(&q, Q_SHAPE), view(&k, K_SHAPE), view(&v, K_SHAPE));
    let (q, k, v) = (view(&wide_q, Q_SHAPE), view(&wide_k, K_SHAPE), view(&wide_v, K_SHAPE));
    let forward = reference::attention(q, k, v, &options).unwrap();
    let backward = reference::backward(q, k, v, &options, q).unwrap();
    for (got, expected) in got.iter().zip([&forward.out, &backward.q, &backward.k, &backward.v]) {
        assert!(got.iter().zip(expected).all(|(&g, &e)| (f64::from(g) - e).abs() <= 1e-4 * (1.0 + e.abs())));
    }
}

#[test]
fn numbers_of_half_the_width_are_read_exactly() {
    stored_as::<f16>();
    stored_as::<bf16>();
}

#[test]
fn queries_may_be_wider_than_the_keys() {
    let q = numbers(1, 12);
    let k: Vec<bf16> = numbers(2, 20).into_iter().map(bf16::from_f32).collect();
    let wide: Vec<f32> = k.iter().map(|x| x.to_f32()).collect();
    let q = View::contiguous(&q, [1, 1, 3, 4]).unwrap();
    let (k, wide) = (View::contiguous(&k, [1, 1, 5, 4]).unwrap(), View::contiguous(&wide, [1, 1, 5, 4]).unwrap());
    let [mut mixed, mut all_wide] = [[0.0; 12]; 2];
    attend(q, k, k, &Options::new(), ViewMut::contiguous(&mut mixed, [1, 1, 3, 4]).unwrap(), None).unwrap();
    attend(q, wide, wide, &Options::new(), ViewMut::contiguous(&mut all_wide, [1, 1, 3, 4]).unwrap(), None).unwrap();
    assert!(mixed.iter().zip(&all_wide).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn the_result_is_the_same_bit_for_bit_on_any_number_of_threads() {
    let [q_len, k_len] = sizes();
    let (q, k, v, d_out) = (numbers(1, q_len), numbers(2, k_len), numbers(3, k_len), numbers(4, q_len));
    let (q, k, v, d_out) = (view(&q, Q_SHAPE), view(&k, K_SHAPE), view(&v, K_SHAPE), view(&d_out, Q_SHAPE));
    let run = |parallelism| {
        let options = Options::new().causal(Diagonal::TopLeft).window(Some(90), None).parallelism(parallelism);
        let (mut out, mut lse) = (vec![0.0; q_len], vec![0.0; q_len / 20]);
        attend(q, k, v, &options, ViewMut::contiguous(&mut out, Q_SHAPE).unwrap(), Some(&mut lse)).unwrap();
        let mut fused = vec![0.0; q_len + 2 * k_len];
        let gradients = QkvMut::fused(&mut fused, [0, q_len, q_len + k_len], [*q.layout(), *k.layout(), *v.layout()]).unwrap();
        attend_backward(q, k, v, &options, view(&out, Q_SHAPE), &lse, d_out, gradients, None).unwrap();
        [out, lse, fused]
    };
    let serial = run(Parallelism::Serial);
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(|| run(Parallelism::Rayon)) == serial, "{threads} threads");
    }
}
