//! Input that does not fit gives an error that names operation, operand, shape and what to do, or the documented result; never a panic.

use heedful::lens::{Glance, Lens, attend_with};
use heedful::mechanism::Projection;
use heedful::mechanism::causal::CausalAttention;
use heedful::mechanism::luong::ReadOut;
use heedful::mechanism::multi_head::StackedHeads;
use heedful::rotary::{Pairing, Rotary};
use heedful::softmax::{log_sum_exp, merge, softmax};
use heedful::{
    Diagonal, Error, Options, Parallelism, QkvMut, Result, View, ViewMut, attend, attend_backward, attend_packed, attend_packed_backward,
};

/// Calls [`attend`] on zeros of these shapes.
fn attend_zeros(q: [usize; 4], k: [usize; 4], v: [usize; 4], out: [usize; 4], options: &Options<'_>) -> Result<Vec<f32>> {
    let zeros = |shape: [usize; 4]| vec![0.0; shape.iter().product()];
    let (q_data, k_data, v_data, mut out_data) = (zeros(q), zeros(k), zeros(v), zeros(out));
    let (q, k, v) = (View::contiguous(&q_data, q)?, View::contiguous(&k_data, k)?, View::contiguous(&v_data, v)?);
    attend(q, k, v, options, ViewMut::contiguous(&mut out_data, out)?, None)?;
    Ok(out_data)
}

#[track_caller]
fn assert_message<T: std::fmt::Debug>(result: Result<T>, parts: &[&str]) {
    let message = result.expect_err("this does not fit").to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is missing in {message:?}");
    }
}

#[test]
fn shapes_that_do_not_fit() {
    let plain = &Options::new();
    let (q, k, v, out) = ([2, 4, 5, 8], [2, 2, 7, 8], [2, 2, 7, 3], [2, 4, 5, 3]);
    assert!(attend_zeros(q, k, v, out, plain).is_ok());
    assert_message(attend_zeros(q, [2, 2, 7, 9], v, out, plain), &["attend: k has shape [2, 2, 7, 9]", "must be that of q, 8"]);
    assert_message(attend_zeros(q, [1, 2, 7, 8], [1, 2, 7, 3], out, plain), &["k has shape [1, 2, 7, 8]", "must be that of q, 2"]);
    assert_message(attend_zeros(q, [2, 3, 7, 8], [2, 3, 7, 3], out, plain), &["k has shape", "must divide the 4 heads of q"]);
    assert_message(attend_zeros(q, [2, 0, 7, 8], [2, 0, 7, 3], out, plain), &["k has shape", "must divide the 4 heads of q"]);
    assert_message(attend_zeros(q, k, [2, 2, 6, 3], out, plain), &["v has shape [2, 2, 6, 3]", "those of k, [2, 2, 7]"]);
    assert_message(attend_zeros(q, k, v, [2, 4, 5, 8], plain), &["out has shape [2, 4, 5, 8]", "must be [2, 4, 5, 3]"]);
}

#[test]
fn options_that_do_not_fit() {
    let (q, k, v, out) = ([2, 4, 5, 8], [2, 2, 7, 8], [2, 2, 7, 3], [2, 4, 5, 3]);
    let with = |options: Options<'_>| attend_zeros(q, k, v, out, &options);
    assert_message(with(Options::new().scale(f32::NAN)), &["option scale is NaN", "finite"]);
    assert_message(with(Options::new().softcap(0.0)), &["option softcap is 0", "positive"]);
    assert_message(with(Options::new().softcap(f32::INFINITY)), &["option softcap is inf"]);
    // Scores divided by it would overflow, or lose all digits.
    assert_message(with(Options::new().softcap(1e-39)), &["option softcap is", "between"]);
    assert_message(with(Options::new().softcap(f32::MAX)), &["option softcap is", "leave it out for no cap"]);
    assert_message(with(Options::new().alibi(&[0.5; 3])), &["alibi holds 3 elements", "each of the 4 heads"]);
    assert_message(with(Options::new().key_lengths(&[7])), &["key_lengths holds 1 elements", "2 sequences"]);
    assert_message(with(Options::new().key_lengths(&[7, 8])), &["option key_lengths is 8", "7 at most"]);
    assert_message(with(Options::new().key_starts(&[0, 8])), &["option key_starts is 8", "7 at most"]);
    let mask = View::contiguous(&[true; 10], [1, 1, 5, 2]).unwrap();
    assert_message(with(Options::new().mask(mask)), &["mask has shape [1, 1, 5, 2]", "1 or that of the scores, [2, 4, 5, 7]"]);
    let bias = View::contiguous(&[0.0; 3], [3, 1, 1, 1]).unwrap();
    assert_message(with(Options::new().bias(bias)), &["bias has shape [3, 1, 1, 1]", "[2, 4, 5, 7]"]);
    // Extremes of what an option can take are no errors.
    for diagonal in [Diagonal::Offset(isize::MIN), Diagonal::Offset(isize::MAX), Diagonal::BottomRight] {
        assert!(with(Options::new().causal(diagonal).window(Some(usize::MAX), Some(usize::MAX))).is_ok());
        assert!(with(Options::new().causal(diagonal).window(Some(0), Some(0)).alibi(&[1.0; 8])).is_ok());
    }
}

