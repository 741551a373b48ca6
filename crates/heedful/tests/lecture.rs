//! The mechanisms against the numbers that the lecture prints, chapter 3 of Raschka, *Build a Large Language Model (From Scratch)*: from
//! seeds through weights and scores to contexts, to the four decimals printed.

use heedful::mechanism::causal::{CausalAttention, Dropout};
use heedful::mechanism::cross::CrossAttention;
use heedful::mechanism::multi_head::{MultiHeadAttention, StackedHeads};
use heedful::mechanism::self_attention::SelfAttention;
use heedful::mechanism::{Projection, simplified};
use heedful::softmax::softmax;
use serde_json::Value;

fn facts() -> Value {
    serde_json::from_str(include_str!("data/lecture_facts.json")).unwrap()
}

/// The numbers of a possibly nested array, row-major; null is -inf.
fn numbers(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        Value::Null => vec![f32::NEG_INFINITY],
        number => vec![number.as_f64().unwrap() as f32],
    }
}

/// Checks against what is printed and, more closely, against what was computed, wherever the facts hold them.
fn assert_fact(got: &[f32], fact: &Value, name: &str) {
    let tolerances = match fact {
        Value::Object(_) => vec![(&fact["published"], 5e-5 + 1e-6), (&fact["computed"], 2e-6)],
        _ => vec![(fact, 2e-6)],
    };
    let mut compared = 0;
    for (expected, tolerance) in tolerances.into_iter().filter(|(expected, _)| !expected.is_null()) {
        let expected = numbers(expected);
        assert_eq!(got.len(), expected.len(), "{name}");
        for (i, (&g, &e)) in got.iter().zip(&expected).enumerate() {
            assert!(g == e || (g - e).abs() <= tolerance, "{name}[{i}] is {g}, expected {e}");
        }
        compared += 1;
    }
    assert!(compared > 0, "{name}: nothing to compare with");
}

fn inputs() -> Vec<f32> {
    numbers(&facts()["inputs"])
}

/// PyTorch's generator for the CPU: MT19937 (Matsumoto and Nishimura 1998), seeded by one number.
struct Twister {
    state: [u32; 624],
    next: usize,
}

