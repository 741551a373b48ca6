//! The training pairs of an epoch: the same sentences, joined and segmented anew each time.

use rayon::prelude::*;

use super::EncodedPair;
use crate::random::{below, mix, unit};
use crate::text::{EOS, Tokenizer};

/// A pair has at most this many sentences in a row.
const MOST_SENTENCES: u64 = 3;

/// What is done to the training pairs anew in each epoch. At its default, nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Augmentation {
    /// The probability that a pair is followed by another pair, drawn at random: source behind source and target behind target, with a space
    /// between. A joined pair gets a third with the same probability. Whoever has seen single sentences only stops after the first.
    pub concatenate: f32,
    /// The probability with which a merge is left out when a sentence is segmented, on both sides: BPE-dropout, Provilkov et al. 2020,
    /// section 3. So a model sees words cut in several ways, and what they are made of.
    pub bpe_dropout: f32,
    /// The most tokens of a side, the end of sentence included. What would be longer is not joined, and not segmented anew.
    pub longest: usize,
}

impl Augmentation {
    /// Whether the pairs stay as they are.
    pub fn is_off(&self) -> bool {
        self.concatenate <= 0.0 && self.bpe_dropout <= 0.0
    }

    /// The pairs of an epoch, as many as `pairs`, on all cores. Each is a pure function of `seed` (of any length, such as `[seed, epoch]`), of
    /// its index and of the pairs.
    pub fn epoch(&self, pairs: &[EncodedPair], tokenizer: &Tokenizer, seed: &[u64]) -> Vec<EncodedPair> {
        let key = mix(seed);
        (0..pairs.len()).into_par_iter().map(|index| self.pair(index, pairs, tokenizer, mix(&[key, index as u64]))).collect()
    }

    fn pair(&self, index: usize, pairs: &[EncodedPair], tokenizer: &Tokenizer, key: u64) -> EncodedPair {
        let mut joined = self.segmented(&pairs[index], tokenizer, mix(&[key, 0]));
        for more in 1..MOST_SENTENCES {
            let draw = |what: u64| mix(&[key, more, what]);
            if pairs.len() < 2 || unit(draw(0)) >= f64::from(self.concatenate) {
                break;
            }
            // Any other pair than this one.
            let other = (index + 1 + below(draw(1), pairs.len() - 1)) % pairs.len();
            let next = self.segmented(&pairs[other], tokenizer, draw(2));
            // A pair without links is free to look anywhere; joined with one that is guided, its words would count as linked to none.
            if joined.links.is_empty() != next.links.is_empty() {
                break;
            }
            // Two ends of sentence become one.
            let fits = |one: &[u32], other: &[u32]| one.len() + other.len() - 1 <= self.longest;
            if !fits(&joined.source, &next.source) || !fits(&joined.target, &next.target) {
                break;
            }
            if !next.links.is_empty() {
                let [sources, targets] = [&joined.source, &joined.target].map(|side| tokenizer.word_count(side) as u32);
                joined.links.extend(next.links.iter().map(|[source, target]| [source + sources, target + targets]));
            }
            for (side, next) in [(&mut joined.source, next.source), (&mut joined.target, next.target)] {
                side.pop();
                side.extend(next);
            }
        }
        joined
    }