#[test]
fn log_sum_exps_of_the_wrong_length() {
    let x = [0.0; 24];
    let view = View::contiguous(&x, [1, 2, 3, 4]).unwrap();
    let mut out = [0.0; 24];
    let mut target = ViewMut::contiguous(&mut out, [1, 2, 3, 4]).unwrap();
    let plain = &Options::new();
    let parts = ["lse holds 5 elements", "[1, 2, 3], that is 6"];
    assert_message(attend(view, view, view, plain, target.reborrow(), Some(&mut [0.0; 5])), &parts);
    assert_message(Lens::new(view, view, plain, &[0.0; 5]), &parts);
    let [mut a, mut b, mut c] = [[0.0; 24]; 3];
    let [a, b, c] = [&mut a, &mut b, &mut c].map(|data| ViewMut::contiguous(data, [1, 2, 3, 4]).unwrap());
    assert_message(attend_backward(view, view, view, plain, view, &[0.0; 5], view, QkvMut::separate(a, b, c), None), &parts);
}

#[test]
fn gradients_of_the_wrong_shape() {
    let x = [0.0; 24];
    let view = View::contiguous(&x, [1, 2, 3, 4]).unwrap();
    let plain = &Options::new();
    let call = |shapes: [[usize; 4]; 3], d_bias: Option<ViewMut<'_>>, options: &Options<'_>, d_out| {
        let [mut a, mut b, mut c] = [[0.0; 24]; 3];
        let [a, b, c] = [(&mut a, shapes[0]), (&mut b, shapes[1]), (&mut c, shapes[2])].map(|(data, shape)| {
            let strides = [shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3], 1];
            ViewMut::strided(data, shape, strides).unwrap()
        });
        attend_backward(view, view, view, options, view, &[0.0; 6], d_out, QkvMut::separate(a, b, c), d_bias)
    };
    let right = [1, 2, 3, 4];
    assert!(call([right; 3], None, plain, view).is_ok());
    assert_message(call([[1, 2, 3, 3], right, right], None, plain, view), &["attend_backward: d_q has shape [1, 2, 3, 3]", "that of q"]);
    assert_message(call([right, right, [1, 1, 3, 4]], None, plain, view), &["d_v has shape [1, 1, 3, 4]", "that of v"]);
    let narrow = View::strided(&x, [1, 2, 3, 3], [24, 12, 4, 1]).unwrap();
    assert_message(call([right; 3], None, plain, narrow), &["d_out has shape [1, 2, 3, 3]", "must be [1, 2, 3, 4]"]);
    let mut d_bias = [0.0; 9];
    let d_bias_view = ViewMut::contiguous(&mut d_bias, [1, 1, 3, 3]).unwrap();
    assert_message(call([right; 3], Some(d_bias_view), plain, view), &["d_bias has shape", "hold no bias"]);
    let biased = plain.bias(View::contiguous(&x[..3], [1, 1, 1, 3]).unwrap());
    let d_bias_view = ViewMut::contiguous(&mut d_bias, [1, 1, 3, 3]).unwrap();
    assert_message(call([right; 3], Some(d_bias_view), &biased, view), &["d_bias has shape [1, 1, 3, 3]", "[1, 1, 1, 3]"]);
}

