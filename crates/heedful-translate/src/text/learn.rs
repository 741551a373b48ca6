//! A vocabulary from text.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::Deserialize;
use tokenizers::AddedToken;
use tokenizers::models::bpe::{BPE, BpeTrainer};

use super::tokenizer::{pieces, reserved_tokens, spaced, spaced_words};
use super::{Error, RESERVED, Result, Tokenizer};

/// The largest vocabulary that can be asked for.
const LARGEST: usize = 1 << 20;
/// A character seen less often gets no token of its own: it is spelt in bytes.
const LEAST_SEEN: u64 = 3;

/// Learns byte-pair encoding (Sennrich et al. 2016, section 3.2) from lines of both languages together.
///
/// The vocabulary holds [`BOS`](super::BOS), [`EOS`](super::EOS), the 256 bytes, the characters that occur at least three times (the most
/// frequent ones, up to half of what is left), then the most frequent merges: at most `vocabulary_size` tokens, less if the text is small.
/// Lines are normalised here. The same lines in any order give the same tokenizer.
///
/// # Errors
///
/// [`Error::VocabularySize`], and [`Error::NoText`] if all lines are blank.
pub fn learn<S: AsRef<str> + Sync>(lines: &[S], vocabulary_size: usize) -> Result<Tokenizer> {
    let least = RESERVED + 2;
    if !(least..=LARGEST).contains(&vocabulary_size) {
        return Err(Error::VocabularySize { asked: vocabulary_size, least, most: LARGEST });
    }
    let pieces = count_pieces(lines);
    if pieces.is_empty() {
        return Err(Error::NoText);
    }
    let alphabet = alphabet(&pieces, (vocabulary_size - RESERVED) / 2);

    let mut known: HashMap<&str, u64> = HashMap::new();
    for (piece, count) in &pieces {
        for part in piece.split(|c| alphabet.binary_search(&c).is_err()).filter(|part| !part.is_empty()) {
            *known.entry(part).or_default() += count;
        }
    }

    let mut trainer = BpeTrainer::new(2, vocabulary_size);
    trainer.show_progress = false;
    trainer.special_tokens = reserved_tokens().map(|token| AddedToken::from(token, true)).collect();
    let mut bpe = BPE::default();
    trainer.do_train(&known.into_iter().map(|(piece, count)| (piece.into(), count)).collect(), &mut bpe).map_err(Error::Bpe)?;
    let vocabulary = bpe.get_vocab();
    // The crate shows its merges in its JSON form only.
    let Trained { merges } = serde_json::from_value(serde_json::to_value(&bpe)?)?;
    let merges = merges.iter().map(|(left, right)| [vocabulary[left], vocabulary[right]]).collect();
    // Every character of the alphabet is in a piece that the trainer saw, so that its ids are those that the tokenizer gives.
    Tokenizer::new(alphabet, merges)
}

#[derive(Deserialize)]
struct Trained {
    merges: Vec<(String, String)>,
}

fn count_pieces<S: AsRef<str> + Sync>(lines: &[S]) -> HashMap<String, u64> {
    lines
        .par_iter()
        .fold(HashMap::new, |mut counts: HashMap<String, u64>, line| {
            for (word, _) in spaced_words(&spaced(line.as_ref())) {
                for piece in pieces(word) {
                    match counts.get_mut(piece) {
                        Some(count) => *count += 1,
                        None => {
                            counts.insert(piece.to_owned(), 1);
                        }
                    }
                }
            }
            counts
        })
        .reduce(HashMap::new, |mut counts, more| {
            for (piece, count) in more {
                *counts.entry(piece).or_default() += count;
            }
            counts
        })
}

/// The characters that get a token, sorted.
fn alphabet(pieces: &HashMap<String, u64>, most: usize) -> Vec<char> {
    let mut counts: HashMap<char, u64> = HashMap::new();
    for (piece, count) in pieces {
        for c in piece.chars() {
            *counts.entry(c).or_default() += count;
        }
    }
    // The space that starts a word is always needed: decoding puts words apart by it.
    counts.insert(' ', u64::MAX);
    let mut frequent: Vec<(u64, char)> =
        counts.into_iter().filter(|&(_, count)| count >= LEAST_SEEN).map(|(c, count)| (count, c)).collect();
    frequent.sort_unstable_by_key(|&(count, c)| (std::cmp::Reverse(count), c));
    let mut alphabet: Vec<char> = frequent.into_iter().take(most).map(|(_, c)| c).collect();
    alphabet.sort_unstable();
    alphabet
}
