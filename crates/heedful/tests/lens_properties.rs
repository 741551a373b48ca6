//! Every lens and every glance against the definition's weights, over random shapes, storage and options.

mod random;

use std::ops::Range;

use half::{bf16, f16};
use heedful::lens::{Glance, Lens, Pool, attend_with, value_norms};
use heedful::{Diagonal, Element, View, ViewMut, reference};
use proptest::prelude::*;
use proptest::sample::select;
use random::{Call, Extras, calls, near, numbers};

#[derive(Clone, Debug)]
struct Setting {
    call: Call,
    dim: usize,
    /// What scores are multiplied by: at 0, all keys are alike.
    sharpness: f32,
    top: usize,
    map: [usize; 2],
}

fn settings() -> impl Strategy<Value = Setting> {
    let lengths = prop_oneof![4 => 0usize..40, 1 => 100usize..180];
    let calls = move |sharpness| calls(1..3, lengths.clone(), Just(Some(sharpness)), 60);
    let calls = select(vec![0.0f32, 1.0, 4.0]).prop_flat_map(move |sharpness| (calls(sharpness), Just(sharpness)));
    (calls, 0usize..20, 0usize..12, [1usize..40, 1usize..40]).prop_map(|((call, sharpness), dim, top, map)| Setting {
        call,
        dim,
        sharpness,
        top,
        map,
    })
}

/// Where query 0 of a sequence stands.
fn offset(call: &Call, extras: &Extras, batch: usize) -> isize {
    match call.diagonal {
        Diagonal::TopLeft => 0,
        Diagonal::BottomRight => (if call.lengths { extras.lengths[batch] } else { call.k_len }) as isize - call.q_len as isize,
        Diagonal::Offset(offset) => offset,
    }
}

/// The places under a cell of a map.
fn under(range: &Range<usize>, cell: usize, cells: usize) -> Range<usize> {
    range.start + cell * range.len() / cells..range.start + (cell + 1) * range.len() / cells
}

/// A part of a range, by the seed.
fn part(seed: u64, len: usize) -> Range<usize> {
    let ends = numbers(seed, 2);
    let place = |x: f32| (f32::midpoint(x, 1.0) * (len + 1) as f32) as usize;
    place(ends[0]).min(place(ends[1]))..place(ends[0]).max(place(ends[1])).min(len)
}

