//! What the kernels for short sequences, for decoding and for long sequences must have in common, each at the sizes that lead to it.

use heedful::simd::{Tier, available_tiers};
use heedful::{
    Diagonal, Options, Parallelism, QkvMut, View, ViewMut, attend, attend_backward, attend_packed, attend_packed_backward, reference,
};

fn numbers(seed: usize, len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + seed * 104_729) % 10_007) as f32 / 5_003.5 - 1.0).collect()
}

#[track_caller]
fn assert_near(name: &str, got: &[f32], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        let g = f64::from(g);
        assert!(g == e || (g - e).abs() <= 1e-4 * (1.0 + e.abs()), "{name}[{i}] = {g}, expected {e}");
    }
}

/// Operands of a call with one batch, kept together.
struct Call {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    q_shape: [usize; 4],
    k_shape: [usize; 4],
    v_shape: [usize; 4],
    out_shape: [usize; 4],
}

impl Call {
    fn new([heads, kv_heads]: [usize; 2], [q_len, k_len]: [usize; 2], [dim, value_dim]: [usize; 2]) -> Self {
        let (q_shape, k_shape, v_shape) = ([1, heads, q_len, dim], [1, kv_heads, k_len, dim], [1, kv_heads, k_len, value_dim]);
        let [q, k, v] = [q_shape, k_shape, v_shape].map(|shape| numbers(shape[1], shape.iter().product()));
        Self { q, k, v, q_shape, k_shape, v_shape, out_shape: [1, heads, q_len, value_dim] }
    }

    fn views(&self) -> [View<'_>; 3] {
        [(&self.q, self.q_shape), (&self.k, self.k_shape), (&self.v, self.v_shape)]
            .map(|(data, shape)| View::contiguous(data, shape).unwrap())
    }

    fn forward(&self, options: &Options<'_>) -> (Vec<f32>, Vec<f32>) {
        let [q, k, v] = self.views();
        let mut out = vec![f32::NAN; self.out_shape.iter().product()];
        let mut lse = vec![f32::NAN; self.out_shape[1] * self.out_shape[2]];
        attend(q, k, v, options, ViewMut::contiguous(&mut out, self.out_shape).unwrap(), Some(&mut lse)).unwrap();
        (out, lse)
    }

    /// Gradients of queries, keys and values.
    fn backward(&self, options: &Options<'_>, d_out: &[f32]) -> [Vec<f32>; 3] {
        let ((out, lse), [q, k, v]) = (self.forward(options), self.views());
        let [mut d_q, mut d_k, mut d_v] = [&self.q, &self.k, &self.v].map(|like| vec![f32::NAN; like.len()]);
        let gradients = QkvMut::separate(
            ViewMut::contiguous(&mut d_q, self.q_shape).unwrap(),
            ViewMut::contiguous(&mut d_k, self.k_shape).unwrap(),
            ViewMut::contiguous(&mut d_v, self.v_shape).unwrap(),
        );
        let [out, d_out] = [&out, d_out].map(|data| View::contiguous(data, self.out_shape).unwrap());
        attend_backward(q, k, v, options, out, &lse, d_out, gradients, None).unwrap();
        [d_q, d_k, d_v]
    }

    #[track_caller]
    fn check(&self, options: &Options<'_>) {
        let [q, k, v] = self.views();
        let (out, lse) = self.forward(options);
        let expected = reference::attention(q, k, v, options).unwrap();
        assert_near("out", &out, &expected.out);
        assert_near("lse", &lse, &expected.lse);
        let d_out = numbers(5, out.len());
        let gradients = self.backward(options, &d_out);
        let expected = reference::backward(q, k, v, options, View::contiguous(&d_out, self.out_shape).unwrap()).unwrap();
        for (name, got, expected) in
            [("d_q", &gradients[0], expected.q), ("d_k", &gradients[1], expected.k), ("d_v", &gradients[2], expected.v)]
        {
            assert_near(name, got, &expected);
        }
    }
}

#[test]
fn few_queries_over_many_keys_equal_the_definition_on_every_tier() {
    // One part and several; all that fit one group and not; widths that lanes do not divide.
    for (heads, q_len, k_len, dim) in
        [([1, 1], 1, 129, 32), ([2, 1], 1, 1500, 16), ([6, 2], 1, 3000, 20), ([4, 2], 2, 1025, 7), ([7, 1], 1, 200, 64)]
    {
        let call = Call::new(heads, [q_len, k_len], [dim, dim]);
        let slopes: Vec<f32> = (1..=heads[0]).map(|i| 0.01 * i as f32).collect();
        for tier in available_tiers() {
            call.check(&Options::new().tier(tier));
            call.check(&Options::new().tier(tier).causal(Diagonal::BottomRight).window(Some(400), None).alibi(&slopes).softcap(3.0));
        }
    }
}

