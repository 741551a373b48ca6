//! All ways of decoding, against models small enough to try every target.

use proptest::prelude::*;

use super::markov::{self, Markov};
use super::*;
use crate::text::{BOS, EOS};

fn options(constant: usize, normalisation: Normalisation) -> SearchOptions<'static> {
    SearchOptions { max_length: MaxLength { factor: 1.0, constant, at_most: 20 }, normalisation, ..SearchOptions::default() }
}

fn normalisations() -> impl Strategy<Value = Normalisation> {
    prop_oneof![Just(Normalisation::None), Just(Normalisation::Average), (0f32..1.5).prop_map(|alpha| Normalisation::Wu { alpha })]
}

/// Seeds, source lengths and prefixes.
fn sentences() -> impl Strategy<Value = Vec<(u64, usize, Vec<u32>)>> {
    let prefix = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(2u32..5, 1..4)];
    prop::collection::vec((0u64..1_000_000, 1usize..4, prefix), 1..6)
}

fn requests(sentences: &[(u64, usize, Vec<u32>)]) -> (Markov, Vec<Request<'_>>) {
    let rows: Vec<(u64, usize)> = sentences.iter().map(|&(seed, len, _)| (seed, len)).collect();
    let requests = sentences
        .iter()
        .map(|(seed, source_len, prefix)| Request { source_len: *source_len, prefix, stream: *seed, ..Request::default() })
        .collect();
    (Markov::new(&rows), requests)
}

/// The tokens that a hypothesis went through, the end of sentence included.
fn all_tokens(hypothesis: &Hypothesis) -> Vec<u32> {
    let mut tokens = hypothesis.tokens.clone();
    tokens.extend(hypothesis.finished.then_some(EOS));
    tokens
}

/// That numbers, attention and limits of a hypothesis are those of its tokens.
fn assert_consistent(hypothesis: &Hypothesis, seed: u64, request: &Request<'_>, options: &SearchOptions<'_>) {
    let tokens = all_tokens(hypothesis);
    assert!(tokens.starts_with(request.prefix));
    assert!(!hypothesis.tokens.contains(&EOS) && !tokens.contains(&BOS));
    assert!(hypothesis.finished || tokens.len() == options.max_length.of(request), "{hypothesis:?}");
    let expected = markov::log_probs(seed, &tokens);
    assert_eq!(hypothesis.log_probs.len(), expected.len());
    for (actual, expected) in hypothesis.log_probs.iter().zip(&expected) {
        assert!((f64::from(*actual) - expected).abs() < 1e-5, "{actual} {expected}");
    }
    let score = options.normalisation.score(expected.iter().sum(), expected.len());
    assert!((hypothesis.score - score).abs() < 1e-4, "{} {score}", hypothesis.score);
    let attention: Vec<f32> = (0..tokens.len()).flat_map(|i| markov::attention(seed, &tokens[..i], request.source_len)).collect();
    assert_eq!(hypothesis.attention, attention);
}

