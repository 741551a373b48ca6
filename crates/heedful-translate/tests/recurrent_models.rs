//! The recurrent models as a whole: gradients, single decoding steps against the training pass, and what the attention returns.

use heedful_nn::Workspace;
use heedful_nn::incremental::Imposed;
use heedful_translate::model::config::{Cell, ModelConfig, RnnAttentionConfig, RnnConfig, Score};
use heedful_translate::model::{Model, Regularisation, Shard, Start, build};
use heedful_translate::text::{BOS, EOS};

const VOCABULARY: usize = 11;
const SOURCES: [&[u32]; 3] = [&[4, 7, EOS], &[9, EOS], &[3, 3, 10, 5, EOS]];
const TARGETS: [&[u32]; 3] = [&[6, EOS], &[8, 2, 8, EOS], &[5, 9, EOS]];

fn shard() -> Shard<'static> {
    Shard { sources: SOURCES.to_vec(), targets: TARGETS.to_vec(), guide: None }
}

fn without_attention() -> Vec<ModelConfig> {
    let base = RnnConfig { embedding: 4, hidden: 5, ..RnnConfig::default() };
    [
        RnnConfig { layers: 2, ..base.clone() },
        RnnConfig { cell: Cell::Lstm, layers: 2, reverse_source: false, ..base.clone() },
        RnnConfig { context_everywhere: false, tied: false, ..base },
    ]
    .map(ModelConfig::Rnn)
    .into()
}

fn with_attention() -> Vec<ModelConfig> {
    let base = RnnAttentionConfig { embedding: 4, hidden: 6, ..RnnAttentionConfig::default() };
    [
        RnnAttentionConfig { layers: 2, ..base.clone() },
        RnnAttentionConfig { cell: Cell::Lstm, score: Score::General, tied: false, ..base.clone() },
        RnnAttentionConfig { score: Score::Dot, layers: 2, ..base.clone() },
        RnnAttentionConfig { cell: Cell::Lstm, score: Score::Concat, ..base },
    ]
    .map(ModelConfig::RnnAttention)
    .into()
}

/// Initial weights, moved so that no bias is zero.
fn model(config: &ModelConfig) -> Box<dyn Model> {
    let mut model = build(config, VOCABULARY, Start::Random(5));
    for (i, value) in model.parameters_mut().values_mut().iter_mut().enumerate() {
        *value += ((i * 7919 % 101) as f32 / 50.0 - 1.0) * 0.3;
    }
    model
}

#[test]
fn gradients_are_the_finite_differences_with_dropout_and_smoothing() {
    const STEP: f32 = 1e-2;
    let how = Regularisation { dropout: 0.3, label_smoothing: 0.1, randomness: 17 };
    for config in without_attention().into_iter().chain(with_attention()) {
        let mut model = model(&config);
        let mut workspace = Workspace::new();
        let mut gradients = model.parameters().gradients();
        model.train_step(&shard(), how, &mut gradients, &mut workspace);
        let mut ignored = model.parameters().gradients();
        for i in 0..gradients.values().len() {
            let value = model.parameters().values()[i];
            let [plus, minus] = [value + STEP, value - STEP].map(|moved| {
                model.parameters_mut().values_mut()[i] = moved;
                model.train_step(&shard(), how, &mut ignored, &mut workspace).objective
            });
            model.parameters_mut().values_mut()[i] = value;
            let (analytic, numeric) = (f64::from(gradients.values()[i]), (plus - minus) / f64::from(2.0 * STEP));
            let error = (analytic - numeric).abs();
            assert!(error < 5e-3 + 1e-2 * numeric.abs(), "{config:?}, parameter {i}: backward {analytic}, quotient {numeric}");
        }
    }
}