    fn segmented(&self, pair: &EncodedPair, tokenizer: &Tokenizer, key: u64) -> EncodedPair {
        if self.bpe_dropout <= 0.0 {
            return pair.clone();
        }
        let side = |ids: &[u32], which: u64| {
            let mut segmented = tokenizer.encode_ids_with_dropout(&tokenizer.decode(ids), self.bpe_dropout, mix(&[key, which]));
            segmented.push(EOS);
            if segmented.len() <= self.longest { segmented } else { ids.to_vec() }
        };
        EncodedPair { line: pair.line, source: side(&pair.source, 0), target: side(&pair.target, 1), links: pair.links.clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::corpus::{Pair, Report, encode};

    const WORDS: [&str; 8] = ["lohnen", "Arbeiterin", "heute", "niemals", "Arbeit", "lehrreich", "unten", "Haus"];

    /// 600 pairs whose target tells the source, and their tokenizer.
    fn corpus() -> (Vec<EncodedPair>, Tokenizer) {
        let word = |i: u64| WORDS[(mix(&[i]) % 8) as usize];
        let pairs: Vec<Pair> = (0..600u64)
            .map(|i| Pair {
                line: i + 1,
                source: format!("{} {} {i}.", word(i), word(i + 1000)),
                target: format!("{} {} {i}!", word(i + 1000), word(i)),
            })
            .collect();
        let lines: Vec<&str> = pairs.iter().flat_map(|pair| [pair.source.as_str(), pair.target.as_str()]).collect();
        let tokenizer = Tokenizer::learn(&lines, 340).expect("a tokenizer");
        (encode(&pairs, &tokenizer, 100, &mut Report::default()), tokenizer)
    }

    fn texts(pairs: &[EncodedPair], tokenizer: &Tokenizer) -> Vec<[String; 2]> {
        pairs.iter().map(|pair| [&pair.source, &pair.target].map(|side| tokenizer.decode(side))).collect()
    }

    #[test]
    fn a_pair_without_links_is_not_joined_with_one_that_is_guided() {
        let (mut pairs, tokenizer) = corpus();
        let words = |pair: &EncodedPair| tokenizer.word_count(&pair.target);
        pairs.iter_mut().step_by(2).for_each(|pair| pair.links = vec![[0, 0]]);
        let augmentation = Augmentation { concatenate: 0.5, bpe_dropout: 0.0, longest: 100 };
        let joined = augmentation.epoch(&pairs, &tokenizer, &[7]);
        assert!(joined.iter().zip(&pairs).filter(|(joined, pair)| words(joined) > words(pair)).count() > 100);
        for (joined, pair) in joined.iter().zip(&pairs) {
            let sentences = words(joined) / words(pair);
            assert_eq!(joined.links.len(), if pair.links.is_empty() { 0 } else { sentences });
        }
    }

    #[test]
    fn joined_pairs_are_real_ones_in_the_asked_share() {
        let (pairs, tokenizer) = corpus();
        let plain = texts(&pairs, &tokenizer);
        let index: HashMap<&str, usize> = plain.iter().enumerate().map(|(i, [source, _])| (source.as_str(), i)).collect();
        let augmentation = Augmentation { concatenate: 0.3, bpe_dropout: 0.2, longest: 100 };
        let mut counts = [0; 4];
        for epoch in 0..10 {
            let augmented = augmentation.epoch(&pairs, &tokenizer, &[7, epoch]);
            for (i, [source, target]) in texts(&augmented, &tokenizer).iter().enumerate() {
                let sentences: Vec<usize> = source.split_inclusive('.').map(|sentence| index[sentence.trim_start()]).collect();
                assert_eq!(sentences[0], i);
                assert!(sentences[1..].iter().all(|&other| other != i));
                let translated: Vec<&str> = sentences.iter().map(|&j| plain[j][1].as_str()).collect();
                assert_eq!(*target, translated.join(" "));
                counts[sentences.len()] += 1;
                for side in [&augmented[i].source, &augmented[i].target] {
                    assert_eq!(side.iter().position(|&id| id == EOS), Some(side.len() - 1), "one end of sentence, at the end");
                }
            }
        }
        let share = |count: u32| f64::from(count) / 6000.0;
        // Six standard deviations of 6000 draws.
        assert!((share(counts[2] + counts[3]) - 0.3).abs() < 0.036, "{counts:?}");
        assert!((share(counts[3]) - 0.09).abs() < 0.022, "{counts:?}");
    }

    #[test]
    fn words_are_cut_anew_and_stay_the_same_words() {
        let (pairs, tokenizer) = corpus();
        let tokens = |pairs: &[EncodedPair]| pairs.iter().map(|pair| pair.source.len() + pair.target.len()).sum::<usize>();
        let at = |bpe_dropout| Augmentation { concatenate: 0.0, bpe_dropout, longest: 100 };
        let mut previous = tokens(&pairs);
        for probability in [0.05, 0.1, 0.3, 0.9] {
            let augmented = at(probability).epoch(&pairs, &tokenizer, &[1, 0]);
            assert_eq!(texts(&augmented, &tokenizer), texts(&pairs, &tokenizer));
            assert_ne!(augmented, at(probability).epoch(&pairs, &tokenizer, &[1, 1]));
            assert!(tokens(&augmented) > previous, "more merges dropped, more tokens");
            previous = tokens(&augmented);
        }
        let characters: usize = texts(&pairs, &tokenizer).iter().flatten().map(|text| text.chars().count() + 2).sum();
        assert_eq!(tokens(&at(1.0).epoch(&pairs, &tokenizer, &[1, 0])), characters, "the space before, each character, the end");
        assert_eq!(at(0.0).epoch(&pairs, &tokenizer, &[1, 0]), pairs);
        assert!(at(0.0).is_off());
    }

    #[test]
    fn an_epoch_depends_on_seed_epoch_and_index_only() {
        let (pairs, tokenizer) = corpus();
        let augmentation = Augmentation { concatenate: 0.5, bpe_dropout: 0.1, longest: 100 };
        let epoch = |seed: &[u64]| augmentation.epoch(&pairs, &tokenizer, seed);
        let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
        assert_eq!(epoch(&[3, 4]), single.install(|| epoch(&[3, 4])));
        assert_ne!(epoch(&[3, 4]), epoch(&[3, 5]));
        assert_ne!(epoch(&[3, 4]), epoch(&[4, 4]));
    }

    #[test]
    fn nothing_gets_longer_than_it_may() {
        let (pairs, tokenizer) = corpus();
        let longest = pairs.iter().flat_map(|pair| [pair.source.len(), pair.target.len()]).max().expect("pairs") + 2;
        let augmented = Augmentation { concatenate: 1.0, bpe_dropout: 0.5, longest }.epoch(&pairs, &tokenizer, &[1]);
        assert!(augmented.iter().all(|pair| pair.source.len().max(pair.target.len()) <= longest));
        assert_eq!(texts(&augmented, &tokenizer).len(), pairs.len());
        let one = Augmentation { concatenate: 1.0, bpe_dropout: 0.0, longest: 100 }.epoch(&pairs[..1], &tokenizer, &[1]);
        assert_eq!(one, pairs[..1], "there is no other pair to join");
    }
}