impl Twister {
    fn new(seed: u32) -> Self {
        let mut state = [seed; 624];
        for i in 1..624 {
            let previous = state[i - 1];
            state[i] = (previous ^ (previous >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Self { state, next: 624 }
    }

    fn draw(&mut self) -> u32 {
        if self.next == 624 {
            for i in 0..624 {
                let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % 624] & 0x7fff_ffff);
                self.state[i] = self.state[(i + 397) % 624] ^ (y >> 1) ^ if y & 1 == 1 { 0x9908_b0df } else { 0 };
            }
            self.next = 0;
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// `torch.rand`
    fn uniform(&mut self) -> f32 {
        (self.draw() & 0x00ff_ffff) as f32 / (1u32 << 24) as f32
    }

    /// The weight of `nn.Linear`, or its bias when `outputs` is 1.
    fn linear(&mut self, inputs: usize, len: usize) -> Vec<f32> {
        let bound = 1.0 / (inputs as f32).sqrt();
        (0..len).map(|_| self.uniform() * (bound + bound) - bound).collect()
    }

    fn projection(&mut self, inputs: usize, outputs: usize) -> Projection {
        Projection::linear(self.linear(inputs, inputs * outputs), None, inputs, outputs).unwrap()
    }

    fn causal(&mut self) -> CausalAttention {
        CausalAttention::new(self.projection(3, 2), self.projection(3, 2), self.projection(3, 2)).unwrap()
    }
}

#[test]
fn simplified_self_attention() {
    let facts = &facts()["simplified"];
    let steps = simplified::steps(&inputs(), 3).unwrap();
    assert_fact(&steps.scores, &facts["attn_scores"], "scores");
    assert_fact(&steps.weights, &facts["attn_weights"], "weights");
    assert_fact(&steps.context, &facts["context_vecs"], "contexts");
    assert_fact(&steps.scores[6..12], &facts["attn_scores_2"], "scores of journey");
    assert_fact(&steps.weights[6..12], &facts["attn_weights_2"], "weights of journey");
    assert_fact(&steps.context[3..6], &facts["context_vec_2"], "context of journey");
    let sum: f32 = steps.scores[6..12].iter().sum();
    let by_sum: Vec<f32> = steps.scores[6..12].iter().map(|s| s / sum).collect();
    assert_fact(&by_sum, &facts["attn_weights_2_sum_normalised"], "scores over their sum");
    let row_sums: Vec<f32> = steps.weights.chunks(6).map(|row| row.iter().sum()).collect();
    assert_fact(&row_sums, &facts["row_sums"], "row sums");
    assert_eq!(simplified::forward(&inputs(), 3).unwrap(), steps.context);
}

#[test]
fn self_attention_with_parameters() {
    let facts = &facts()["selfattn_v1"];
    let mut twister = Twister::new(123);
    let weights = ["W_query", "W_key", "W_value"].map(|name| {
        let drawn: Vec<f32> = (0..6).map(|_| twister.uniform()).collect();
        assert_fact(&drawn, &facts[name], name);
        Projection::parameter(&drawn, 3, 2).unwrap()
    });
    let [query, key, value] = weights;
    let attention = SelfAttention::new(query, key, value).unwrap();
    let steps = attention.steps(&inputs()).unwrap();
    assert_fact(&steps.queries, &facts["queries"], "queries");
    assert_fact(&steps.keys, &facts["keys"], "keys");
    assert_fact(&steps.values, &facts["values"], "values");
    assert_fact(&steps.scores, &facts["attn_scores"], "scores");
    assert_fact(&steps.weights, &facts["attn_weights"], "weights");
    assert_fact(&steps.context, &facts["context_vecs"], "contexts");
    assert_fact(&steps.queries[2..4], &facts["query_2"], "query of journey");
    assert_fact(&steps.scores[7..8], &facts["attn_score_22"], "score of journey with itself");
    assert_fact(&steps.scores[6..12], &facts["attn_scores_2"], "scores of journey");
    assert_fact(&steps.weights[6..12], &facts["attn_weights_2"], "weights of journey");
    assert_fact(&steps.context[2..4], &facts["context_vec_2"], "context of journey");
    assert_eq!(attention.forward(&inputs()).unwrap(), steps.context);
}

#[test]
fn self_attention_with_linear_layers_and_the_steps_to_causal() {
    let all = facts();
    let facts = &all["selfattn_v2"];
    let mut twister = Twister::new(789);
    let projections = ["W_query", "W_key", "W_value"].map(|name| {
        let weight = twister.linear(3, 6);
        assert_fact(&weight, &facts[name], name);
        Projection::linear(weight, None, 3, 2).unwrap()
    });
    let [query, key, value] = projections;
    let steps = SelfAttention::new(query.clone(), key.clone(), value.clone()).unwrap().steps(&inputs()).unwrap();
    assert_fact(&steps.scores, &facts["attn_scores"], "scores");
    assert_fact(&steps.weights, &facts["attn_weights"], "weights");
    assert_fact(&steps.context, &facts["context_vecs"], "contexts");

    let facts = &all["causal_steps"];
    // The first way: weights ahead set to 0, and each row brought back to a sum of 1.
    let masked: Vec<f32> = steps.weights.iter().enumerate().map(|(i, &p)| if i % 6 <= i / 6 { p } else { 0.0 }).collect();
    assert_fact(&masked, &facts["masked_simple"], "masked weights");
    let renormalised: Vec<f32> = masked.chunks(6).flat_map(|row| row.iter().map(|p| p / row.iter().sum::<f32>())).collect();
    assert_fact(&renormalised, &facts["masked_simple_norm"], "renormalised weights");
    // The second way, which the mechanism takes: scores ahead set to -inf.
    let attention = CausalAttention::new(query, key, value).unwrap();
    let causal = attention.steps(&inputs()).unwrap();
    assert_fact(&causal.scores, &facts["masked_scores"], "masked scores");
    assert_fact(&causal.weights, &facts["attn_weights"], "causal weights");

    let dropout = &facts["dropout"];
    let factors = numbers(&dropout["mask_times_scale"]["published"]);
    let keep: Vec<bool> = factors.iter().map(|&factor| factor > 0.0).collect();
    let dropped: Vec<f32> = causal.weights.iter().zip(&factors).map(|(p, factor)| p * factor).collect();
    for (got, expected) in dropped.iter().zip(numbers(&dropout["dropped_weights"]["published"])) {
        assert!((got - expected).abs() <= 1e-4, "{got} {expected}");
    }
    let context = attention.forward(&inputs(), Some(&Dropout::Mask { keep: &keep, rate: 0.5 })).unwrap();
    for (i, context) in context.chunks(2).enumerate() {
        for c in 0..2 {
            let expected: f32 = (0..6).map(|j| dropped[i * 6 + j] * causal.values[j * 2 + c]).sum();
            assert!((context[c] - expected).abs() < 1e-6);
        }
    }
}

#[test]
fn causal_attention() {
    let facts = &facts()["causal"];
    let mut twister = Twister::new(123);
    for name in ["W_query", "W_key", "W_value"] {
        let weight = twister.linear(3, 6);
        assert_fact(&weight, &facts[name], name);
        for (got, printed) in weight.iter().zip(numbers(&facts["published_state_dict"][name])) {
            assert!((got - printed).abs() <= 5e-5 + 1e-6);
        }
    }
    let attention = Twister::new(123).causal();
    let steps = attention.steps(&inputs()).unwrap();
    for (got, name) in [
        (&steps.queries, "queries"),
        (&steps.keys, "keys"),
        (&steps.values, "values"),
        (&steps.scores, "masked_scores"),
        (&steps.weights, "attn_weights"),
        (&steps.context, "context_vecs"),
    ] {
        assert_fact(got, &facts[name], name);
    }
    assert_eq!(attention.forward(&inputs(), None).unwrap(), steps.context);
}

#[test]
fn without_the_mask_the_same_weights_give_the_exercise() {
    let mut twister = Twister::new(123);
    let attention = SelfAttention::new(twister.projection(3, 2), twister.projection(3, 2), twister.projection(3, 2)).unwrap();
    assert_fact(&attention.forward(&inputs()).unwrap(), &facts()["exercise_3_1"]["context_vecs"], "exercise 3.1");
}

#[test]
fn stacked_heads() {
    let facts = &facts()["mha_wrapper"];
    let mut twister = Twister::new(123);
    let stacked = StackedHeads::new(vec![twister.causal(), twister.causal()]);
    assert_fact(&stacked.forward(&inputs()).unwrap(), &facts["context_vecs"], "contexts");
    let heads = stacked.steps(&inputs()).unwrap();
    assert_eq!((heads.len(), heads[0].context[..2].to_vec()), (2, stacked.forward(&inputs()).unwrap()[..2].to_vec()));
}

#[test]
fn stacked_heads_of_one_number_give_the_exercise() {
    // What is printed in the notebook's text is not the output of its code; the recomputed numbers are.
    let computed = &facts()["exercise_3_2"]["context_vecs"]["computed"];
    let mut twister = Twister::new(123);
    let mut head = || CausalAttention::new(twister.projection(3, 1), twister.projection(3, 1), twister.projection(3, 1)).unwrap();
    assert_fact(&StackedHeads::new(vec![head(), head()]).forward(&inputs()).unwrap(), computed, "exercise 3.2");
}

#[test]
fn split_heads() {
    let facts = &facts()["mha"];
    let mut twister = Twister::new(123);
    let [query, key, value] = std::array::from_fn(|_| twister.projection(3, 2));
    let (weight, bias) = (twister.linear(2, 4), twister.linear(2, 2));
    assert_fact(&weight, &facts["out_proj_weight"], "out_proj weight");
    assert_fact(&bias, &facts["out_proj_bias"], "out_proj bias");
    let output = Projection::linear(weight, Some(bias), 2, 2).unwrap();
    let attention = MultiHeadAttention::new(query, key, value, output, 2, true).unwrap();
    assert_fact(&attention.forward(&inputs()).unwrap(), &facts["context_vecs"], "contexts");
    let heads = attention.steps(&inputs()).unwrap();
    let weights: Vec<f32> = heads.iter().flat_map(|head| head.weights.clone()).collect();
    assert_fact(&weights, &facts["attn_weights_per_head"], "weights");
    let side_by_side: Vec<f32> = (0..6).flat_map(|i| [heads[0].context[i], heads[1].context[i]]).collect();
    assert_fact(&side_by_side, &facts["concat_heads"], "contexts before the last projection");
}

#[test]
fn a_layer_of_the_size_of_gpt_2_has_as_many_parameters_as_the_exercise_says() {
    let projection = |bias: bool| Projection::linear(vec![0.0; 768 * 768], bias.then(|| vec![0.0; 768]), 768, 768).unwrap();
    let attention = MultiHeadAttention::new(projection(false), projection(false), projection(false), projection(true), 12, true).unwrap();
    assert_eq!(attention.parameters() as u64, facts()["exercise_3_3"]["mha_parameters_d768_h12_ctx1024"].as_u64().unwrap());
}

#[test]
fn cross_attention_is_self_attention_when_the_memory_is_the_sequence() {
    let mut twister = Twister::new(789);
    let [query, key, value] = std::array::from_fn(|_| twister.projection(3, 2));
    let cross = CrossAttention::new(query.clone(), key.clone(), value.clone()).unwrap();
    let itself = SelfAttention::new(query, key, value).unwrap();
    let x = inputs();
    assert_eq!(cross.steps(&x, &x).unwrap(), itself.steps(&x).unwrap());
    // Fewer queries see the same memory.
    assert_eq!(cross.forward(&x[..6], &x).unwrap(), itself.forward(&x).unwrap()[..4]);
    assert_eq!(cross.steps(&x[..6], &x[3..]).unwrap().weights.len(), 2 * 5);
}

#[test]
fn products_over_a_batch_of_heads() {
    // a a^T for each of two heads: the unscaled scores of a token's heads with themselves.
    let facts = &facts()["batched_matmul"];
    let a = numbers(&facts["a"]);
    let scores: Vec<f32> = a.chunks(12).flat_map(|head| simplified::steps(head, 4).unwrap().scores).collect();
    assert_fact(&scores, &facts["a_aT"], "a a^T");
}

#[test]
fn weights_are_the_softmax_of_the_scores() {
    let steps = simplified::steps(&inputs(), 3).unwrap();
    for (scores, weights) in steps.scores.chunks(6).zip(steps.weights.chunks(6)) {
        let mut row = scores.to_vec();
        softmax(&mut row);
        assert!(row.iter().zip(weights).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}

#[test]
fn layers_that_do_not_fit_are_refused() {
    let projection = |inputs, outputs| Projection::linear(vec![0.0; inputs * outputs], None, inputs, outputs).unwrap();
    let error = SelfAttention::new(projection(3, 2), projection(3, 4), projection(3, 2)).unwrap_err().to_string();
    assert!(error.contains("key has shape [4, 3]") && error.contains("must give 2 numbers"), "{error}");
    assert!(CrossAttention::new(projection(3, 2), projection(4, 2), projection(3, 2)).is_err());
    let heads = MultiHeadAttention::new(projection(3, 4), projection(3, 4), projection(3, 4), projection(4, 4), 3, true);
    assert!(heads.unwrap_err().to_string().contains("heads is 3"));
    assert!(simplified::forward(&[1.0; 7], 3).unwrap_err().to_string().contains("whole rows of 3"));
    assert!(Projection::parameter(&[0.0; 5], 3, 2).unwrap_err().to_string().contains("must hold 6"));
}