proptest! {
    #[test]
    fn a_wide_beam_finds_what_trying_everything_finds(sentences in sentences(), normalisation in normalisations(), n_best in 1usize..6) {
        let options = options(2, normalisation);
        let (mut decoder, requests) = requests(&sentences);
        let found = beam(&mut decoder, &requests, &Beam { width: 400, n_best }, &options).unwrap();
        for ((hypotheses, request), (seed, ..)) in found.iter().zip(&requests).zip(&sentences) {
            let best = markov::exhaustive(*seed, request, &options);
            prop_assert_eq!(hypotheses.iter().filter(|h| h.finished).count(), n_best.min(best.len()));
            for (hypothesis, (_, score)) in hypotheses.iter().zip(&best) {
                prop_assert!((hypothesis.score - score).abs() < 1e-4, "{} {}", hypothesis.score, score);
                assert_consistent(hypothesis, *seed, request, &options);
            }
        }
    }

    #[test]
    fn stopping_early_changes_nothing_but_the_work(sentences in sentences(), normalisation in normalisations(), width in 1usize..5, n_best in 1usize..4) {
        let options = options(5, normalisation);
        let (mut decoder, requests) = requests(&sentences);
        let mut patient = decoder.clone();
        let found = beam(&mut decoder, &requests, &Beam { width, n_best }, &options).unwrap();
        // More hypotheses than there can be are never all finished, so nothing is out of reach.
        let everything = beam(&mut patient, &requests, &Beam { width, n_best: 1000 }, &options).unwrap();
        for (found, everything) in found.iter().zip(&everything) {
            prop_assert_eq!(&found[..], &everything[..n_best.min(everything.len())]);
        }
        prop_assert!(decoder.work <= patient.work);
    }

    #[test]
    fn the_batch_changes_nothing(sentences in sentences(), normalisation in normalisations(), width in 1usize..5, seed: u64) {
        let options = options(4, normalisation);
        let sampling = Sampling { temperature: 0.8, top_k: 3, top_p: 0.9, seed };
        let how = Beam { width, n_best: 2 };
        let (decoder, requests) = requests(&sentences);
        let beams = beam(&mut decoder.clone(), &requests, &how, &options).unwrap();
        let greedily = greedy(&mut decoder.clone(), &requests, &options).unwrap();
        let samples = sample(&mut decoder.clone(), &requests, &sampling, &options).unwrap();
        for (i, (seed, len, _)) in sentences.iter().enumerate() {
            let (alone, request) = (Markov::new(&[(*seed, *len)]), &requests[i..=i]);
            prop_assert_eq!(&beam(&mut alone.clone(), request, &how, &options).unwrap()[0], &beams[i]);
            prop_assert_eq!(&greedy(&mut alone.clone(), request, &options).unwrap()[0], &greedily[i]);
            prop_assert_eq!(&sample(&mut alone.clone(), request, &sampling, &options).unwrap()[0], &samples[i]);
            assert_consistent(&greedily[i], *seed, &requests[i], &options);
            assert_consistent(&samples[i], *seed, &requests[i], &options);
        }
    }

    #[test]
    fn greedy_takes_the_most_probable_token(sentences in sentences()) {
        let options = options(6, Normalisation::None);
        let (mut decoder, requests) = requests(&sentences);
        for ((hypothesis, request), (seed, ..)) in greedy(&mut decoder, &requests, &options).unwrap().iter().zip(&requests).zip(&sentences) {
            let tokens = all_tokens(hypothesis);
            for i in request.prefix.len()..tokens.len() {
                let scores = markov::scores(*seed, &tokens[..i]);
                let better = |&t: &u32| scores[t as usize] > scores[tokens[i] as usize] || (scores[t as usize] == scores[tokens[i] as usize] && t < tokens[i]);
                prop_assert_eq!((1u32..5).find(better), None);
            }
        }
    }

    #[test]
    fn a_forced_target_gets_the_numbers_of_the_search_that_found_it(sentences in sentences(), width in 1usize..4) {
        let options = options(4, Normalisation::Average);
        let (mut decoder, requests) = requests(&sentences);
        let mut again = decoder.clone();
        let found: Vec<Hypothesis> = beam(&mut decoder, &requests, &Beam { width, n_best: 1 }, &options).unwrap().concat();
        let targets: Vec<Vec<u32>> = found.iter().map(all_tokens).collect();
        // The limit does not hold for a target that is given.
        let short = SearchOptions { max_length: MaxLength { factor: 0.0, constant: 1, ..MaxLength::default() }, ..options };
        let forced: Vec<Request<'_>> = requests.iter().zip(&targets).map(|(request, prefix)| Request { prefix, ..*request }).collect();
        prop_assert_eq!(force(&mut again, &forced, &short).unwrap(), found);
    }

    #[test]
    fn no_ngram_is_repeated(sentences in sentences(), ngram in 1usize..4, width in 1usize..4) {
        let options = SearchOptions { no_repeat_ngram: ngram, ..options(12, Normalisation::Average) };
        let (decoder, requests) = requests(&sentences);
        let beams = beam(&mut decoder.clone(), &requests, &Beam { width, n_best: width }, &options).unwrap().concat();
        let greedily = greedy(&mut decoder.clone(), &requests, &options).unwrap();
        for hypothesis in beams.iter().chain(&greedily) {
            let given = requests.iter().filter(|r| hypothesis.tokens.starts_with(r.prefix)).map(|r| r.prefix.len()).max().unwrap_or(0);
            let windows: Vec<&[u32]> = hypothesis.tokens.windows(ngram).collect();
            for end in given..hypothesis.tokens.len() {
                if let Some(last) = (end + 1).checked_sub(ngram) {
                    prop_assert!(!windows[..last].contains(&windows[last]), "{:?}", hypothesis.tokens);
                }
            }
        }
    }
}

