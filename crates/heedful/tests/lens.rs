//! Every lens against the definition's weights, in all mask modes, over a batch and over packed sequences.

use std::ops::Range;

use heedful::lens::{Glance, Heads, Lens, Pool, WeightRows, attend_packed_with, rollout, rollout_of, value_norms};
use heedful::{Diagonal, Options, Parallelism, View, ViewMut, attend, attend_packed, reference};

fn numbers(seed: u32, len: usize) -> Vec<f32> {
    (0..len as u32).map(|i| ((i + 17 * seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

const BATCH: usize = 2;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const Q_LEN: usize = 37;
const K_LEN: usize = 81;
const DIM: usize = 12;

#[test]
fn every_lens_equals_the_definition() {
    let (q, k) = (numbers(1, BATCH * HEADS * Q_LEN * DIM), numbers(2, BATCH * KV_HEADS * K_LEN * DIM));
    let q: Vec<f32> = q.iter().map(|x| x * 4.0).collect();
    let (q, k) = (View::contiguous(&q, [BATCH, HEADS, Q_LEN, DIM]).unwrap(), View::contiguous(&k, [BATCH, KV_HEADS, K_LEN, DIM]).unwrap());
    let mask: Vec<bool> = numbers(3, Q_LEN * K_LEN).iter().map(|&x| x > 0.2).collect();
    let bias = numbers(4, HEADS * K_LEN);
    let slopes = [0.5, 0.25, 0.125, 0.0625];
    let plain = Options::new();
    let modes = [
        plain,
        plain.causal(Diagonal::TopLeft),
        plain.causal(Diagonal::BottomRight).softcap(2.0),
        plain.window(Some(3), Some(2)).diagonal(Diagonal::Offset(-4)),
        plain.mask(View::contiguous(&mask, [1, 1, Q_LEN, K_LEN]).unwrap()).scale(0.7),
        plain.bias(View::contiguous(&bias, [1, HEADS, 1, K_LEN]).unwrap()).alibi(&slopes),
        plain.key_lengths(&[80, 5]).key_starts(&[70, 0]),
        plain.key_lengths(&[0, 5]),
    ];
    for (mode, options) in modes.iter().enumerate() {
        let expected = reference::attention(q, k, k, options).unwrap();
        let mut out = vec![0.0; BATCH * HEADS * Q_LEN * DIM];
        let mut lse = vec![0.0; BATCH * HEADS * Q_LEN];
        attend(q, k, k, options, ViewMut::contiguous(&mut out, [BATCH, HEADS, Q_LEN, DIM]).unwrap(), Some(&mut lse)).unwrap();
        let lens = Lens::new(q, k, options, &lse).unwrap();
        for (b, h, i) in (0..BATCH).flat_map(|b| (0..HEADS).flat_map(move |h| (0..Q_LEN).map(move |i| (b, h, i)))) {
            let weights = &expected.weights[((b * HEADS + h) * Q_LEN + i) * K_LEN..][..K_LEN];
            let row = lens.row(b, h, i).unwrap();
            let near = |a: f32, b: f64| (f64::from(a) - b).abs() < 1e-5;
            assert!(row.iter().zip(weights).all(|(&a, &b)| near(a, b)), "row {b} {h} {i} of mode {mode}");
            let total: f32 = row.iter().sum();
            assert!(near(total, weights.iter().sum()));

            let entropy: f64 = weights.iter().filter(|&&p| p > 0.0).map(|p| -p * p.ln()).sum();
            assert!(near(lens.entropy(b, h, i).unwrap(), entropy), "entropy {b} {h} {i} of mode {mode}");

            let top = lens.top_k(b, h, i, 3).unwrap();
            let mut sorted: Vec<f64> = weights.iter().copied().filter(|&p| p > 0.0).collect();
            sorted.sort_by(|a, b| b.total_cmp(a));
            assert_eq!(top.keys.len(), sorted.len().min(3));
            assert!(top.weights.iter().zip(&sorted).all(|(&a, &b)| near(a, b)), "top {b} {h} {i} of mode {mode}");
            assert!(top.keys.iter().zip(&top.weights).all(|(&key, &weight)| row[key] == weight));
            assert!(near(top.rest, sorted.iter().skip(3).sum()));
        }
        let tile = lens.tile(1, 2, 5..31, 3..75).unwrap();
        for (i, row) in (5..31).zip(tile.chunks(72)) {
            let alone = &lens.row(1, 2, i).unwrap()[3..75];
            // A row alone is multiplied with the keys in another order.
            assert!(row.iter().zip(alone).all(|(a, b)| (a - b).abs() < 1e-6), "tile of mode {mode}");
        }
        for b in 0..BATCH {
            check_sums(&lens, &expected.weights, b, 1..2, mode);
            check_sums(&lens, &expected.weights, b, 0..HEADS, mode);
        }
    }
}

/// The lenses that sum over queries or keys, of the mean over some heads.
fn check_sums(lens: &Lens<'_>, weights: &[f64], b: usize, heads: Range<usize>, mode: usize) {
    let mean = |i: usize, j: usize| {
        let sum: f64 = heads.clone().map(|h| weights[((b * HEADS + h) * Q_LEN + i) * K_LEN + j]).sum();
        sum / heads.len() as f64
    };
    let near = |got: &[f32], expected: &[f64]| {
        assert_eq!(got.len(), expected.len());
        got.iter().zip(expected).all(|(&a, &b)| (f64::from(a) - b).abs() < 1e-5 * (1.0 + b.abs()))
    };
    for j in 0..K_LEN {
        let expected: Vec<f64> = (0..Q_LEN).map(|i| mean(i, j)).collect();
        assert!(near(&lens.column(b, heads.clone(), j).unwrap(), &expected), "column {j} of mode {mode}");
    }
    let sums: Vec<f64> = (0..K_LEN).map(|j| (3..30).map(|i| mean(i, j)).sum()).collect();
    assert!(near(&lens.column_sums(b, heads.clone(), 3..30).unwrap(), &sums), "column sums of mode {mode}");

    let (x, y) = (numbers(8, Q_LEN), numbers(9, K_LEN));
    let to_keys: Vec<f64> = (0..K_LEN).map(|j| (0..Q_LEN).map(|i| f64::from(x[i]) * mean(i, j)).sum()).collect();
    assert!(near(&lens.to_keys(b, heads.clone(), &x).unwrap(), &to_keys));
    let to_queries: Vec<f64> = (0..Q_LEN).map(|i| (0..K_LEN).map(|j| f64::from(y[j]) * mean(i, j)).sum()).collect();
    assert!(near(&lens.to_queries(b, heads.clone(), &y).unwrap(), &to_queries));

    for ([queries, keys], [rows, columns]) in [([0..Q_LEN, 0..K_LEN], [5, 7]), ([2..35, 7..80], [33, 1]), ([9..10, 3..70], [1, 67])] {
        for pool in [Pool::Sum, Pool::Mean, Pool::Max] {
            let mut expected = Vec::new();
            for (r, c) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
                let cut = |range: &Range<usize>, cell: usize, cells: usize| {
                    range.start + cell * range.len() / cells..range.start + (cell + 1) * range.len() / cells
                };
                let (i, j) = (cut(&queries, r, rows), cut(&keys, c, columns));
                let cell: Vec<f64> = i.flat_map(|i| j.clone().map(move |j| (i, j))).map(|(i, j)| mean(i, j)).collect();
                expected.push(match pool {
                    Pool::Sum => cell.iter().sum(),
                    Pool::Mean => cell.iter().sum::<f64>() / cell.len() as f64,
                    Pool::Max => cell.iter().copied().fold(0.0, f64::max),
                });
            }
            let map = lens.pooled(b, heads.clone(), queries.clone(), keys.clone(), [rows, columns], pool).unwrap();
            assert!(near(&map, &expected), "{pool:?} {queries:?} x {keys:?} of mode {mode}");
        }
    }
}

#[test]
fn the_entropy_of_a_uniform_row_is_ln_n() {
    let (q, k) = ([0.0; 4], numbers(1, 100 * 4));
    let (q, k) = (View::contiguous(&q, [1, 1, 1, 4]).unwrap(), View::contiguous(&k, [1, 1, 100, 4]).unwrap());
    let (mut out, mut lse) = ([0.0; 4], [0.0]);
    attend(q, k, k, &Options::new(), ViewMut::contiguous(&mut out, [1, 1, 1, 4]).unwrap(), Some(&mut lse)).unwrap();
    let entropy = Lens::new(q, k, &Options::new(), &lse).unwrap().entropy(0, 0, 0).unwrap();
    assert!((entropy - 100f32.ln()).abs() < 1e-5);
}

#[test]
fn a_packed_sequence_is_seen_as_if_alone() {
    let (q_data, k_data) = (numbers(1, 12 * 6), numbers(2, 15 * 6));
    let packed = |data, len| View::strided(data, [1, 2, len, 3], [0, 3, 6, 1]).unwrap();
    let (q, k) = (packed(&q_data, 12), packed(&k_data, 15));
    let (offsets_q, offsets_k) = ([0, 5, 5, 12], [0, 4, 9, 15]);
    let options = Options::new().causal(Diagonal::TopLeft);
    let (mut out, mut lse) = ([0.0; 72], [0.0; 24]);
    let out = ViewMut::strided(&mut out, [1, 2, 12, 3], [72, 3, 6, 1]).unwrap();
    attend_packed(q, k, k, &offsets_q, &offsets_k, &options, out, Some(&mut lse)).unwrap();
    let lens = Lens::packed(q, k, &offsets_q, &offsets_k, &options, &lse).unwrap();
    let (alone_q, alone_k) = (packed(&q_data[5 * 6..], 7), packed(&k_data[9 * 6..], 6));
    let expected = reference::attention(alone_q, alone_k, alone_k, &options).unwrap();
    for (h, i) in (0..2).flat_map(|h| (0..7).map(move |i| (h, i))) {
        let row = lens.row(2, h, i).unwrap();
        assert!(row.iter().zip(&expected.weights[(h * 7 + i) * 6..]).all(|(&a, &b)| (f64::from(a) - b).abs() < 1e-6));
    }
    assert!(lens.row(1, 0, 0).unwrap_err().to_string().contains("the sequence has 0"));
    assert!(lens.row(3, 0, 0).unwrap_err().to_string().contains("there are 3"));
    assert!(lens.row(0, 2, 0).unwrap_err().to_string().contains("there are 2"));
}

#[test]
fn a_packed_glance_sees_each_sequence_as_if_alone() {
    let (q_data, k_data) = (numbers(1, 12 * 6), numbers(2, 15 * 6));
    let packed = |data, len| View::strided(data, [1, 2, len, 3], [0, 3, 6, 1]).unwrap();
    let (q, k) = (packed(&q_data, 12), packed(&k_data, 15));
    let options = Options::new().causal(Diagonal::TopLeft);
    let mut marks = [false; 15];
    (marks[4], marks[11]) = (true, true); // the first key of the second sequence and the third of the last one
    let mut glance = Glance::new().entropy().top(2).distance().mass_on_marked(&marks);
    let mut out = [0.0; 72];
    let out = ViewMut::strided(&mut out, [1, 2, 12, 3], [72, 3, 6, 1]).unwrap();
    attend_packed_with(q, k, k, &[0, 5, 5, 12], &[0, 4, 9, 15], &options, out, None, &mut glance).unwrap();
    let expected = reference::attention(packed(&q_data[5 * 6..], 7), packed(&k_data[9 * 6..], 6), packed(&k_data[9 * 6..], 6), &options);
    let weights = expected.unwrap().weights;
    for (h, i) in (0..2).flat_map(|h| (0..7).map(move |i| (h, i))) {
        let (row, weights) = (h * 12 + 5 + i, &weights[(h * 7 + i) * 6..][..6]);
        let near = |a: f32, b: f64| (f64::from(a) - b).abs() < 1e-5;
        assert!(near(glance.entropies()[row], weights.iter().filter(|&&p| p > 0.0).map(|p| -p * p.ln()).sum()));
        assert!(near(glance.distances()[row], weights.iter().enumerate().map(|(j, p)| p * (j as f64 - i as f64).abs()).sum()));
        assert!(near(glance.masses()[row], weights[2]));
        let heaviest = (0..6).max_by(|&a, &b| weights[a].total_cmp(&weights[b])).unwrap();
        assert_eq!(glance.largest(row).unwrap().0, heaviest);
    }
    let short = &mut Glance::new().mass_on_marked(&marks[..14]);
    let error = Lens::packed(q, k, &[0, 12], &[0, 15], &options, &[0.0; 24]).unwrap().glance(short).unwrap_err().to_string();
    assert!(error.contains("marks") && error.contains("[1, 15]"), "{error}");
}

/// Three layers of causal attention over the same tokens.
fn layers(n: usize) -> Vec<(Vec<f32>, Vec<f32>, Vec<f32>)> {
    let layer = |seed| {
        let (q, k) = (numbers(seed, 2 * n * 8), numbers(seed + 1, 2 * n * 8));
        let (mut out, mut lse) = (vec![0.0; 2 * n * 8], vec![0.0; 2 * n]);
        let shape = [1, 2, n, 8];
        let [q_view, k_view] = [&q, &k].map(|data| View::contiguous(data, shape).unwrap());
        let out = ViewMut::contiguous(&mut out, shape).unwrap();
        attend(q_view, k_view, k_view, &Options::new().causal(Diagonal::TopLeft), out, Some(&mut lse)).unwrap();
        (q, k, lse)
    };
    (0..3).map(|i| layer(10 + 2 * i)).collect()
}

#[test]
fn rollout_equals_the_dense_product() {
    let n = 70;
    let layers = layers(n);
    let options = Options::new().causal(Diagonal::TopLeft);
    let lens = |(q, k, lse): &'static (Vec<f32>, Vec<f32>, Vec<f32>)| {
        let [q, k] = [q, k].map(|data| View::contiguous(data, [1, 2, n, 8]).unwrap());
        Lens::new(q, k, &options, lse).unwrap()
    };
    let layers: &'static [_] = Vec::leak(layers);
    let lenses: Vec<Lens<'_>> = layers.iter().map(lens).collect();
    for heads in [Heads::from(1), Heads::from(..)] {
        let mut dense: Vec<f64> = (0..n * n).map(|i| f64::from(u8::from(i / n == i % n))).collect();
        for lens in &lenses {
            let weights = lens.tile(0, heads.clone(), 0..n, 0..n).unwrap();
            let mixed = |i: usize, j: usize| -> f64 {
                let through: f64 = (0..n).map(|m| f64::from(weights[i * n + m]) * dense[m * n + j]).sum();
                0.5 * through + 0.5 * dense[i * n + j]
            };
            dense = (0..n * n).map(|i| mixed(i / n, i % n)).collect();
        }
        let near = |a: f32, b: f64| (f64::from(a) - b).abs() < 1e-6;
        for token in [0, 1, 37, n - 1] {
            let row = rollout(&lenses, 0, heads.clone(), token).unwrap();
            assert!(row.iter().zip(&dense[token * n..]).all(|(&a, &b)| near(a, b)), "what went into {token}");
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            let column = rollout_of(&lenses, 0, heads.clone(), token).unwrap();
            assert!(column.iter().enumerate().all(|(i, &a)| near(a, dense[i * n + token])), "where {token} went");
        }
    }
    assert!(rollout(&lenses, 0, .., n).unwrap_err().to_string().contains("70 tokens in 3 layers"));
    assert!(rollout(&lenses[..0], 0, .., 0).unwrap_err().to_string().contains("in 0 layers"));
}

#[test]
fn value_norms_follow_the_projection() {
    let (heads, kv_heads, n, dim, width) = (4, 2, 150, 5, 9);
    let (v, output) = (numbers(1, kv_heads * n * dim), numbers(2, width * heads * dim));
    let v = View::contiguous(&v, [1, kv_heads, n, dim]).unwrap();
    let norms = value_norms(v, heads, Some(&output)).unwrap();
    for (h, j) in (0..heads).flat_map(|h| (0..n).map(move |j| (h, j))) {
        let moved = |i: usize| (0..dim).map(|c| output[i * heads * dim + h * dim + c] * v.at([0, h / 2, j, c])).sum::<f32>();
        let norm = (0..width).map(|i| moved(i).powi(2)).sum::<f32>().sqrt();
        assert!((norms[h * n + j] - norm).abs() < 1e-5);
    }
    assert!(value_norms(v, 3, None).unwrap_err().to_string().contains("divide the 3 heads"));
    assert!(value_norms(v, 4, Some(&output[1..])).unwrap_err().to_string().contains("multiple of 20"));
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let n = 700;
    let (q, k) = (numbers(1, 2 * n * 16), numbers(2, 2 * n * 16));
    let [q, k] = [&q, &k].map(|data| View::contiguous(data, [1, 2, n, 16]).unwrap());
    let look = |threads: usize, parallelism: Parallelism| {
        let options = Options::new().causal(Diagonal::TopLeft).scale(3.0).parallelism(parallelism);
        let (mut out, mut lse) = (vec![0.0; 2 * n * 16], vec![0.0; 2 * n]);
        let mut glance = Glance::new().entropy().top(5).distance().mass_on(&[0, 1]);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let out = ViewMut::contiguous(&mut out, [1, 2, n, 16]).unwrap();
            heedful::lens::attend_with(q, k, k, &options, out, Some(&mut lse), &mut glance).unwrap();
            let lens = Lens::new(q, k, &options, &lse).unwrap();
            let maps = [[1, 1], [3, 5], [700, 2], [2, 700], [300, 300]].map(|map| lens.pooled(0, .., 0..n, 0..n, map, Pool::Sum).unwrap());
            let vectors = [lens.row(0, 0, 650).unwrap(), lens.column(0, .., 3).unwrap(), lens.column_sums(0, 1, 0..n).unwrap()];
            let moved = [lens.to_keys(0, 0, &lse[..n]).unwrap(), lens.to_queries(0, .., &lse[..n]).unwrap()];
            let total: f32 = maps[1].iter().sum();
            assert!((total - n as f32).abs() < 1e-2, "cells of a map of everything sum to {total}");
            (maps, vectors, moved, glance.entropies().to_vec(), glance.top_keys().to_vec(), glance.distances().to_vec())
        })
    };
    let one = look(1, Parallelism::Serial);
    for threads in [1, 2, 3, 7] {
        assert!(look(threads, Parallelism::Rayon) == one, "{threads} threads");
    }
}

