//! The engine against the definition, over random shapes, strides and options.

use heedful::{
    Diagonal, Layout, Options, Parallelism, QkvMut, View, ViewMut, attend, attend_backward, attend_packed, attend_packed_backward,
    reference,
};
use proptest::prelude::*;
use proptest::sample::select;

/// Numbers in [-1, 1) that depend on the seed and on nothing else.
fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn assert_near(name: &str, got: &[f32], expected: &[f64], tolerance: f64) -> Result<(), TestCaseError> {
    prop_assert_eq!(got.len(), expected.len());
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        let g = f64::from(g);
        let near = g == e || (g - e).abs() <= tolerance * (1.0 + e.abs());
        prop_assert!(near, "{}[{}] = {}, expected {}", name, i, g, e);
    }
    Ok(())
}

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
#[allow(clippy::struct_excessive_bools)]
struct Setting {
    batch: usize,
    kv_heads: usize,
    group: usize,
    q_len: usize,
    k_len: usize,
    dim: usize,
    value_dim: usize,
    order: [Order; 4],
    scale: Option<f32>,
    softcap: Option<f32>,
    causal: bool,
    window: (Option<usize>, Option<usize>),
    diagonal: Diagonal,
    mask: Option<[bool; 4]>,
    bias: Option<[bool; 4]>,
    forbidding_bias: bool,
    alibi: Option<bool>,
    lengths: bool,
    starts: bool,
    parallelism: Parallelism,
    seed: u64,
}

fn settings() -> impl Strategy<Value = Setting> {
    let order = || select(vec![Order::Heads, Order::Tokens, Order::Padded, Order::Backwards]);
    let lengths = prop_oneof![4 => 0usize..24, 1 => 60usize..150];
    let sizes = (0usize..4, 1usize..4, 1usize..4, lengths.clone(), lengths, 0usize..20, 0usize..20);
    let side = || proptest::option::of(0usize..20);
    let diagonal = prop_oneof![Just(Diagonal::TopLeft), Just(Diagonal::BottomRight), (-10isize..30).prop_map(Diagonal::Offset)];
    let scores = (proptest::option::of(-2.0f32..2.0), proptest::option::of(0.5f32..5.0), any::<bool>(), (side(), side()), diagonal);
    let extras = (
        proptest::option::of(any::<[bool; 4]>()),
        proptest::option::of(any::<[bool; 4]>()),
        any::<bool>(),
        proptest::option::of(any::<bool>()),
        any::<bool>(),
        any::<bool>(),
        select(vec![Parallelism::Serial, Parallelism::Rayon]),
    );
    (sizes, [order(), order(), order(), order()], scores, extras, any::<u64>()).prop_map(|(sizes, order, scores, extras, seed)| {
        let (batch, kv_heads, group, q_len, k_len, dim, value_dim) = sizes;
        let (scale, softcap, causal, window, diagonal) = scores;
        let (mask, bias, forbidding_bias, alibi, lengths, starts, parallelism) = extras;
        Setting {
            batch,
            kv_heads,
            group,
            q_len,
            k_len,
            dim,
            value_dim,
            order,
            scale,
            softcap,
            causal,
            window,
            diagonal,
            mask,
            bias,
            forbidding_bias,
            alibi,
            lengths,
            starts,
            parallelism,
            seed,
        }
    })
}

/// Everything that options borrow.
struct Extras {
    mask: Vec<bool>,
    bias: Vec<f32>,
    slopes: Vec<f32>,
    lengths: Vec<usize>,
    starts: Vec<usize>,
}

impl Setting {
    fn heads(&self) -> usize {
        self.kv_heads * self.group
    }

    fn scores(&self, repeated: [bool; 4]) -> [usize; 4] {
        let full = [self.batch, self.heads(), self.q_len, self.k_len];
        std::array::from_fn(|i| if repeated[i] { 1 } else { full[i] })
    }

    fn extras(&self) -> Extras {
        let size = |repeated: Option<[bool; 4]>| repeated.map_or(0, |repeated| self.scores(repeated).iter().product::<usize>());
        let mut bias = numbers(self.seed ^ 5, size(self.bias));
        if self.forbidding_bias {
            bias.iter_mut().filter(|x| **x > 0.4).for_each(|x| *x = f32::NEG_INFINITY);
        }
        let keys = |seed| numbers(seed, self.batch).iter().map(|x| ((x + 1.0) / 2.0 * (self.k_len + 1) as f32) as usize).collect();
        Extras {
            mask: numbers(self.seed ^ 4, size(self.mask)).iter().map(|&x| x < 0.3).collect(),
            bias,
            slopes: self.alibi.map_or(vec![], |each| numbers(self.seed ^ 6, if each { self.batch * self.heads() } else { self.heads() })),
            lengths: keys(self.seed ^ 7),
            starts: keys(self.seed ^ 8),
        }
    }