#[test]
fn many_queries_over_many_keys_equal_the_definition_on_every_tier() {
    // Full tiles and what is left over, of queries, keys and both widths; one block of queries and several.
    for (heads, q_len, k_len, dims) in
        [([2, 1], 100, 300, [64, 48]), ([1, 1], 600, 640, [32, 32]), ([2, 2], 70, 163, [16, 80]), ([1, 1], 129, 129, [40, 24])]
    {
        let call = Call::new(heads, [q_len, k_len], dims);
        let slopes: Vec<f32> = (1..=heads[0]).map(|i| 0.01 * i as f32).collect();
        for tier in available_tiers() {
            call.check(&Options::new().tier(tier));
            call.check(&Options::new().tier(tier).causal(Diagonal::BottomRight).window(Some(90), None).alibi(&slopes).softcap(3.0));
        }
    }
}

/// Buffers are kept between calls: what was not finite in one must not show in the next.
#[test]
fn what_is_not_finite_is_forgotten_with_the_call_that_held_it() {
    let mut spoilt = Call::new([1, 1], [200, 200], [32, 32]);
    spoilt.q[70 * 32] = f32::NAN;
    // Keys that are not a multiple of those that are taken in at once: of all queries, and of the first ones of a group.
    for (heads, k_len) in [([1, 1], 126), ([3, 1], 200)] {
        let call = Call::new(heads, [200, k_len], [32, 32]);
        for tier in available_tiers() {
            let mut options = Options::new().tier(tier).softcap(3.0).parallelism(Parallelism::Serial);
            let _ = spoilt.backward(&options, &numbers(5, 200 * 32));
            if heads[0] > 1 {
                options = options.causal(Diagonal::TopLeft);
            }
            call.check(&options);
        }
    }
}

/// Numbers that no tile register takes must not show beyond the sums that they are part of.
#[test]
fn what_is_not_finite_stays_where_it_belongs_on_every_tier() {
    let (len, place, column) = (200, 150, 3);
    for bad in [f32::NAN, f32::INFINITY, 3e38] {
        let clean = Call::new([1, 1], [len, len], [32, 32]);
        let mut spoilt = Call::new([1, 1], [len, len], [32, 32]);
        spoilt.v[place * 32 + column] = bad;
        for tier in available_tiers() {
            let options = Options::new().tier(tier).causal(Diagonal::TopLeft);
            let ((out, _), (expected, _)) = (spoilt.forward(&options), clean.forward(&options));
            for (i, (out, expected)) in out.iter().zip(expected).enumerate() {
                if i / 32 < place || i % 32 != column {
                    assert!((out - expected).abs() < 1e-5, "{tier}, {bad}: out[{i}] = {out}, not {expected}");
                } else {
                    assert!(if bad.is_nan() { out.is_nan() } else { *out > 1e30 }, "{tier}, {bad}: out[{i}] = {out}");
                }
            }
            // Queries before it do not see it.
            let d_out = numbers(5, len * 32);
            let [[d_q, ..], [expected, ..]] = [&spoilt, &clean].map(|call| call.backward(&options, &d_out));
            for (i, (d, expected)) in d_q.iter().zip(expected).take(place * 32).enumerate() {
                assert!((d - expected).abs() < 1e-5, "{tier}, {bad}: d_q[{i}] = {d}, not {expected}");
            }
        }
    }
}

/// Where a key has all the weight, its score has no gradient, however large the key is: what flows back through the weight and what flows back
/// through the context are the same sum.
#[test]
fn a_weight_of_one_has_no_gradient_on_every_tier() {
    let mut call = Call::new([1, 1], [200, 200], [64, 48]);
    call.k.iter_mut().for_each(|k| *k *= 1e3);
    let d_out = numbers(5, 200 * 48);
    for tier in available_tiers() {
        let [d_q, ..] = call.backward(&Options::new().tier(tier).causal(Diagonal::TopLeft), &d_out);
        assert_eq!(d_q[..64], [0.0; 64], "{tier}");
    }
}

/// Gradients of a loss that is scaled up or down by far are those of the loss, scaled: where tile registers do not take the numbers, vectors do.
#[test]
fn gradients_of_any_size_are_in_proportion_on_every_tier() {
    let call = Call::new([2, 1], [150, 170], [32, 48]);
    let d_out = numbers(5, 2 * 150 * 48);
    for tier in available_tiers() {
        let options = Options::new().tier(tier).causal(Diagonal::BottomRight);
        let expected = call.backward(&options, &d_out);
        for factor in [1e-20, 1e12, 1e20, 1e30] {
            let scaled: Vec<f32> = d_out.iter().map(|d| d * factor).collect();
            for (got, expected) in call.backward(&options, &scaled).iter().zip(&expected) {
                for (got, expected) in got.iter().zip(expected) {
                    assert!((got / factor - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{tier}, {factor}: {got} for {expected}");
                }
            }
        }
    }
}

#[test]
fn keys_of_several_segments_equal_the_definition() {
    // 2048 keys are a segment at this width. Queries see keys of both, of the second alone, of the first alone.
    let call = Call::new([1, 1], [9, 2060], [2, 1000]);
    call.check(&Options::new());
    call.check(&Options::new().causal(Diagonal::BottomRight).window(Some(4), None));
    call.check(&Options::new().causal(Diagonal::TopLeft));
}

#[test]
fn parts_and_threads_do_not_change_a_bit() {
    let call = Call::new([4, 1], [1, 5000], [32, 32]);
    let serial = call.forward(&Options::new().parallelism(Parallelism::Serial));
    for threads in [2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| call.forward(&Options::new())), serial, "{threads} threads");
    }
}