#[test]
fn rows_of_weights_have_the_same_lenses() {
    let weights: Vec<f32> = numbers(5, 12 * 7).iter().map(|x| x.abs()).collect();
    let rows = WeightRows::new(weights.chunks(7), 7).unwrap();
    assert_eq!(rows.shape(), [12, 7]);
    assert_eq!(rows.tile(3..5, 2..4).unwrap(), [weights[23], weights[24], weights[30], weights[31]]);
    assert_eq!(rows.column(6).unwrap()[11], weights[83]);
    let total: f32 = weights.iter().sum();
    for map in [[1, 1], [5, 3], [12, 7]] {
        let cells = rows.pooled(0..12, 0..7, map, Pool::Sum).unwrap();
        assert!((cells.iter().sum::<f32>() - total).abs() < 1e-4);
    }
    assert!((rows.column_sums(0..12).unwrap().iter().sum::<f32>() - total).abs() < 1e-4);
    assert!((WeightRows::new([&[0.25; 4][..]], 4).unwrap().entropy(0).unwrap() - 4f32.ln()).abs() < 1e-6);
    assert!(rows.row(12).unwrap_err().to_string().contains("there are 12"));
    assert!(rows.pooled(0..12, 0..7, [13, 1], Pool::Max).unwrap_err().to_string().contains("rows"));
    assert!(WeightRows::new(weights.chunks(8), 7).unwrap_err().to_string().contains("7 weights"));
}