    fn options<'a>(&self, extras: &'a Extras) -> Options<'a> {
        let mut options = Options::new().window(self.window.0, self.window.1).diagonal(self.diagonal).parallelism(self.parallelism);
        if self.causal {
            options = options.causal(self.diagonal);
        }
        if let Some(scale) = self.scale {
            options = options.scale(scale);
        }
        if let Some(softcap) = self.softcap {
            options = options.softcap(softcap);
        }
        if let Some(repeated) = self.mask {
            options = options.mask(View::contiguous(&extras.mask, self.scores(repeated)).unwrap());
        }
        if let Some(repeated) = self.bias {
            options = options.bias(View::contiguous(&extras.bias, self.scores(repeated)).unwrap());
        }
        if self.alibi.is_some() {
            options = options.alibi(&extras.slopes);
        }
        if self.lengths {
            options = options.key_lengths(&extras.lengths);
        }
        if self.starts {
            options = options.key_starts(&extras.starts);
        }
        options
    }

    fn layouts(&self) -> [Layout; 4] {
        [
            layout([self.batch, self.heads(), self.q_len, self.dim], self.order[0]),
            layout([self.batch, self.kv_heads, self.k_len, self.dim], self.order[1]),
            layout([self.batch, self.kv_heads, self.k_len, self.value_dim], self.order[2]),
            layout([self.batch, self.heads(), self.q_len, self.value_dim], self.order[3]),
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
    let extras = setting.extras();
    let options = setting.options(&extras);
    let layouts = setting.layouts();
    let stored: Vec<Vec<f32>> = layouts.iter().zip(1..).map(|(layout, i)| storage(layout, setting.seed.wrapping_add(i))).collect();
    let [q, k, v, d_out]: [View<'_>; 4] = std::array::from_fn(|i| view(&stored[i], &layouts[i]));

    let expected = reference::attention(q, k, v, &options).unwrap();
    let mut out = vec![f32::NAN; stored[3].len()];
    let mut lse = vec![f32::NAN; expected.lse.len()];
    attend(q, k, v, &options, ViewMut::with_layout(&mut out, layouts[3]).unwrap(), Some(&mut lse)).unwrap();
    let out = view(&out, &layouts[3]);
    assert_near("out", &dense(out), &expected.out, 2e-5)?;
    assert_near("lse", &lse, &expected.lse, 2e-5)?;

    let expected = reference::backward(q, k, v, &options, d_out).unwrap();
    let mut stores: Vec<Vec<f32>> = (0..3).map(|i| vec![f32::NAN; stored[i].len()]).collect();
    let [d_q, d_k, d_v] = &mut stores[..] else { unreachable!() };
    let gradients = QkvMut::separate(
        ViewMut::with_layout(d_q, layouts[0]).unwrap(),
        ViewMut::with_layout(d_k, layouts[1]).unwrap(),
        ViewMut::with_layout(d_v, layouts[2]).unwrap(),
    );
    let repeated = setting.bias.unwrap_or_default();
    let mut d_bias = vec![f32::NAN; extras.bias.len()];
    let d_bias_view = setting.bias.map(|repeated| ViewMut::contiguous(&mut d_bias, setting.scores(repeated)).unwrap());
    attend_backward(q, k, v, &options, out, &lse, d_out, gradients, d_bias_view).unwrap();
    for (i, (name, expected)) in [("d_q", &expected.q), ("d_k", &expected.k), ("d_v", &expected.v)].into_iter().enumerate() {
        assert_near(name, &dense(view(&stores[i], &layouts[i])), expected, 1e-4)?;
    }
    if setting.bias.is_some() {
        let full = setting.scores([false; 4]);
        assert_near("d_bias", &d_bias, &folded(&expected.scores, full, repeated), 1e-4)?;
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
            assert_near("out", &alone, &expected.out, 2e-5)?;
            let expected = reference::backward(q, k, v, &options, view(&d_part, &q_layout)).unwrap();
            let got_q = cut(&fused[..q_data.len()], q0, q1, q_row);
            assert_near("d_q", &dense(view(&got_q, &q_layout)), &expected.q, 1e-4)?;
            let got_kv = cut(&fused[q_data.len()..], k0, k1, kv_row);
            assert_near("d_k", &dense(view(&got_kv, &kv_layout)), &expected.k, 1e-4)?;
            assert_near("d_v", &dense(view(&got_kv[(kv_heads * dim).min(got_kv.len())..], &kv_layout)), &expected.v, 1e-4)?;
        }
    }
}
