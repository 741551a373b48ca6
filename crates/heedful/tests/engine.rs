//! The engine against the definition, over random shapes, strides and options.

mod random;

use heedful::{
    Diagonal, Layout, Options, Parallelism, QkvMut, View, ViewMut, attend, attend_backward, attend_packed, attend_packed_backward,
    reference,
};
use proptest::prelude::*;
use proptest::sample::select;
use random::{Call, calls, near, numbers};

/// How a tensor `[batch, heads, len, dim]` lies in memory.
#[derive(Clone, Copy, Debug)]
enum Order {
    Heads,
    Tokens,
    Padded,
    Backwards,
}

fn layout([b, h, n, d]: [usize; 4], order: Order) -> Layout {
    let strides = match order {
        Order::Heads => [h * n * d, n * d, d, 1],
        Order::Tokens => [n * h * d, d, h * d, 1],
        Order::Padded => [h * n * (d + 3), n * (d + 3), d + 3, 1],
        Order::Backwards => [1, b, b * h, b * h * n],
    };
    Layout::strided([b, h, n, d], strides.map(|stride| stride.max(1))).unwrap()
}

/// A slice large enough for the layout, filled with `numbers`.
fn storage(layout: &Layout, seed: u64) -> Vec<f32> {
    let (shape, strides) = (layout.shape(), layout.strides());
    let end = if shape.contains(&0) { 0 } else { 1 + (0..4).map(|i| (shape[i] - 1) * strides[i]).sum::<usize>() };
    numbers(seed, end)
}

fn view<'a>(data: &'a [f32], layout: &Layout) -> View<'a> {
    View::strided(data, layout.shape(), layout.strides()).unwrap()
}

/// The elements of a view, row-major.
fn dense(view: View<'_>) -> Vec<f32> {
    let [b, h, n, d] = view.shape();
    let mut out = Vec::new();
    for index in 0..b * h * n * d {
        out.push(view.at([index / (h * n * d), index / (n * d) % h, index / d % n, index % d]));
    }
    out
}

#[derive(Clone, Debug)]
struct Setting {
    call: Call,
    dim: usize,
    value_dim: usize,
    order: [Order; 4],
}

fn settings() -> impl Strategy<Value = Setting> {
    let order = || select(vec![Order::Heads, Order::Tokens, Order::Padded, Order::Backwards]);
    let lengths = prop_oneof![4 => 0usize..24, 1 => 60usize..150];
    let calls = calls(0..4, lengths, proptest::option::of(-2.0f32..2.0), 20);
    let orders = [order(), order(), order(), order()];
    (calls, 0usize..20, 0usize..20, orders).prop_map(|(call, dim, value_dim, order)| Setting { call, dim, value_dim, order })
}

impl Setting {
    fn layouts(&self) -> [Layout; 4] {
        let Call { batch, kv_heads, q_len, k_len, .. } = self.call;
        [
            layout([batch, self.call.heads(), q_len, self.dim], self.order[0]),
            layout([batch, kv_heads, k_len, self.dim], self.order[1]),
            layout([batch, kv_heads, k_len, self.value_dim], self.order[2]),
            layout([batch, self.call.heads(), q_len, self.value_dim], self.order[3]),
        ]
    }
}

/// Sums a gradient by the scores over the dimensions along which the bias was repeated.
fn folded(scores: &[f64], full: [usize; 4], repeated: [bool; 4]) -> Vec<f64> {
    let small: [usize; 4] = std::array::from_fn(|i| if repeated[i] { 1 } else { full[i] });
    let mut sums = vec![0.0; small.iter().product()];
    for (index, &x) in scores.iter().enumerate() {
        let mut rest = index;
        let (mut place, mut step) = (0, 1);
        for i in (0..4).rev() {
            place += if repeated[i] { 0 } else { rest % full[i] * step };
            step *= small[i];
            rest /= full[i];
        }
        sums[place] += x;
    }
    sums
}