#[test]
fn stopping_early_saves_work() {
    let sentences: Vec<(u64, usize)> = (0..50).map(|seed| (seed, 3)).collect();
    let requests = vec![Request { source_len: 3, ..Request::default() }; sentences.len()];
    let work = |n_best| {
        let mut decoder = Markov::new(&sentences);
        beam(&mut decoder, &requests, &Beam { width: 4, n_best }, &options(30, Normalisation::default())).unwrap();
        decoder.work
    };
    let (early, late) = (work(1), work(1000));
    assert!(early * 2 < late, "{early} {late}");
}

#[test]
fn samples_follow_the_distribution() {
    let draws = 20_000;
    let sentences = vec![(5, 1); draws];
    let requests: Vec<Request<'_>> = (0..draws as u64).map(|stream| Request { source_len: 1, stream, ..Request::default() }).collect();
    let first_tokens = |sampling: Sampling| {
        let one_token =
            SearchOptions { max_length: MaxLength { factor: 0.0, constant: 1, ..MaxLength::default() }, ..options(0, Normalisation::None) };
        let mut counts = [0.0; markov::VOCABULARY];
        for hypothesis in sample(&mut Markov::new(&sentences), &requests, &sampling, &one_token).unwrap() {
            counts[all_tokens(&hypothesis)[0] as usize] += 1.0 / draws as f64;
        }
        counts
    };
    let expected = |temperature: f64, keep: &[usize]| {
        let mut weights = [0.0; markov::VOCABULARY];
        for &token in keep {
            weights[token] = (f64::from(markov::scores(5, &[])[token]) / temperature).exp();
        }
        let sum: f64 = weights.iter().sum();
        weights.map(|w| w / sum)
    };
    let mut ranked = [1, 2, 3, 4];
    ranked.sort_by(|&a, &b| markov::scores(5, &[])[b].total_cmp(&markov::scores(5, &[])[a]).then(a.cmp(&b)));
    let mut held = 0.0;
    let nucleus = 1 + ranked
        .iter()
        .position(|&t| {
            held += expected(1.0, &ranked)[t];
            held >= 0.7
        })
        .unwrap();
    let all = Sampling { seed: 3, ..Sampling::default() };
    for (sampling, expected) in [
        (all, expected(1.0, &ranked)),
        (Sampling { temperature: 2.0, ..all }, expected(2.0, &ranked)),
        (Sampling { top_k: 2, ..all }, expected(1.0, &ranked[..2])),
        (Sampling { top_p: 0.7, ..all }, expected(1.0, &ranked[..nucleus])),
        (Sampling { top_p: 1e-6, ..all }, expected(1.0, &ranked[..1])),
    ] {
        let counts = first_tokens(sampling);
        for (count, expected) in counts.iter().zip(expected) {
            // Three standard deviations of a fraction of 20,000 draws are at most 0.011.
            assert!((count - expected).abs() < 0.011, "{sampling:?}: {counts:?} {expected:?}");
        }
    }
    assert_ne!(first_tokens(all), first_tokens(Sampling { seed: 4, ..all }));
}

#[test]
fn a_hypothesis_that_does_not_end_is_marked() {
    let (seed, limit) = (3, 2);
    let request = [Request { source_len: 1, ..Request::default() }];
    let found =
        beam(&mut Markov::new(&[(seed, 1)]), &request, &Beam { width: 1, n_best: 3 }, &options(limit - 1, Normalisation::None)).unwrap();
    let cut: Vec<&Hypothesis> = found[0].iter().filter(|h| !h.finished).collect();
    assert_eq!(cut.len(), 1);
    assert_eq!((cut[0].tokens.len(), cut[0].log_probs.len()), (limit, limit));
    assert_eq!(found[0].last().map(|h| h.finished), Some(false), "what was cut ranks last");
}

