//! Decoding step by step over a cache against the whole sequence at once.

use half::{bf16, f16};
use heedful::lens::Glance;
use heedful::{Cache, Diagonal, Element, Options, View, ViewMut, attend};

fn numbers(seed: u32, len: usize) -> Vec<f32> {
    (0..len as u32).map(|i| ((i + 17 * seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// Token `i` of every sequence and head.
fn token(data: &[f32], [batch, heads, len, dim]: [usize; 4], i: usize) -> View<'_> {
    View::strided(&data[i * dim..], [batch, heads, 1, dim], [heads * len * dim, len * dim, dim, 1]).unwrap()
}

fn steps_equal_the_whole<T: Element>(tolerance: f32) {
    let (q_shape, k_shape, v_shape) = ([2, 4, 9, 6], [2, 2, 9, 6], [2, 2, 9, 5]);
    let (q, k, v) = (numbers(1, 2 * 4 * 9 * 6), numbers(2, 2 * 2 * 9 * 6), numbers(3, 2 * 2 * 9 * 5));
    let view = |data, shape| View::contiguous(data, shape).unwrap();
    let causal = Options::new().causal(Diagonal::TopLeft).window(Some(4), None);
    let mut whole = vec![0.0; 2 * 4 * 9 * 5];
    attend(view(&q, q_shape), view(&k, k_shape), view(&v, v_shape), &causal, ViewMut::contiguous(&mut whole, [2, 4, 9, 5]).unwrap(), None)
        .unwrap();
    // Room for 2 tokens: the cache has to grow.
    let mut cache = Cache::<T>::new([2, 2, 2, 6], 5).unwrap();
    for i in 0..9 {
        cache.append(token(&k, k_shape, i), token(&v, v_shape, i), None).unwrap();
        let mut out = vec![0.0; 2 * 4 * 5];
        let options = Options::new().causal(Diagonal::BottomRight).window(Some(4), None);
        cache.attend(token(&q, q_shape, i), &options, ViewMut::contiguous(&mut out, [2, 4, 1, 5]).unwrap(), None).unwrap();
        for (row, step) in out.chunks(5).enumerate() {
            let expected = &whole[(row * 9 + i) * 5..][..5];
            assert!(step.iter().zip(expected).all(|(a, b)| (a - b).abs() < tolerance), "{step:?} {expected:?}");
        }
    }
}

#[test]
fn steps_over_a_cache_equal_the_whole_in_every_storage() {
    steps_equal_the_whole::<f32>(1e-6);
    steps_equal_the_whole::<f16>(2e-3);
    steps_equal_the_whole::<bf16>(2e-2);
}

#[test]
fn sequences_grow_apart_and_are_selected() {
    let x = numbers(5, 2 * 3 * 4);
    let tokens = View::contiguous(&x, [2, 1, 3, 4]).unwrap();
    let mut cache = Cache::<f32>::new([2, 1, 1, 4], 4).unwrap();
    cache.append(tokens, tokens, Some(&[3, 1])).unwrap();
    assert_eq!(cache.lengths(), [3, 1]);
    cache.select(&[1, 0, 0]).unwrap();
    assert_eq!(cache.lengths(), [1, 3, 3]);
    let q = [0.0; 12];
    let mut out = [0.0; 12];
    let q = View::contiguous(&q, [3, 1, 1, 4]).unwrap();
    cache.attend(q, &Options::new(), ViewMut::contiguous(&mut out, [3, 1, 1, 4]).unwrap(), None).unwrap();
    for c in 0..4 {
        let mean = (x[c] + x[4 + c] + x[8 + c]) / 3.0;
        assert!((out[c] - x[12 + c]).abs() < 1e-6 && (out[4 + c] - mean).abs() < 1e-6 && out[8 + c] == out[4 + c]);
    }

    let (mut glance, mut again) = (Glance::new().entropy().top(1), [0.0; 12]);
    cache.attend_with(q, &Options::new(), ViewMut::contiguous(&mut again, [3, 1, 1, 4]).unwrap(), None, &mut glance).unwrap();
    assert!(again.iter().zip(&out).all(|(again, out)| (again - out).abs() < 1e-6));
    assert!(glance.entropies().iter().zip([0.0, 3f32.ln(), 3f32.ln()]).all(|(entropy, expected)| (entropy - expected).abs() < 1e-6));
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut cache = Cache::<f32>::new([2, 1, 4, 4], 4).unwrap();
    let x = [0.0; 24];
    let tokens = View::contiguous(&x, [2, 1, 3, 4]).unwrap();
    let wide = View::contiguous(&x, [2, 1, 2, 6]).unwrap();
    assert!(cache.append(wide, tokens, None).unwrap_err().to_string().contains("this cache takes [2, 1, 2, 4]"));
    assert!(cache.append(tokens, wide, None).is_err());
    assert!(cache.append(tokens, tokens, Some(&[4, 0])).unwrap_err().to_string().contains("counts is 4"));
    assert!(cache.append(tokens, tokens, Some(&[1])).is_err());
    assert!(cache.select(&[2]).unwrap_err().to_string().contains("holds 2 sequences"));
    assert_eq!(cache.lengths(), [0, 0]);
    let options = Options::new().key_lengths(&[1, 1]);
    let error = cache.attend(tokens, &options, ViewMut::contiguous(&mut [0.0; 24], [2, 1, 3, 4]).unwrap(), None).unwrap_err();
    assert!(error.to_string().contains("the cache knows the lengths"));
}