fn check(setting: &Setting) -> Result<(), TestCaseError> {
    let call = &setting.call;
    let extras = call.extras();
    let options = call.options(&extras);
    let layouts = setting.layouts();
    let stored: Vec<Vec<f32>> = layouts.iter().zip(1..).map(|(layout, i)| storage(layout, call.seed.wrapping_add(i))).collect();
    let [q, k, v, d_out]: [View<'_>; 4] = std::array::from_fn(|i| view(&stored[i], &layouts[i]));

    let expected = reference::attention(q, k, v, &options).unwrap();
    let mut out = vec![f32::NAN; stored[3].len()];
    let mut lse = vec![f32::NAN; expected.lse.len()];
    attend(q, k, v, &options, ViewMut::with_layout(&mut out, layouts[3]).unwrap(), Some(&mut lse)).unwrap();
    let out = view(&out, &layouts[3]);
    near("out", &dense(out), &expected.out, 2e-5)?;
    near("lse", &lse, &expected.lse, 2e-5)?;

    let expected = reference::backward(q, k, v, &options, d_out).unwrap();
    let mut stores: Vec<Vec<f32>> = (0..3).map(|i| vec![f32::NAN; stored[i].len()]).collect();
    let [d_q, d_k, d_v] = &mut stores[..] else { unreachable!() };
    let gradients = QkvMut::separate(
        ViewMut::with_layout(d_q, layouts[0]).unwrap(),
        ViewMut::with_layout(d_k, layouts[1]).unwrap(),
        ViewMut::with_layout(d_v, layouts[2]).unwrap(),
    );
    let repeated = call.bias.unwrap_or_default();
    let mut d_bias = vec![f32::NAN; extras.bias.len()];
    let d_bias_view = call.bias.map(|repeated| ViewMut::contiguous(&mut d_bias, call.scores(repeated)).unwrap());
    attend_backward(q, k, v, &options, out, &lse, d_out, gradients, d_bias_view).unwrap();
    for (i, (name, expected)) in [("d_q", &expected.q), ("d_k", &expected.k), ("d_v", &expected.v)].into_iter().enumerate() {
        near(name, &dense(view(&stores[i], &layouts[i])), expected, 1e-4)?;
    }
    if call.bias.is_some() {
        let full = call.scores([false; 4]);
        near("d_bias", &d_bias, &folded(&expected.scores, full, repeated), 1e-4)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn forward_and_backward_equal_the_definition(setting in settings()) {
        check(&setting)?;
    }

    #[test]
    fn packed_sequences_equal_each_alone(
        lens in proptest::collection::vec((0usize..20, 0usize..20), 0..6),
        kv_heads in 1usize..3,
        group in 1usize..3,
        dim in 1usize..9,
        causal: bool,
        bottom_right: bool,
        left in proptest::option::of(0usize..9),
        alibi in proptest::option::of(any::<bool>()),
        parallelism in select(vec![Parallelism::Serial, Parallelism::Rayon]),
        seed: u64,
    ) {
        let heads = kv_heads * group;
        let offsets = |pick: fn(&(usize, usize)) -> usize| -> Vec<usize> {
            std::iter::once(0).chain(lens.iter().scan(0, |sum, len| { *sum += pick(len); Some(*sum) })).collect()
        };
        let (offsets_q, offsets_k) = (offsets(|len| len.0), offsets(|len| len.1));
        let (total_q, total_k) = (*offsets_q.last().unwrap(), *offsets_k.last().unwrap());
        let diagonal = if bottom_right { Diagonal::BottomRight } else { Diagonal::TopLeft };
        let mut options = Options::new().window(left, None).diagonal(diagonal).parallelism(parallelism);
        if causal {
            options = options.causal(diagonal);
        }
        let slopes_of_each = alibi == Some(true);
        let slopes = numbers(seed ^ 3, if slopes_of_each { heads * lens.len() } else { heads });
        if alibi.is_some() {
            options = options.alibi(&slopes);
        }
        // Keys and values lie side by side in one projection, as in a layer, and their gradients too.
        let tokens = |heads: usize, total: usize, row: usize| Layout::strided([1, heads, total, dim], [total * row, dim, row, 1].map(|s| s.max(1))).unwrap();
        let (q_row, kv_row) = (heads * dim, 2 * kv_heads * dim);
        let q_data = numbers(seed, total_q * q_row);
        let kv_data = numbers(seed ^ 1, total_k * kv_row);
        let d_out_data = numbers(seed ^ 2, total_q * q_row);
        let (q_layout, kv_layout) = (tokens(heads, total_q, q_row), tokens(kv_heads, total_k, kv_row));
        let q = view(&q_data, &q_layout);
        let k = view(&kv_data, &kv_layout);
        let v = view(&kv_data[(kv_heads * dim).min(kv_data.len())..], &kv_layout);
        let d_out = view(&d_out_data, &q_layout);
        let mut out = vec![f32::NAN; q_data.len()];
        let mut lse = vec![f32::NAN; heads * total_q];
        attend_packed(q, k, v, &offsets_q, &offsets_k, &options, ViewMut::with_layout(&mut out, q_layout).unwrap(), Some(&mut lse)).unwrap();
        let mut fused = vec![f32::NAN; q_data.len() + kv_data.len()];
        let starts = [0, q_data.len(), (q_data.len() + kv_heads * dim).min(fused.len())];
        let gradients = QkvMut::fused(&mut fused, starts, [q_layout, kv_layout, kv_layout]).unwrap();
        let out_view = view(&out, &q_layout);
        attend_packed_backward(q, k, v, &offsets_q, &offsets_k, &options, out_view, &lse, d_out, gradients).unwrap();
        prop_assert!(fused.iter().all(|x| x.is_finite()));

        for s in 0..lens.len() {
            let (q0, q1, k0, k1) = (offsets_q[s], offsets_q[s + 1], offsets_k[s], offsets_k[s + 1]);
            let cut = |data: &[f32], from: usize, to: usize, row: usize| data[from * row..to * row].to_vec();
            let (q_part, kv_part, d_part) = (cut(&q_data, q0, q1, q_row), cut(&kv_data, k0, k1, kv_row), cut(&d_out_data, q0, q1, q_row));
            let (q_layout, kv_layout) = (tokens(heads, q1 - q0, q_row), tokens(kv_heads, k1 - k0, kv_row));
            let (q, k) = (view(&q_part, &q_layout), view(&kv_part, &kv_layout));
            let v = view(&kv_part[(kv_heads * dim).min(kv_part.len())..], &kv_layout);
            let options = if slopes_of_each { options.alibi(&slopes[s * heads..][..heads]) } else { options };
            let expected = reference::attention(q, k, v, &options).unwrap();
            let alone = dense(view(&cut(&out, q0, q1, q_row), &q_layout));
            near("out", &alone, &expected.out, 2e-5)?;
            let expected = reference::backward(q, k, v, &options, view(&d_part, &q_layout)).unwrap();
            let got_q = cut(&fused[..q_data.len()], q0, q1, q_row);
            near("d_q", &dense(view(&got_q, &q_layout)), &expected.q, 1e-4)?;
            let got_kv = cut(&fused[q_data.len()..], k0, k1, kv_row);
            near("d_k", &dense(view(&got_kv, &kv_layout)), &expected.k, 1e-4)?;
            near("d_v", &dense(view(&got_kv[(kv_heads * dim).min(got_kv.len())..], &kv_layout)), &expected.v, 1e-4)?;
        }
    }
}
