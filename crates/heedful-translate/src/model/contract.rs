//! What every architecture must keep, as tests that each of them runs.

use heedful_nn::Workspace;
use heedful_nn::incremental::Imposed;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Guided, Model, Regularisation, Shard};
use crate::text::{BOS, EOS};

/// Sentences of several lengths for a vocabulary of at least 12 tokens.
const SOURCES: [&[u32]; 4] = [&[5, 9, 4, EOS], &[7, EOS], &[EOS], &[3, 3, 8, 6, 10, EOS]];
const TARGETS: [&[u32]; 4] = [&[8, 2, EOS], &[11, 5, 5, 4, EOS], &[6, EOS], &[EOS]];

fn shard() -> Shard<'static> {
    Shard { sources: SOURCES.to_vec(), targets: TARGETS.to_vec(), guide: None }
}

/// The backward pass against central differences of the objective, in every tensor.
pub(super) fn gradients_are_the_finite_differences(model: &mut dyn Model) {
    check_gradients(model, &shard());
}

/// The same with a guide; and following its gradient makes the guided reading look where it ought to.
pub(super) fn a_guide_teaches_where_to_look(model: &mut dyn Model, reading: &str) {
    let reading = reading.parse().expect("a reading");
    let links = vec![vec![[0, 2], [0, 3], [1, 0]], vec![[0, 1], [2, 0], [3, 0]], Vec::new(), vec![[0, 5]]];
    let guided = Shard { guide: Some(Guided { reading, weight: 2.0, links }), ..shard() };
    check_gradients(model, &guided);

    let how = Regularisation { dropout: 0.0, label_smoothing: 0.0, randomness: 0 };
    let mut workspace = Workspace::new();
    let mut step = |model: &mut dyn Model| {
        let mut gradients = model.parameters().gradients();
        let loss = model.train_step(&guided, how, &mut gradients, &mut workspace);
        for (value, gradient) in model.parameters_mut().values_mut().iter_mut().zip(gradients.values()) {
            *value -= 0.02 * gradient;
        }
        loss.objective - loss.nll
    };
    let before = step(model);
    let after = (0..150).map(|_| step(model)).last().expect("steps");
    assert!(after < 0.5 * before, "the guide's loss went from {before} to {after} only");
}

fn check_gradients(model: &mut dyn Model, shard: &Shard<'_>) {
    let how = Regularisation { dropout: 0.2, label_smoothing: 0.1, randomness: 5 };
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for value in model.parameters_mut().values_mut() {
        *value += rng.random_range(-0.1..0.1);
    }
    let mut workspace = Workspace::new();
    let mut gradients = model.parameters().gradients();
    let loss = model.train_step(shard, how, &mut gradients, &mut workspace);
    assert_eq!(loss.tokens, 11);
    let mut objective = |model: &dyn Model| model.train_step(shard, how, &mut model.parameters().gradients(), &mut workspace).objective;
    let entries = model.parameters().entries().to_vec();
    for entry in entries {
        for _ in 0..6 {
            let i = rng.random_range(0..entry.parameter.len());
            let value = model.parameters()[entry.parameter][i];
            let step = 1e-3;
            model.parameters_mut()[entry.parameter][i] = value + step;
            let plus = objective(model);
            model.parameters_mut()[entry.parameter][i] = value - step;
            let minus = objective(model);
            model.parameters_mut()[entry.parameter][i] = value;
            let numeric = (plus - minus) / f64::from(2.0 * step);
            let analytic = f64::from(gradients[entry.parameter][i]);
            let error = (analytic - numeric).abs();
            assert!(
                error < 2e-2 + 2e-2 * numeric.abs(),
                "{}[{i}]: backward says {analytic}, the difference quotient {numeric}",
                entry.name
            );
        }
    }
}

/// A step of the decoder scores the next token as training does, in whatever order rows stand, and its attention is a distribution.
pub(super) fn decoder_scores_as_training_does(model: &dyn Model) {
    let mut workspace = Workspace::new();
    for order in [[0, 1, 2, 3], [3, 1, 0, 2]] {
        let mut decoder = model.decoder(&SOURCES);
        decoder.select(&order);
        assert_eq!(decoder.rows(), 4);
        let mut nll = [0.0; 4];
        for t in 0..5 {
            let token = |row: usize| if t == 0 { BOS } else { TARGETS[order[row]].get(t - 1).copied().unwrap_or(EOS) };
            let tokens: Vec<u32> = (0..4).map(token).collect();
            let scores = decoder.step(&tokens).to_vec();
            for (row, scores) in scores.chunks(model.vocabulary()).enumerate() {
                if let Some(&target) = TARGETS[order[row]].get(t) {
                    nll[order[row]] += f64::from(heedful::kernel::slice::log_sum_exp(scores) - scores[target as usize]);
                }
                let attention = decoder.attention(row);
                let source = SOURCES[order[row]].len();
                assert_eq!(attention.len(), model.cross_attention().map_or(0, |shape| shape.layers * shape.heads * source));
                for distribution in attention.chunks(source) {
                    assert!((distribution.iter().sum::<f32>() - 1.0).abs() < 1e-4, "{distribution:?}");
                }
            }
        }
        for i in 0..4 {
            let pair = Shard { sources: vec![SOURCES[i]], targets: vec![TARGETS[i]], guide: None };
            let expected = model.loss(&pair, &mut workspace).nll;
            assert!((nll[i] - expected).abs() < 1e-3, "sentence {i}: {} step by step, {expected} at once", nll[i]);
        }
    }
}

/// A batch costs what its sentences cost one by one.
pub(super) fn a_batch_is_the_sum_of_its_sentences(model: &dyn Model) {
    let mut workspace = Workspace::new();
    let whole = model.loss(&shard(), &mut workspace);
    let each: f64 =
        (0..4).map(|i| model.loss(&Shard { sources: vec![SOURCES[i]], targets: vec![TARGETS[i]], guide: None }, &mut workspace).nll).sum();
    assert_eq!(whole.tokens, 11);
    assert!((whole.nll - each).abs() < 1e-3, "{} at once, {each} one by one", whole.nll);
}

/// A row that is told where to look looks there at its next step, at every layer and head; other rows and later steps do as they would.
pub(super) fn a_step_looks_where_it_is_told(model: &dyn Model) {
    let shape = model.cross_attention().expect("a model with attention");
    let run = |told: bool| {
        let mut decoder = model.decoder(&SOURCES);
        decoder.step(&[BOS; 4]);
        if told {
            decoder.impose(Imposed { row: 3, source: 4..9, bias: 60.0 });
        }
        let mut looks = Vec::new();
        for _ in 0..2 {
            let scores = decoder.step(&[3; 4]).to_vec();
            looks.push((scores, (0..4).map(|row| decoder.attention(row).to_vec()).collect::<Vec<_>>()));
        }
        looks
    };
    let (free, told) = (run(false), run(true));
    let vocabulary = model.vocabulary();
    assert_eq!(free[0].0[..3 * vocabulary], told[0].0[..3 * vocabulary]);
    assert_ne!(free[0].0[3 * vocabulary..], told[0].0[3 * vocabulary..]);
    assert_eq!(free[0].1[..3], told[0].1[..3]);
    assert_eq!(told[0].1[3].len(), shape.layers * shape.heads * 6);
    for distribution in told[0].1[3].chunks(6) {
        assert!((distribution[4..].iter().sum::<f32>() - 1.0).abs() < 1e-4, "{distribution:?}");
    }
    assert!(told[1].1[3].chunks(6).all(|distribution| distribution[4..].iter().sum::<f32>() < 0.99), "the step after is free");
}
