use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// All ways in which the words of a text can come from source words, `0` being none, with their probabilities; not normalised.
fn every_alignment(text: &Text<'_>, lexicon: &Lexicon, jumps: &[f64], no_source: f64) -> Vec<(Vec<usize>, f64)> {
    let words = text.source.len();
    let start = (Vec::new(), 1.0, 0);
    let mut all = vec![start];
    for &target in text.target {
        all = all
            .into_iter()
            .flat_map(|(alignment, probability, last)| {
                let next = |word: usize| {
                    let source = if word == 0 { NO_WORD } else { text.source[word - 1] };
                    let emission = lexicon.probability(lexicon.place(source, target));
                    let sum: f64 = (1..=words).map(|to| jumps[100 + to - last]).sum();
                    let step = if word == 0 { no_source } else { (1.0 - no_source) * jumps[100 + word - last] / sum };
                    let longer = alignment.iter().copied().chain([word]).collect();
                    (longer, probability * step * emission, if word == 0 { last } else { word })
                };
                (0..=words).map(next).collect::<Vec<_>>()
            })
            .collect();
    }
    all.into_iter().map(|(alignment, probability, _)| (alignment, probability)).collect()
}

#[test]
fn posteriors_are_those_of_all_alignments() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..30 {
        let mut words =
            |most: usize, of: u32| (0..random.random_range(1..=most)).map(|_| random.random_range(1..=of)).collect::<Vec<u32>>();
        let (source, target) = (words(3, 4), words(4, 5));
        let text = Text::new(&source, &target);
        let lexicon = Lexicon::new(&[text], 5);
        let lexicon = lexicon.with_counts(&(0..lexicon.len()).map(|_| random.random_range(0.1..1.0)).collect::<Vec<f64>>());
        let counts: Vec<f64> = (0..201).map(|_| random.random_range(0.1..1.0)).collect();
        let found = Jumps::Seen(counts.clone()).posteriors(&text, &lexicon, 0.3);

        let all = every_alignment(&text, &lexicon, &counts, 0.3);
        let whole: f64 = all.iter().map(|(_, probability)| probability).sum();
        let mut expected = vec![0.0; lexicon.len()];
        let mut jumps = vec![0.0; 201];
        for (alignment, probability) in &all {
            let mut last = 0;
            for (&word, &target) in alignment.iter().zip(&target) {
                let source = if word == 0 { NO_WORD } else { source[word - 1] };
                expected[lexicon.place(source, target)] += probability / whole;
                if word > 0 {
                    jumps[100 + word - last] += probability / whole;
                    last = word;
                }
            }
        }
        let mut seen = vec![0.0; lexicon.len()];
        found.add_to(&mut seen);
        for (found, expected) in seen.iter().zip(&expected).chain(found.jumps.iter().zip(&jumps)) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }
}

/// Sentences of which the target says each source word in its order, some of them not at all, with particles that come from none.
fn language(pairs: usize) -> (Vec<(String, String)>, Vec<Links>) {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let pair = |_| {
        let words: Vec<u32> = (0..random.random_range(4..9)).map(|_| random.random_range(0..60)).collect();
        let (mut target, mut links) = (Vec::new(), Links::new());
        for source in (0..words.len()).filter(|&source| words[source] >= 5) {
            links.insert((source, target.len()));
            target.push(format!("T{}", words[source]));
            if random.random_bool(0.2) {
                target.push("of".to_owned());
            }
        }
        let source: Vec<String> = words.iter().map(|word| format!("s{word}")).collect();
        ((source.join(" "), target.join(" ")), links)
    };
    (0..pairs).map(pair).unzip()
}

#[test]
fn a_language_is_learnt_from_its_text() {
    let (pairs, expected) = language(1500);
    let mut told = Vec::new();
    let found = align_words(&pairs, &AlignerOptions::default(), |round, of| told.push((round, of)));
    assert_eq!(told, (0..=10).map(|round| (round, 10)).collect::<Vec<_>>());
    let sum = |count: &dyn Fn(usize) -> usize| (0..pairs.len()).map(count).sum::<usize>() as f64;
    let right = sum(&|pair| found[pair].intersection(&expected[pair]).count());
    let (precision, recall) = (right / sum(&|pair| found[pair].len()), right / sum(&|pair| expected[pair].len()));
    assert!(precision > 0.97 && recall > 0.97, "{precision} {recall}");

    let threads = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads");
    assert_eq!(threads.install(|| align_words(&pairs, &AlignerOptions::default(), |_, _| ())), found);

    // Jumps carry what words alone do not tell: which of two equal words it is.
    let lexical = AlignerOptions { lexical_rounds: 10, jump_rounds: 0, ..AlignerOptions::default() };
    let twice = (0..pairs.len()).filter(|&pair| {
        let words: Vec<&str> = pairs[pair].0.split(' ').collect();
        words.iter().enumerate().any(|(at, word)| words[..at].contains(word))
    });
    let by_words = align_words(&pairs, &lexical, |_, _| ());
    let all_right = |found: &[Links]| twice.clone().filter(|&pair| found[pair] == expected[pair]).count();
    assert!(all_right(&found) > 2 * all_right(&by_words), "{} {}", all_right(&found), all_right(&by_words));
}

#[test]
fn words_are_what_white_space_separates_and_stems_are_their_beginnings() {
    let pairs = [("Häuser \u{ad} alt", "houses old"), ("häusern", "Houses,"), ("alte", "OLD"), ("", "nothing"), ("nichts", "")];
    let options = AlignerOptions { stem: Some(3), no_source: 0.1, ..AlignerOptions::default() };
    let links: Vec<String> = align_words(&pairs, &options, |_, _| ()).iter().map(crate::evaluate::format_links).collect();
    assert_eq!(links, ["0-0 2-1", "0-0", "0-0", "", ""]);
    assert_eq!(align_words::<&str>(&[], &options, |_, _| ()), []);
}

#[test]
fn pairs_that_are_too_long_get_no_links_and_take_no_time() {
    let long = "word ".repeat(200_000);
    let pairs = [(long.as_str(), long.as_str()), ("word", "word")];
    let found = align_words(&pairs, &AlignerOptions { no_source: 0.1, ..AlignerOptions::default() }, |_, _| ());
    assert_eq!(found, [Links::new(), Links::from([(0, 0)])]);
}
