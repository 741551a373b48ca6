//! Gradients of the encoder-decoder alignment models against finite differences, with every kind of mask.

use heedful::mechanism::additive::Additive;
use heedful::mechanism::luong::{Luong, ReadOut};
use heedful::mechanism::{Alignment, Inputs, Projection, Visible};

const BATCH: usize = 2;
const Q_LEN: usize = 3;
const K_LEN: usize = 4;
const HIDDEN: usize = 5;

fn numbers(seed: u32, len: usize) -> Vec<f32> {
    (0..len as u32).map(|i| ((i + 31 * seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// Checks `gradient` against central differences of `loss` over `x`. f32 arithmetic leaves about four digits.
fn assert_gradient(name: &str, x: &[f32], gradient: &[f32], loss: impl Fn(&[f32]) -> f64) {
    assert_eq!(x.len(), gradient.len(), "{name}");
    let step = 1.0 / 64.0;
    for i in 0..x.len() {
        let moved = |by: f32| {
            let mut x = x.to_vec();
            x[i] += by;
            loss(&x)
        };
        // The fourth-order formula: its error is far below that of the arithmetic.
        let difference = (8.0 * (moved(step) - moved(-step)) - (moved(2.0 * step) - moved(-2.0 * step))) / (12.0 * f64::from(step));
        let error = (difference - f64::from(gradient[i])).abs();
        assert!(error < 2e-4 * (1.0 + difference.abs()), "{name}[{i}] is {}, differences give {difference}", gradient[i]);
    }
}

struct Parts {
    queries: Vec<f32>,
    memory: Vec<f32>,
    values: Option<Vec<f32>>,
    d_context: Vec<f32>,
    d_weights: Vec<f32>,
}

fn parts(query_width: usize, memory_width: usize, separate_values: bool) -> Parts {
    let value_width = if separate_values { 2 } else { memory_width };
    Parts {
        queries: numbers(1, BATCH * Q_LEN * query_width),
        memory: numbers(2, BATCH * K_LEN * memory_width),
        values: separate_values.then(|| numbers(3, BATCH * K_LEN * value_width)),
        d_context: numbers(4, BATCH * Q_LEN * value_width),
        d_weights: numbers(5, BATCH * Q_LEN * K_LEN),
    }
}

impl Parts {
    fn loss(&self, alignment: &Alignment) -> f64 {
        dot(&alignment.context, &self.d_context) + dot(&alignment.weights, &self.d_weights)
    }

    fn inputs<'a>(&'a self, visible: Visible<'a>) -> Inputs<'a> {
        Inputs { batch: BATCH, queries: &self.queries, memory: &self.memory, values: self.values.as_deref(), visible }
    }
}

const KEYS: [bool; BATCH * K_LEN] = [true, false, true, true, false, false, false, false];

fn each_mask(check: impl Fn(Visible<'_>)) {
    let pairs: Vec<bool> = numbers(9, BATCH * Q_LEN * K_LEN).iter().map(|&x| x > -0.3).collect();
    for visible in [Visible::All, Visible::Lengths(&[4, 1]), Visible::Keys(&KEYS), Visible::Pairs(&pairs)] {
        check(visible);
    }
}

fn linear(weight: &[f32], bias: Option<&[f32]>, inputs: usize) -> Projection {
    Projection::linear(weight.to_vec(), bias.map(<[f32]>::to_vec), inputs, weight.len() / inputs).unwrap()
}

#[test]
fn additive() {
    for separate_values in [false, true] {
        each_mask(|visible| {
            let parts = parts(3, 6, separate_values);
            let inputs = parts.inputs(visible);
            let (w, b, u, v) = (numbers(6, HIDDEN * 3), numbers(7, HIDDEN), numbers(8, HIDDEN * 6), numbers(9, HIDDEN));
            let network =
                |w: &[f32], b: &[f32], u: &[f32], v: &[f32]| Additive::new(linear(w, Some(b), 3), linear(u, None, 6), v.to_vec()).unwrap();
            let loss = |network: &Additive, inputs: &Inputs<'_>| parts.loss(&network.forward(inputs).unwrap());
            let plain = network(&w, &b, &u, &v);
            let alignment = plain.forward(&inputs).unwrap();
            let gradients = plain.backward(&inputs, &alignment, &parts.d_context, Some(&parts.d_weights)).unwrap();
            assert_gradient("W", &w, &gradients.query.weight, |w| loss(&network(w, &b, &u, &v), &inputs));
            assert_gradient("b", &b, &gradients.query.bias, |b| loss(&network(&w, b, &u, &v), &inputs));
            assert_gradient("U", &u, &gradients.key.weight, |u| loss(&network(&w, &b, u, &v), &inputs));
            assert_gradient("v", &v, &gradients.energy, |v| loss(&network(&w, &b, &u, v), &inputs));
            assert_gradient("queries", inputs.queries, &gradients.query.x, |queries| loss(&plain, &Inputs { queries, ..inputs }));
            assert_gradient("memory", inputs.memory, &gradients.key.x, |memory| loss(&plain, &Inputs { memory, ..inputs }));
            if let Some(values) = inputs.values {
                assert_gradient("values", values, &gradients.values, |values| loss(&plain, &Inputs { values: Some(values), ..inputs }));
            }
        });
    }
}

#[test]
fn luong() {
    for (kind, query_width, memory_width) in [("dot", 4, 4), ("general", 3, 4), ("concat", 3, 4)] {
        for separate_values in [false, true] {
            each_mask(|visible| {
                let parts = parts(query_width, memory_width, separate_values);
                let inputs = parts.inputs(visible);
                let (w, v) = match kind {
                    "dot" => (vec![], vec![]),
                    "general" => (numbers(6, query_width * memory_width), vec![]),
                    _ => (numbers(6, HIDDEN * (query_width + memory_width)), numbers(7, HIDDEN)),
                };
                let score = |w: &[f32], v: &[f32]| match kind {
                    "dot" => Luong::Dot { width: query_width },
                    "general" => Luong::General(linear(w, None, memory_width)),
                    _ => Luong::concat(w, v.to_vec(), query_width, memory_width).unwrap(),
                };
                let loss = |score: &Luong, inputs: &Inputs<'_>| parts.loss(&score.forward(inputs).unwrap());
                let plain = score(&w, &v);
                let alignment = plain.forward(&inputs).unwrap();
                let gradients = plain.backward(&inputs, &alignment, &parts.d_context, Some(&parts.d_weights)).unwrap();
                assert_gradient("W", &w, &gradients.weight, |w| loss(&score(w, &v), &inputs));
                assert_gradient("v", &v, &gradients.energy, |v| loss(&score(&w, v), &inputs));
                assert_gradient("queries", inputs.queries, &gradients.queries, |queries| loss(&plain, &Inputs { queries, ..inputs }));
                assert_gradient("memory", inputs.memory, &gradients.memory, |memory| loss(&plain, &Inputs { memory, ..inputs }));
                if let Some(values) = inputs.values {
                    assert_gradient("values", values, &gradients.values, |values| loss(&plain, &Inputs { values: Some(values), ..inputs }));
                }
            });
        }
    }
}

#[test]
fn read_out() {
    let (context, queries, weight, bias, d_states) = (numbers(1, 12), numbers(2, 6), numbers(3, 5 * 6), numbers(4, 5), numbers(5, 15));
    for tanh in [false, true] {
        let read_out = |weight: &[f32], bias: &[f32]| ReadOut { projection: linear(weight, Some(bias), 6), tanh };
        let loss = |read_out: &ReadOut, context: &[f32], queries: &[f32]| dot(&read_out.forward(context, queries, 4).unwrap(), &d_states);
        let plain = read_out(&weight, &bias);
        let states = plain.forward(&context, &queries, 4).unwrap();
        let gradients = plain.backward(&context, &queries, 4, &states, &d_states).unwrap();
        assert_gradient("context", &context, &gradients.context, |context| loss(&plain, context, &queries));
        assert_gradient("queries", &queries, &gradients.queries, |queries| loss(&plain, &context, queries));
        assert_gradient("weight", &weight, &gradients.weight, |weight| loss(&read_out(weight, &bias), &context, &queries));
        assert_gradient("bias", &bias, &gradients.bias, |bias| loss(&read_out(&weight, bias), &context, &queries));
    }
}

#[test]
fn weights_are_zero_where_a_query_may_not_look() {
    let parts = parts(4, 4, false);
    for (alignment, name) in [
        (Luong::Dot { width: 4 }.forward(&parts.inputs(Visible::Keys(&KEYS))).unwrap(), "dot"),
        (Luong::concat(&numbers(1, 40), numbers(2, 5), 4, 4).unwrap().forward(&parts.inputs(Visible::Keys(&KEYS))).unwrap(), "concat"),
    ] {
        for (row, weights) in alignment.weights.chunks(K_LEN).enumerate() {
            let seen = &KEYS[row / Q_LEN * K_LEN..][..K_LEN];
            assert!(weights.iter().zip(seen).all(|(&weight, &seen)| (weight > 0.0) == seen), "{name}");
            let sum: f32 = weights.iter().sum();
            let wanted = f32::from(u8::from(seen.contains(&true)));
            assert!((sum - wanted).abs() < 1e-6, "{name}");
        }
        assert_eq!(alignment.context[Q_LEN * 4..], [0.0; Q_LEN * 4], "{name}: nothing seen, nothing fetched");
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let parts = parts(4, 4, false);
    let dot = Luong::Dot { width: 4 };
    let message = |inputs: &Inputs<'_>| dot.forward(inputs).unwrap_err().to_string();
    assert!(message(&parts.inputs(Visible::Lengths(&[4]))).contains("lengths holds 1 elements: it must hold 2"));
    assert!(message(&parts.inputs(Visible::Keys(&[true; 3]))).contains("visible keys holds 3"));
    assert!(message(&Inputs { queries: &parts.queries[1..], ..parts.inputs(Visible::All) }).contains("queries holds 23"));
    assert!(message(&parts.inputs(Visible::Lengths(&[4, 5]))).contains("lengths is 5: the memory holds 4"));
}
