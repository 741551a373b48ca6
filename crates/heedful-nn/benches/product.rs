//! Matrix products at the sizes of training steps, on one thread. The items are multiply-adds: twice "Gitem/s" is GFLOP/s.
//!
//! ```text
//! cargo bench -p heedful-nn --bench product [FILTER]
//! ```

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use heedful_nn::Workspace;
use heedful_nn::product::{Matrix, Packed, add_gradient_product, add_packed_product_strided, product};

fn main() {
    divan::main();
}

/// Rows, terms and columns of a product.
type Sizes = [usize; 3];

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + 5) % 2003) as f32 / 1001.0 - 1.0).collect()
}

/// Measures what computes `out [rows, columns]` from `a` and `b`, which have `rows * terms` and `terms * columns` numbers.
fn measure(bencher: Bencher<'_, '_>, [rows, terms, columns]: Sizes, run: impl Fn(&mut [f32], &[f32], &[f32])) {
    let (a, b, mut out) = (numbers(rows * terms), numbers(terms * columns), vec![0.0; rows * columns]);
    bencher.counter(ItemsCount::new(rows * terms * columns)).bench_local(|| run(black_box(&mut out), &a, &b));
}

/// `x W^T`: a layer, forward.
#[divan::bench(args = [[2048, 256, 256], [2048, 256, 1024], [2048, 1024, 256], [480, 256, 8000]])]
fn forward(bencher: Bencher<'_, '_>, sizes: Sizes) {
    let [rows, terms, columns] = sizes;
    measure(bencher, sizes, |out, x, weight| product(out, Matrix::new(x, rows, terms), Matrix::new(weight, columns, terms).t()));
}

/// `d_y W`: the gradient of a layer's input.
#[divan::bench(args = [[2048, 256, 256], [2048, 1024, 256], [480, 8000, 256]])]
fn input_gradient(bencher: Bencher<'_, '_>, sizes: Sizes) {
    let [rows, terms, columns] = sizes;
    measure(bencher, sizes, |out, d_y, weight| {
        add_gradient_product(out, Matrix::new(d_y, rows, terms), Matrix::new(weight, terms, columns));
    });
}

/// `d_y^T x`: the gradient of a layer's weight.
#[divan::bench(args = [[256, 2048, 256], [1024, 2048, 256], [8000, 480, 256]])]
fn weight_gradient(bencher: Bencher<'_, '_>, sizes: Sizes) {
    let [rows, terms, columns] = sizes;
    measure(bencher, sizes, |out, d_y, x| {
        add_gradient_product(out, Matrix::new(d_y, terms, rows).t(), Matrix::new(x, terms, columns));
    });
}

const STEPS: [Sizes; 4] = [[32, 256, 768], [32, 768, 256], [64, 256, 768], [1, 256, 768]];

/// A step of a recurrence, its weight as it is.
#[divan::bench(args = STEPS)]
fn step(bencher: Bencher<'_, '_>, sizes: Sizes) {
    let [rows, terms, columns] = sizes;
    measure(bencher, sizes, |out, h, weight| product(out, Matrix::new(h, rows, terms), Matrix::new(weight, terms, columns)));
}

/// A step of a recurrence, its weight packed.
#[divan::bench(args = STEPS)]
fn packed_step(bencher: Bencher<'_, '_>, sizes: Sizes) {
    let [rows, terms, columns] = sizes;
    let packed = Packed::new(Matrix::new(&numbers(terms * columns), terms, columns), &mut Workspace::new());
    measure(bencher, sizes, |out, h, _| add_packed_product_strided(out, columns, Matrix::new(h, rows, terms), &packed));
}