/// The negative log-likelihood of `TARGETS`, one token of every sentence at a time; sentences that end leave by `select`.
fn stepwise_nll(model: &dyn Model, mut look: impl FnMut(usize, &[f32])) -> f64 {
    let mut decoder = model.decoder(&SOURCES);
    let mut rows: Vec<usize> = (0..SOURCES.len()).collect();
    let mut nll = 0.0;
    for t in 0.. {
        let kept: Vec<usize> = (0..rows.len()).filter(|&i| t < TARGETS[rows[i]].len()).collect();
        if kept.is_empty() {
            break;
        }
        decoder.select(&kept);
        rows = kept.iter().map(|&i| rows[i]).collect();
        assert_eq!(decoder.rows(), rows.len());
        let tokens: Vec<u32> = rows.iter().map(|&row| if t == 0 { BOS } else { TARGETS[row][t - 1] }).collect();
        let scores = decoder.step(&tokens).to_vec();
        for (i, (scores, &row)) in scores.chunks(VOCABULARY).zip(&rows).enumerate() {
            let log_sum = scores.iter().map(|&s| f64::from(s).exp()).sum::<f64>().ln();
            nll += log_sum - f64::from(scores[TARGETS[row][t] as usize]);
            look(row, decoder.attention(i));
        }
    }
    nll
}

#[test]
fn single_steps_give_the_training_loss() {
    for config in without_attention().into_iter().chain(with_attention()) {
        let model = model(&config);
        let loss = model.loss(&shard(), &mut Workspace::new());
        let nll = stepwise_nll(&*model, |_, _| ());
        assert_eq!(loss.tokens, 9);
        assert!((loss.nll - nll).abs() < 1e-4, "{config:?}: {} in training, {nll} step by step", loss.nll);
        let plain = Regularisation { dropout: 0.0, label_smoothing: 0.0, randomness: 1 };
        let trained = model.train_step(&shard(), plain, &mut model.parameters().gradients(), &mut Workspace::new());
        assert!((loss.nll - trained.objective).abs() < 1e-5);
    }
}

#[test]
fn attention_covers_the_own_source_and_sums_to_one() {
    for config in with_attention() {
        let mut looks = 0;
        stepwise_nll(&*model(&config), |row, attention| {
            assert_eq!(attention.len(), SOURCES[row].len());
            assert!((attention.iter().sum::<f32>() - 1.0).abs() < 1e-5 && attention.iter().all(|&a| a > 0.0));
            looks += 1;
        });
        assert_eq!(looks, 9);
    }
    for config in without_attention() {
        assert!(model(&config).cross_attention().is_none());
        stepwise_nll(&*model(&config), |_, attention| assert!(attention.is_empty()));
    }
}

/// What is imposed on one row changes that row alone, at that step alone.
#[test]
fn a_step_looks_where_it_is_told() {
    for config in with_attention() {
        let model = model(&config);
        let (mut free, mut told) = (model.decoder(&SOURCES), model.decoder(&SOURCES));
        told.impose(Imposed { row: 2, source: 3..4, bias: 60.0 });
        let scores = [free.step(&[BOS; 3]).to_vec(), told.step(&[BOS; 3]).to_vec()];
        assert_eq!(scores[0][..2 * VOCABULARY], scores[1][..2 * VOCABULARY], "{config:?}");
        assert_ne!(scores[0][2 * VOCABULARY..], scores[1][2 * VOCABULARY..], "{config:?}");
        assert_eq!(free.attention(1), told.attention(1));
        assert!(told.attention(2)[3] > 0.9999, "{config:?}: {:?}", told.attention(2));
        told.step(&[4; 3]);
        assert!(told.attention(2)[3] < 0.99, "{config:?}: the step after is free");
    }
}

/// Two copies of a row continue independently: what a beam does.
#[test]
fn rows_can_fork() {
    for config in without_attention().into_iter().chain(with_attention()) {
        let model = model(&config);
        let [a, b] = [4, 9].map(|token| {
            let mut alone = model.decoder(&SOURCES[..1]);
            alone.step(&[BOS]);
            alone.step(&[token]).to_vec()
        });
        let mut decoder = model.decoder(&SOURCES[..1]);
        decoder.step(&[BOS]);
        decoder.select(&[0, 0]);
        let both = decoder.step(&[4, 9]);
        assert!(both.iter().zip(a.iter().chain(&b)).all(|(x, y)| (x - y).abs() < 1e-5), "{config:?}");
    }
}
