//! Word links that guide the attention of a run: from a file, line for line with the training text, to tokens.

use std::collections::HashMap;
use std::path::Path;

use super::TrainError;
use crate::corpus::{EncodedPair, Pair, open_lines};
use crate::decode::Reading;
use crate::evaluate::parse_links;
use crate::text::{Tokenizer, normalise};

/// The links of each pair, `[source word, target word]`, by the line of the pair. Possible links (`ipj`) are left out.
pub(super) fn read_links(path: &Path, pairs: &[Pair]) -> Result<HashMap<u64, Vec<[u32; 2]>>, TrainError> {
    let wrong = |line: u64, what: String| TrainError::Links { path: path.to_owned(), line, what };
    let by_line: HashMap<u64, &Pair> = pairs.iter().map(|pair| (pair.line, pair)).collect();
    let mut links = HashMap::new();
    let mut last = 0;
    for line in open_lines(path)? {
        let line = line?;
        last = line.number;
        let Some(pair) = by_line.get(&line.number) else { continue };
        let text = line.text.map_err(|_| wrong(last, "is not a line of text".to_owned()))?;
        let (sure, _) = parse_links(&text, false).map_err(|error| wrong(last, error.to_string()))?;
        let [source, target] = [&pair.source, &pair.target].map(|side| places(side));
        let place = |link: (usize, usize)| match (source.get(link.0), target.get(link.1)) {
            (Some(&source), Some(&target)) => Ok(source.zip(target).map(|(source, target)| [source, target])),
            _ => Err(wrong(last, format!("links {}-{}, but the pair has {} and {} words", link.0, link.1, source.len(), target.len()))),
        };
        let found = sure.into_iter().filter_map(|link| place(link).transpose()).collect::<Result<Vec<_>, _>>()?;
        links.insert(line.number, found);
    }
    match pairs.iter().find(|pair| pair.line > last) {
        Some(pair) => Err(wrong(last, format!("is the last, but the training text goes on to line {}", pair.line))),
        None => Ok(links),
    }
}

/// The place of each word among those that normalisation leaves, if it is one.
fn places(text: &str) -> Vec<Option<u32>> {
    let mut next = 0;
    let place = |word: &str| {
        let there = !normalise(word).is_empty();
        next += u32::from(there);
        there.then(|| next - 1)
    };
    text.split_whitespace().map(place).collect()
}

/// What of the attention is guided, and how much it counts.
#[derive(Clone, Debug, PartialEq)]
pub struct GuideOptions {
    /// Which attention.
    pub reading: Reading,
    /// What the cross-entropy is multiplied with.
    pub weight: f32,
    /// Whether each token of the vocabulary starts a word.
    starts_word: Vec<bool>,
}

impl GuideOptions {
    /// For pairs that `tokenizer` encodes.
    pub fn new(reading: Reading, weight: f32, tokenizer: &Tokenizer) -> Self {
        let starts_word = (0..tokenizer.vocabulary_size() as u32).map(|id| tokenizer.starts_word(id)).collect();
        Self { reading, weight, starts_word }
    }

    /// `[target token, source token]` for the tokens of linked words; those of a word without a link belong to the source's end of sentence, which
    /// is no word's. A pair without any link is free.
    pub(super) fn token_links(&self, pair: &EncodedPair) -> Vec<[u32; 2]> {
        if pair.links.is_empty() {
            return Vec::new();
        }
        let [source, target] = [&pair.source, &pair.target].map(|side| self.words(side));
        let mut links = Vec::new();
        for (word, tokens) in target.iter().enumerate() {
            let linked: Vec<u32> = pair.links.iter().filter(|link| link[1] as usize == word).map(|link| link[0]).collect();
            for token in tokens.clone() {
                if linked.is_empty() {
                    links.push([token, pair.source.len() as u32 - 1]);
                }
                for sources in linked.iter().filter_map(|&word| source.get(word as usize)) {
                    links.extend(sources.clone().map(|source| [token, source]));
                }
            }
        }
        links
    }

    /// The tokens of each word; the end of sentence is no word's.
    fn words(&self, ids: &[u32]) -> Vec<std::ops::Range<u32>> {
        let end = ids.len() as u32 - 1;
        let starts = || (0..end).filter(|&at| self.starts_word[ids[at as usize] as usize]);
        starts().zip(starts().skip(1).chain(std::iter::once(end))).map(|(from, to)| from..to).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::{Report, encode};

    #[test]
    fn links_follow_words_however_they_are_cut_and_joined() {
        let pair = |line, source: &str, target: &str| Pair { line, source: source.into(), target: target.into() };
        let pairs = [pair(1, "das Haus \u{200b} brennt.", "burning , the house"), pair(3, "ja", "oh yes")];
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("links");
        std::fs::write(&path, "0-2 1-3 3-0 2-1\n9-9\n0-1\n").expect("writable");
        let links = read_links(&path, &pairs).expect("links");
        // The third word of the source is nothing but a zero-width space.
        assert_eq!(links[&1], [[0, 2], [1, 3], [2, 0]]);

        let tokenizer = Tokenizer::learn(&["das Haus brennt. burning , the house ja oh yes"; 3], 300).expect("a tokenizer");
        let guide = GuideOptions::new(Reading::LAST, 1.0, &tokenizer);
        let mut encoded = encode(&pairs, &tokenizer, 200, &mut Report::default());
        for pair in &mut encoded {
            pair.links.clone_from(&links[&pair.line]);
        }
        for bpe_dropout in [0.0, 0.4, 1.0] {
            let augmentation = crate::corpus::Augmentation { concatenate: 1.0, bpe_dropout, longest: 200 };
            for pair in augmentation.epoch(&encoded, &tokenizer, &[5]) {
                let text = |word: &std::ops::Range<u32>, ids: &[u32]| tokenizer.decode(&ids[word.start as usize..word.end as usize]);
                let links = guide.token_links(&pair);
                for target in guide.words(&pair.target) {
                    let expected = match text(&target, &pair.target).as_str() {
                        "burning" => "brennt.",
                        "the" => "das",
                        "house" => "Haus",
                        "yes" => "ja",
                        _ => "",
                    };
                    for token in target {
                        let sources: Vec<u32> =
                            links.iter().filter(|link| link[0] == token).map(|link| pair.source[link[1] as usize]).collect();
                        assert_eq!(tokenizer.decode(&sources), expected);
                        assert!(!sources.is_empty());
                    }
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let pairs = [Pair { line: 2, source: "a b".into(), target: "c".into() }];
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("links");
        for (text, message) in [
            ("\n0-0 1-1\n", "line 2 links 1-1, but the pair has 2 and 1 words"),
            ("\n0:0\n", "0:0"),
            ("0-0\n", "line 1 is the last, but the training text goes on to line 2"),
        ] {
            std::fs::write(&path, text).expect("writable");
            let error = read_links(&path, &pairs).expect_err(text).to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