fn check<T: Element>(setting: &Setting) -> Result<(), TestCaseError> {
    let Setting { ref call, dim, sharpness, top, map } = *setting;
    let Call { batch, kv_heads, q_len, k_len, seed, .. } = *call;
    let heads = call.heads();
    let extras = call.extras();
    let options = call.options(&extras);
    let stored = |seed, len| numbers(seed, len).into_iter().map(T::from_f32).collect::<Vec<T>>();
    let (q, k) = (stored(seed ^ 1, batch * heads * q_len * dim), stored(seed ^ 2, batch * kv_heads * k_len * dim));
    let (q, k) = (View::contiguous(&q, [batch, heads, q_len, dim]).unwrap(), View::contiguous(&k, [batch, kv_heads, k_len, dim]).unwrap());
    let expected = reference::attention(q, k, k, &options).unwrap();
    let rows = batch * heads * q_len;

    let (mut out, mut lse) = (vec![f32::NAN; rows * dim], vec![f32::NAN; rows]);
    let chosen = [0, 3, 5];
    let mut glance = Glance::new().entropy().top(top).distance().mass_on(&chosen);
    attend_with(q, k, k, &options, ViewMut::contiguous(&mut out, q.shape()).unwrap(), Some(&mut lse), &mut glance).unwrap();
    near("out", &out, &expected.out, 2e-5)?;
    near("lse", &lse, &expected.lse, 2e-5)?;
    let mut entropies = Vec::new();
    for row in 0..rows {
        let weights = &expected.weights[row * k_len..][..k_len];
        let offset = offset(call, &extras, row / (heads * q_len));
        let place = (row % q_len) as isize + offset;
        entropies.push(weights.iter().filter(|&&p| p > 0.0).map(|p| -p * p.ln()).sum());
        let distance: f64 = weights.iter().enumerate().map(|(j, p)| p * (j as isize - place).abs() as f64).sum();
        near("distance", &glance.distances()[row..=row], &[distance], 2e-5)?;
        let mass: f64 = chosen.iter().filter_map(|&j| weights.get(j)).sum();
        near("mass", &glance.masses()[row..=row], &[mass], 1e-5)?;

        let found = glance.top_k(row);
        let mut sorted: Vec<f64> = weights.iter().copied().filter(|&p| p > 1e-37).collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        prop_assert_eq!(found.keys.len(), sorted.len().min(top));
        near("top weights", &found.weights, &sorted[..found.keys.len()], 1e-5)?;
        let listed: f64 = found.keys.iter().map(|&key| weights[key]).sum();
        near("top keys", &[found.weights.iter().sum()], &[listed], 1e-5)?;
        prop_assert!(found.weights.is_sorted_by(|a, b| a >= b));
        let all_alike = sharpness == 0.0 && call.bias.is_none() && call.alibi.is_none();
        prop_assert!(!all_alike || found.keys.is_sorted(), "of equal scores the earlier key comes first: {:?}", found.keys);
        if top > 0 {
            near("rest", &[found.rest], &[weights.iter().sum::<f64>() - listed], 1e-5)?;
            prop_assert_eq!(glance.largest(row), found.keys.first().map(|&key| (key, found.weights[0])));
        }
    }
    near("entropies", glance.entropies(), &entropies, 2e-5)?;

    let lens = Lens::new(q, k, &options, &lse).unwrap();
    let mut again = Glance::new().entropy().top(top).distance().mass_on(&chosen);
    lens.glance(&mut again).unwrap();
    prop_assert_eq!(again.entropies(), glance.entropies());
    prop_assert_eq!((again.top_keys(), again.top_weights()), (glance.top_keys(), glance.top_weights()));
    prop_assert_eq!((again.distances(), again.masses()), (glance.distances(), glance.masses()));

    let norms = value_norms(k, heads, None).unwrap();
    let lenses = [(lens, None), (lens.with_value_norms(&norms).unwrap(), Some(&norms))];
    let mut some_heads = part(seed ^ 0xc, heads);
    if some_heads.is_empty() {
        some_heads = 0..heads;
    }
    for ((lens, norms), b) in lenses.into_iter().flat_map(|lens| (0..batch).map(move |b| (lens, b))) {
        for chosen in [heads - 1..heads, some_heads.clone()] {
            let weight = |i: usize, j: usize| {
                let weights = chosen.clone().map(|h| {
                    let norm = norms.map_or(1.0, |norms| f64::from(norms[(b * heads + h) * k_len + j]));
                    expected.weights[((b * heads + h) * q_len + i) * k_len + j] * norm
                });
                weights.sum::<f64>() / chosen.len() as f64
            };
            let (queries, keys) = (part(seed ^ 0xa, q_len), part(seed ^ 0xb, k_len));
            let tile: Vec<f64> = queries.clone().flat_map(|i| keys.clone().map(move |j| (i, j))).map(|(i, j)| weight(i, j)).collect();
            near("tile", &lens.tile(b, chosen.clone(), queries.clone(), keys.clone()).unwrap(), &tile, 5e-5)?;
            for i in queries.clone() {
                let row: Vec<f64> = (0..k_len).map(|j| weight(i, j)).collect();
                let found = lens.row(b, chosen.clone(), i).unwrap();
                near("row", &found, &row, 5e-5)?;
                if norms.is_none() {
                    let total = found.iter().sum::<f32>();
                    near("a row's sum", &[total], &[row.iter().sum::<f64>().round()], if chosen.len() == 1 { 1e-5 } else { 1.0 })?;
                }
                let mut sorted = row.clone();
                sorted.sort_by(|a, b| b.total_cmp(a));
                let found = lens.top_k(b, chosen.clone(), i, top).unwrap();
                near("top weights", &found.weights, &sorted[..found.weights.len()], 5e-5)?;
                near("rest", &[found.rest], &[sorted[found.weights.len()..].iter().sum()], 5e-5)?;
            }
            for j in keys.clone() {
                let column: Vec<f64> = (0..q_len).map(|i| weight(i, j)).collect();
                near("column", &lens.column(b, chosen.clone(), j).unwrap(), &column, 5e-5)?;
            }
            let sums: Vec<f64> = (0..k_len).map(|j| queries.clone().map(|i| weight(i, j)).sum()).collect();
            near("column sums", &lens.column_sums(b, chosen.clone(), queries.clone()).unwrap(), &sums, 5e-5)?;

            let (x, mut y) = (numbers(seed ^ 0xd, q_len), numbers(seed ^ 0xe, k_len));
            y.iter_mut().take(k_len / 2).for_each(|y| *y = 0.0);
            let to_keys: Vec<f64> = (0..k_len).map(|j| (0..q_len).map(|i| f64::from(x[i]) * weight(i, j)).sum()).collect();
            near("to keys", &lens.to_keys(b, chosen.clone(), &x).unwrap(), &to_keys, 5e-5)?;
            let to_queries: Vec<f64> = (0..q_len).map(|i| (0..k_len).map(|j| f64::from(y[j]) * weight(i, j)).sum()).collect();
            near("to queries", &lens.to_queries(b, chosen.clone(), &y).unwrap(), &to_queries, 5e-5)?;

            let map = [map[0].min(queries.len()), map[1].min(keys.len())];
            for pool in [Pool::Sum, Pool::Mean, Pool::Max] {
                let mut cells = Vec::new();
                for (r, c) in (0..map[0]).flat_map(|r| (0..map[1]).map(move |c| (r, c))) {
                    let (i, j) = (under(&queries, r, map[0]), under(&keys, c, map[1]));
                    let cell: Vec<f64> = i.flat_map(|i| j.clone().map(move |j| (i, j))).map(|(i, j)| weight(i, j)).collect();
                    cells.push(match pool {
                        Pool::Sum => cell.iter().sum(),
                        Pool::Mean => cell.iter().sum::<f64>() / cell.len() as f64,
                        Pool::Max => cell.iter().copied().fold(0.0, f64::max),
                    });
                }
                near("map", &lens.pooled(b, chosen.clone(), queries.clone(), keys.clone(), map, pool).unwrap(), &cells, 5e-5)?;
            }
        }
        for (h, i) in (0..heads).flat_map(|h| (0..q_len).map(move |i| (h, i))) {
            near("entropy", &[lens.entropy(b, h, i).unwrap()], &[entropies[(b * heads + h) * q_len + i]], 2e-5)?;
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn lenses_and_glances_equal_the_definition(setting in settings()) {
        check::<f32>(&setting)?;
    }

    #[test]
    fn lenses_and_glances_equal_the_definition_of_stored_halves(setting in settings()) {
        check::<f16>(&setting)?;
        check::<bf16>(&setting)?;
    }
}