#[test]
fn a_packed_sequence_has_the_same_bits_whatever_else_is_in_the_call() {
    let (heads, dim, lens) = (2, 32, [5, 200, 0, 17, 1, 33, 128, 140]);
    let total: usize = lens.iter().sum();
    let row = heads * dim;
    let [q, k, v, d_out] = [1, 2, 3, 4].map(|seed| numbers(seed, total * row));
    let run = |from: usize, lens: &[usize], parallelism| {
        let len: usize = lens.iter().sum();
        let offsets: Vec<usize> = std::iter::once(0)
            .chain(lens.iter().scan(0, |sum, len| {
                *sum += len;
                Some(*sum)
            }))
            .collect();
        let (shape, strides) = ([1, heads, len, dim], [len * row, dim, row, 1]);
        let [q, k, v, d_out] = [&q, &k, &v, &d_out].map(|data| View::strided(&data[from * row..], shape, strides).unwrap());
        let options = Options::new().causal(Diagonal::TopLeft).parallelism(parallelism);
        let [mut out, mut d_q, mut d_k, mut d_v] = [0; 4].map(|_| vec![f32::NAN; len * row]);
        let mut lse = vec![f32::NAN; heads * len];
        attend_packed(q, k, v, &offsets, &offsets, &options, ViewMut::strided(&mut out, shape, strides).unwrap(), Some(&mut lse)).unwrap();
        let [a, b, c] = [&mut d_q, &mut d_k, &mut d_v].map(|data| ViewMut::strided(data, shape, strides).unwrap());
        let view = View::strided(&out, shape, strides).unwrap();
        attend_packed_backward(q, k, v, &offsets, &offsets, &options, view, &lse, d_out, QkvMut::separate(a, b, c)).unwrap();
        [out, d_q, d_k, d_v]
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let together = pool.install(|| run(0, &lens, Parallelism::Rayon));
    let mut from = 0;
    for len in lens {
        let alone = run(from, &[len], Parallelism::Serial);
        for (alone, together) in alone.iter().zip(&together) {
            let together = &together[from * row..(from + len) * row];
            assert!(alone.iter().zip(together).all(|(a, b)| a.to_bits() == b.to_bits()), "{len} tokens from {from} on");
        }
        from += len;
    }
}

#[test]
fn a_hidden_value_reaches_no_result_whatever_it_is() {
    // A short sequence, a step of decoding, a long sequence: key 3 is hidden by the mask in each.
    for (heads, q_len, k_len) in [([2, 2], 5, 9), ([2, 1], 1, 300), ([2, 1], 200, 300)] {
        for tier in available_tiers() {
            let mask: Vec<bool> = (0..k_len).map(|j| j != 3).collect();
            let mask = View::contiguous(&mask, [1, 1, 1, k_len]).unwrap();
            let options = Options::new().mask(mask).tier(tier);
            let mut call = Call::new(heads, [q_len, k_len], [4, 5]);
            let clean = call.forward(&options);
            let d_out = numbers(9, clean.0.len());
            let clean_gradients = call.backward(&options, &d_out);
            for poison in [f32::NAN, f32::INFINITY] {
                for head in 0..heads[1] {
                    call.v[(head * k_len + 3) * 5..][..5].fill(poison);
                }
                let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5);
                let (out, lse) = call.forward(&options);
                assert!(near(&out, &clean.0) && near(&lse, &clean.1), "{poison} in {k_len} values, {tier}");
                let gradients = call.backward(&options, &d_out);
                assert!(gradients.iter().zip(&clean_gradients).all(|(a, b)| near(a, b)), "gradients of {poison} in {k_len}, {tier}");
            }
        }
    }
}

#[test]
fn blocks_that_a_mask_rules_out_are_as_if_they_were_not_there() {
    let (len, block) = (320, 64);
    let mask: Vec<bool> = (0..len * len).map(|i| (i / len / block + i % len / block) % 2 == 0).collect();
    let call = Call::new([2, 1], [len, len], [8, 8]);
    call.check(&Options::new().mask(View::contiguous(&mask, [1, 1, len, len]).unwrap()));
    call.check(&Options::new().mask(View::contiguous(&[false], [1, 1, 1, 1]).unwrap()));
}

#[test]
fn a_tier_can_be_forced_if_the_cpu_has_it() {
    let call = Call::new([1, 1], [20, 20], [8, 8]);
    for tier in Tier::ALL {
        let [q, k, v] = call.views();
        let mut out = vec![0.0; 160];
        let out = ViewMut::contiguous(&mut out, call.out_shape).unwrap();
        let result = attend(q, k, v, &Options::new().tier(tier), out, None);
        match result {
            Ok(()) => assert!(tier.is_available()),
            Err(error) => assert!(!tier.is_available() && error.to_string().contains("option tier is"), "{error}"),
        }
    }
}
