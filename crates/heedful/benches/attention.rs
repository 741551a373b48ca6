//! Times and allocations of attention at the sizes that `docs/performance.md` speaks of, and how the cost of masks and of packed sequences
//! follows what they keep.
//!
//! ```text
//! cargo bench -p heedful --bench attention [FILTER]
//! ```
//!
//! Threads: `RAYON_NUM_THREADS`. The items of a row are pairs of a query and a key that it sees, so that "Gitem/s" compares rows.

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use heedful::{Diagonal, Options, QkvMut, View, ViewMut, attend, attend_backward, attend_packed};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn numbers(len: usize) -> Vec<f32> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5).collect()
}

/// `[batch, heads, key/value heads, queries, keys, dim]` and whether it is causal.
type Case = ([usize; 6], bool);

const CASES: [Case; 13] = [
    ([1, 1, 1, 6, 6, 3], false),
    ([64, 8, 8, 32, 32, 32], false),
    ([64, 8, 8, 32, 32, 32], true),
    ([1, 8, 8, 512, 512, 64], true),
    ([1, 8, 8, 1024, 1024, 64], false),
    ([1, 8, 8, 1024, 1024, 64], true),
    ([1, 8, 8, 2048, 2048, 64], false),
    ([1, 8, 8, 4096, 4096, 64], true),
    ([1, 8, 8, 8192, 8192, 64], false),
    ([1, 32, 8, 4096, 4096, 128], true),
    ([1, 32, 8, 1, 4096, 128], false),
    ([1, 32, 8, 1, 65536, 128], false),
    ([1, 1, 1, 1, 65536, 128], false),
];

const BACKWARD: [Case; 5] = [
    ([1, 1, 1, 6, 6, 3], false),
    ([64, 8, 8, 32, 32, 32], false),
    ([64, 8, 8, 32, 32, 32], true),
    ([4, 8, 8, 1024, 1024, 64], true),
    ([1, 8, 8, 4096, 4096, 64], true),
];

/// Operands and results, which a call only borrows.
struct Tensors {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    out: Vec<f32>,
    lse: Vec<f32>,
    q_shape: [usize; 4],
    k_shape: [usize; 4],
}

impl Tensors {
    fn new([batch, heads, kv_heads, q_len, k_len, dim]: [usize; 6]) -> Self {
        let (q_shape, k_shape) = ([batch, heads, q_len, dim], [batch, kv_heads, k_len, dim]);
        let [q_len, k_len] = [q_shape, k_shape].map(|shape| shape.iter().product());
        let (q, k, v) = (numbers(q_len), numbers(k_len), numbers(k_len));
        Self { q, k, v, out: vec![0.0; q_len], lse: vec![0.0; q_len / dim], q_shape, k_shape }
    }

    fn attend(&mut self, options: &Options<'_>) {
        let Self { q, k, v, out, lse, q_shape, k_shape } = self;
        let [q, k, v] = [(&*q, *q_shape), (&*k, *k_shape), (&*v, *k_shape)].map(|(data, shape)| View::contiguous(data, shape).unwrap());
        attend(q, k, v, options, ViewMut::contiguous(black_box(out), *q_shape).unwrap(), Some(lse)).unwrap();
    }
}

fn options<'a>(is_causal: bool) -> Options<'a> {
    if is_causal { Options::new().causal(Diagonal::BottomRight) } else { Options::new() }
}

fn pairs([batch, heads, _, q_len, k_len, _]: [usize; 6], is_causal: bool) -> ItemsCount {
    ItemsCount::new(batch * heads * if is_causal { q_len * (2 * k_len - q_len + 1) / 2 } else { q_len * k_len })
}

#[divan::bench(args = CASES, sample_count = 10)]
fn forward(bencher: Bencher<'_, '_>, (sizes, is_causal): Case) {
    let mut tensors = Tensors::new(sizes);
    bencher.counter(pairs(sizes, is_causal)).bench_local(|| tensors.attend(&options(is_causal)));
}

#[divan::bench(args = BACKWARD, sample_count = 10)]
fn forward_and_backward(bencher: Bencher<'_, '_>, (sizes, is_causal): Case) {
    let mut tensors = Tensors::new(sizes);
    let d_out = numbers(tensors.out.len());
    let [mut d_q, mut d_k, mut d_v] = [&tensors.q, &tensors.k, &tensors.v].map(|like| vec![0.0; like.len()]);
    bencher.counter(pairs(sizes, is_causal)).bench_local(|| {
        let options = options(is_causal);
        tensors.attend(&options);
        let Tensors { q, k, v, out, lse, q_shape, k_shape } = &tensors;
        let view = |data, shape| View::contiguous(data, shape).unwrap();
        let gradients = QkvMut::separate(
            ViewMut::contiguous(&mut d_q, *q_shape).unwrap(),
            ViewMut::contiguous(&mut d_k, *k_shape).unwrap(),
            ViewMut::contiguous(black_box(&mut d_v), *k_shape).unwrap(),
        );
        let (q, k, v) = (view(q, *q_shape), view(k, *k_shape), view(v, *k_shape));
        attend_backward(q, k, v, &options, view(out, *q_shape), lse, view(&d_out, *q_shape), gradients, None).unwrap();
    });
}

/// A window of so many keys over 8192 tokens of one head.
#[divan::bench(args = [64, 256, 1024, 4096, 8192], sample_count = 5)]
fn window(bencher: Bencher<'_, '_>, width: usize) {
    let len = 8192;
    let mut tensors = Tensors::new([1, 1, 1, len, len, 64]);
    let options = Options::new().causal(Diagonal::TopLeft).window(Some(width - 1), None);
    bencher.counter(ItemsCount::new(width * (width + 1) / 2 + (len - width) * width)).bench_local(|| tensors.attend(&options));
}

/// A mask that keeps one of so many blocks of 256 x 256, over 4096 tokens of one head.
#[divan::bench(args = [1, 2, 4, 16], sample_count = 5)]
fn block_mask(bencher: Bencher<'_, '_>, one_of: usize) {
    let (len, block): (usize, usize) = (4096, 256);
    let mask: Vec<bool> = (0..len * len).map(|i| (i / len / block + i % len / block).is_multiple_of(one_of)).collect();
    let mut tensors = Tensors::new([1, 1, 1, len, len, 64]);
    let options = Options::new().mask(View::contiguous(&mask, [1, 1, len, len]).unwrap());
    bencher.counter(ItemsCount::new(len * len / one_of)).bench_local(|| tensors.attend(&options));
}

/// 4096 tokens of 8 heads in sequences of so many tokens, one after the other.
#[divan::bench(args = [8, 16, 64, 256, 1024, 4096], sample_count = 5)]
fn packed(bencher: Bencher<'_, '_>, each: usize) {
    let (total, heads, dim) = (4096, 8, 64);
    let (shape, strides) = ([1, heads, total, dim], [total * heads * dim, dim, heads * dim, 1]);
    let x = numbers(total * heads * dim);
    let mut out = vec![0.0; x.len()];
    let offsets: Vec<usize> = (0..=total).step_by(each).collect();
    bencher.counter(ItemsCount::new(heads * total * each)).bench_local(|| {
        let view = View::strided(&x, shape, strides).unwrap();
        let out = ViewMut::strided(black_box(&mut out), shape, strides).unwrap();
        attend_packed(view, view, view, &offsets, &offsets, &Options::new(), out, None).unwrap();
    });
}