#[test]
fn packed_sequences_that_do_not_fit() {
    let x = [0.0; 24];
    let view = View::contiguous(&x, [1, 2, 3, 4]).unwrap();
    let call = |offsets_q: &[usize], offsets_k: &[usize], options: &Options<'_>| {
        let mut out = [0.0; 24];
        attend_packed(view, view, view, offsets_q, offsets_k, options, ViewMut::contiguous(&mut out, [1, 2, 3, 4]).unwrap(), None)
    };
    let plain = &Options::new();
    assert!(call(&[0, 1, 3], &[0, 0, 3], plain).is_ok());
    for wrong in [&[][..], &[0], &[0, 2], &[1, 3], &[0, 2, 1, 3], &[0, 4, 3]] {
        assert_message(call(wrong, &[0, 1, 3], plain), &["attend_packed: offsets_q", "from 0 to the number of packed tokens, 3"]);
    }
    assert_message(call(&[0, 1, 3], &[0, 3], plain), &["offsets_k holds 2", "offsets_q has 3"]);
    assert_message(call(&[0, 3], &[0, 3], &plain.key_lengths(&[3])), &["option key_lengths is set", "leave it out"]);
    let batch_of_two = View::contiguous(&x, [2, 2, 3, 2]).unwrap();
    let mut out = [0.0; 24];
    let out = ViewMut::contiguous(&mut out, [2, 2, 3, 2]).unwrap();
    assert_message(
        attend_packed(batch_of_two, batch_of_two, batch_of_two, &[0, 3], &[0, 3], plain, out, None),
        &["q has shape [2, 2, 3, 2]", "batch of 1"],
    );
    let mut fused = [0.0; 72];
    let gradients = QkvMut::fused(&mut fused, [0, 24, 48], [*view.layout(); 3]).unwrap();
    assert_message(
        attend_packed_backward(view, view, view, &[0, 2], &[0, 3], plain, view, &[0.0; 6], view, gradients),
        &["attend_packed_backward: offsets_q"],
    );
    assert_message(QkvMut::fused(&mut fused, [0, 24, 49], [*view.layout(); 3]), &["[1, 2, 3, 4]", "pass a longer slice"]);
    assert_message(QkvMut::fused(&mut fused, [0, 24, usize::MAX], [*view.layout(); 3]), &["over 0 elements"]);
}

#[test]
fn sizes_of_zero_have_a_result() {
    let plain = &Options::new();
    // No queries, no batch, no heads, no width of values: nothing to write.
    let no_heads = [([2, 0, 5, 8], [2, 0, 7, 8]), ([1, 0, 5, 8], [1, 2, 200, 8]), ([1, 0, 300, 8], [1, 2, 300, 8])];
    for (q, k) in [([2, 4, 0, 8], [2, 2, 7, 8]), ([0, 4, 5, 8], [0, 2, 7, 8])].into_iter().chain(no_heads) {
        assert!(attend_zeros(q, k, k, q, plain).unwrap().is_empty());
    }
    assert!(attend_zeros([2, 4, 5, 8], [2, 2, 7, 8], [2, 2, 7, 0], [2, 4, 5, 0], plain).unwrap().is_empty());
    // Queries and keys without width: every score is 0, every key alike.
    let v: Vec<f32> = (0..4).map(|i| i as f32).collect();
    let (none, mut out) = (View::<f32>::contiguous(&[], [1, 1, 4, 0]).unwrap(), [f32::NAN; 4]);
    let v = View::contiguous(&v, [1, 1, 4, 1]).unwrap();
    attend(none, none, v, plain, ViewMut::contiguous(&mut out, [1, 1, 4, 1]).unwrap(), None).unwrap();
    assert_eq!(out, [1.5; 4]);
    // No keys: 0, and a log-sum-exp of -inf.
    let q = [1.0; 8];
    let (mut out, mut lse) = ([f32::NAN; 6], [f32::NAN; 2]);
    let q = View::contiguous(&q, [1, 1, 2, 4]).unwrap();
    let [k, v] = [4, 3].map(|dim| View::<f32>::contiguous(&[], [1, 1, 0, dim]).unwrap());
    attend(q, k, v, plain, ViewMut::contiguous(&mut out, [1, 1, 2, 3]).unwrap(), Some(&mut lse)).unwrap();
    assert_eq!((out, lse), ([0.0; 6], [f32::NEG_INFINITY; 2]));
}

#[test]
fn nan_spoils_the_rows_that_see_it_and_no_others() {
    let mut q = [0.5; 3 * 2];
    let k = [0.1, 0.2, 0.3, 0.4, f32::NAN, 0.6];
    let v = [1.0; 3];
    let run = |q: &[f32], k: &[f32], v: &[f32], options: &Options<'_>| {
        let (mut out, mut lse) = ([0.0; 3], [0.0; 3]);
        let out_view = ViewMut::contiguous(&mut out, [1, 1, 3, 1]).unwrap();
        let view = |data, shape| View::contiguous(data, shape).unwrap();
        attend(view(q, [1, 1, 3, 2]), view(k, [1, 1, 3, 2]), view(v, [1, 1, 3, 1]), options, out_view, Some(&mut lse)).unwrap();
        (out, lse)
    };
    let causal = Options::new().causal(Diagonal::TopLeft).parallelism(Parallelism::Serial);
    let (out, lse) = run(&q, &k, &v, &causal);
    assert!(out[..2] == [1.0; 2] && out[2].is_nan() && lse[1].is_finite() && lse[2].is_nan(), "{out:?} {lse:?}");
    // What lies beyond a sequence's keys is not even read.
    let (out, _) = run(&q, &k, &[1.0, 1.0, f32::NAN], &Options::new().key_lengths(&[2]));
    assert_eq!(out, [1.0; 3]);
    q[0] = f32::NAN;
    let (out, _) = run(&q, &[0.1; 6], &v, &Options::new());
    assert!(out[0].is_nan() && out[1..] == [1.0; 2]);
    let (out, _) = run(&[0.5; 6], &[0.1; 6], &[1.0, f32::NAN, 1.0], &Options::new());
    assert!(out.iter().all(|x| x.is_nan()));
}