#[test]
fn what_does_not_exist_is_named() {
    let (data, lse) = (numbers(1, 2 * 5 * 4), [0.0; 10]);
    let x = View::contiguous(&data, [1, 2, 5, 4]).unwrap();
    let options = Options::new();
    let lens = Lens::new(x, x, &options, &lse).unwrap();
    let message = |result: heedful::Result<Vec<f32>>| result.unwrap_err().to_string();
    assert!(message(lens.row(0, 2, 0)).contains("heads is 2: there are 2"));
    assert!(message(lens.row(0, 1..3, 0)).contains("heads is 1..3"));
    assert!(message(lens.row(0, 1..1, 0)).contains("name at least one"));
    assert!(message(lens.column(1, .., 0)).contains("sequence"));
    assert!(message(lens.column(0, .., 5)).contains("keys"));
    assert!(message(lens.row(0, .., usize::MAX)).contains("queries"));
    assert!(message(lens.pooled(0, 0, 0..5, 0..5, [6, 1], Pool::Sum)).contains("rows is 6: the rectangle has 5"));
    assert!(message(lens.pooled(0, 0, 0..5, 0..5, [5, 0], Pool::Sum)).contains("columns is 0"));
    assert!(message(lens.to_keys(0, 0, &[1.0; 4])).contains("one number for each query of the sequence, 5"));
    assert!(lens.with_value_norms(&data[..9]).unwrap_err().to_string().contains("[1, 2, 5]"));
    assert_eq!(lens.pooled(0, 0, 2..2, 0..5, [0, 5], Pool::Sum).unwrap(), [0.0; 0]);
}