/// A decoder whose scores are always the same.
struct Constant(Vec<f32>);

impl Decoder for Constant {
    fn rows(&self) -> usize {
        1
    }
    fn step(&mut self, _: &[u32]) -> &[f32] {
        &self.0
    }
    fn attention(&self, _: usize) -> &[f32] {
        &[]
    }
    fn select(&mut self, _: &[usize]) {}
}

#[test]
fn what_makes_no_sense_is_an_error() {
    let request = [Request { source_len: 1, ..Request::default() }];
    let usual = SearchOptions::default();
    let row = |bad: f32, place: usize| (0..40).map(|i| if i == place { bad } else { 0.5 }).collect();
    let unusable =
        (0..40).flat_map(|place| [row(f32::NAN, place), row(f32::INFINITY, place)]).chain([vec![f32::NEG_INFINITY; 3], vec![f32::NAN; 3]]);
    for scores in unusable {
        let scores: Vec<f32> = scores;
        let expected = DecodeError::Scores { sentence: 0, step: 0 };
        assert_eq!(greedy(&mut Constant(scores.clone()), &request, &usual).unwrap_err(), expected);
        assert_eq!(beam(&mut Constant(scores.clone()), &request, &Beam::default(), &usual).unwrap_err(), expected);
        assert_eq!(sample(&mut Constant(scores), &request, &Sampling::default(), &usual).unwrap_err(), expected);
    }
    let mut decoder = Constant(vec![0.0, 1.0, 0.5]);
    let unknown = [Request { prefix: &[2, 3], ..request[0] }];
    let expected = DecodeError::Token { sentence: 0, token: 3, vocabulary: 3 };
    assert_eq!(force(&mut decoder, &unknown, &usual).unwrap_err(), expected);
    assert_eq!(beam(&mut decoder, &unknown, &Beam::default(), &usual).unwrap_err(), expected);
    assert_eq!(greedy(&mut decoder, &[], &usual).unwrap_err(), DecodeError::Requests { requests: 0, rows: 1 });
    for wrong in [
        SearchOptions { normalisation: Normalisation::Wu { alpha: -1.0 }, ..usual },
        SearchOptions { max_length: MaxLength { factor: f32::NAN, ..MaxLength::default() }, ..usual },
    ] {
        assert!(matches!(greedy(&mut decoder, &request, &wrong), Err(DecodeError::Option { .. })));
    }
    for how in [Beam { width: 0, n_best: 1 }, Beam { width: 1, n_best: 0 }] {
        assert!(matches!(beam(&mut decoder, &request, &how, &usual), Err(DecodeError::Option { .. })));
    }
    for wrong in [(0.0, 1.0), (f32::NAN, 1.0), (1.0, 0.0), (1.0, 1.5)] {
        let sampling = Sampling { temperature: wrong.0, top_p: wrong.1, ..Sampling::default() };
        assert!(matches!(sample(&mut decoder, &request, &sampling, &usual), Err(DecodeError::Option { .. })));
    }
}

#[test]
fn a_target_to_which_nothing_can_be_added_ends_there() {
    let impossible = f32::NEG_INFINITY;
    let request = [Request { source_len: 1, ..Request::default() }];
    let options = SearchOptions { no_repeat_ngram: 1, ..SearchOptions::default() };
    for hypothesis in [
        greedy(&mut Constant(vec![impossible, impossible, 0.0]), &request, &options).unwrap().remove(0),
        sample(&mut Constant(vec![impossible, impossible, 0.0]), &request, &Sampling::default(), &options).unwrap().remove(0),
        beam(&mut Constant(vec![impossible, impossible, 0.0]), &request, &Beam::default(), &options).unwrap().remove(0).remove(0),
    ] {
        assert_eq!((hypothesis.tokens, hypothesis.finished), (vec![2], false));
    }
}