#[test]
fn nan_is_not_taken_for_nothing() {
    for row in [&mut [f32::NAN][..], &mut [f32::NEG_INFINITY, f32::NAN], &mut [f32::NAN; 40], &mut [1.0, f32::NAN, 2.0]] {
        assert!(log_sum_exp(row).is_nan());
        assert!(softmax(row).is_nan() && row.iter().all(|x| x.is_nan()), "{row:?}");
    }
    let (mut out, mut lse) = ([0.0], f32::NEG_INFINITY);
    merge(&mut out, &mut lse, &[f32::NAN], f32::NAN);
    assert!(out[0].is_nan() && lse.is_nan());
    merge(&mut out, &mut lse, &[1.0], 0.5);
    assert!(out[0].is_nan() && lse.is_nan());

    // A single query whose first thousand keys are hidden; the parts that its keys are cut into are joined afterwards.
    let (len, q) = (2048, [1.0, 1.0]);
    let (mut k, v, visible) = (vec![0.5; 2 * len], vec![1.0; len], (0..len).map(|j| j >= 1024).collect::<Vec<_>>());
    k[2 * 1500] = f32::NAN;
    let (mut out, mut lse) = ([0.0], [0.0]);
    attend(
        View::contiguous(&q, [1, 1, 1, 2]).unwrap(),
        View::contiguous(&k, [1, 1, len, 2]).unwrap(),
        View::contiguous(&v, [1, 1, len, 1]).unwrap(),
        &Options::new().mask(View::contiguous(&visible, [1, 1, 1, len]).unwrap()),
        ViewMut::contiguous(&mut out, [1, 1, 1, 1]).unwrap(),
        Some(&mut lse),
    )
    .unwrap();
    assert!(out[0].is_nan() && lse[0].is_nan(), "{out:?} {lse:?}");
}

#[test]
fn parts_of_mechanisms_that_do_not_fit() {
    let linear = |inputs: usize, outputs: usize| Projection::linear(vec![0.5; inputs * outputs], None, inputs, outputs).unwrap();
    let read_out = ReadOut { projection: linear(2, 1), tanh: true };
    assert_message(read_out.forward(&[1.0; 4], &[], 4), &["option context_width is 4", "2 numbers"]);
    assert_message(read_out.backward(&[1.0; 4], &[], 4, &[0.5], &[1.0]), &["option context_width is 4"]);
    assert_message(Rotary::new(4, 0, 1e4, Pairing::Halves), &["option dim is 0", "at least 2"]);
    assert_eq!(linear(3, 0).backward(&[1.0; 3], &[]).unwrap().x, [0.0; 3]);
    let head = |inputs: usize| CausalAttention::new(linear(inputs, 2), linear(inputs, 2), linear(inputs, 2)).unwrap();
    assert_message(StackedHeads::new(vec![head(2), head(3)]).forward(&[0.0; 6]), &["StackedHeads::forward", "one width"]);

    let x = [0.5; 8];
    let (x, mut out) = (View::contiguous(&x, [1, 1, 4, 2]).unwrap(), [0.0; 8]);
    let mut glance = Glance::new().top(usize::MAX);
    let target = ViewMut::contiguous(&mut out, [1, 1, 4, 2]).unwrap();
    assert_message(attend_with(x, x, x, &Options::new(), target, None, &mut glance), &["option top is", "4 keys"]);
}

#[test]
fn errors_can_be_told_apart() {
    let result = attend_zeros([1, 1, 1, 2], [1, 1, 1, 3], [1, 1, 1, 2], [1, 1, 1, 2], &Options::new());
    assert!(matches!(result, Err(Error::Shape { operand: "k", ref shape, .. }) if *shape == [1, 1, 1, 3]));
}
