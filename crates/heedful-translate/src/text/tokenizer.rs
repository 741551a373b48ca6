//! Words to tokens of a vocabulary, and tokens to words.

use std::ops::Range;

use tokenizers::Model;
use tokenizers::models::bpe::{BPE, Vocab};

use super::dropout::Merges;
use super::normalise::normalise_with_origins;
use super::{BOS, EOS, Error, FIRST_BYTE, RESERVED, Result, normalise, words};

/// Longer words are cut, so that the time for a word stays linear in its length.
const LONGEST_PIECE: usize = 64;
/// A longer token is damage or malice: merges could double it each time.
const LONGEST_TOKEN: usize = 4 * (LONGEST_PIECE + 1);

/// A joint vocabulary of subwords with byte fallback: nothing is ever unknown.
///
/// A token is a piece of a word; the first token of a word that follows a space, or that starts the text, begins with that space. Each
/// digit is a token of its own. A character outside the vocabulary is spelt as the tokens of its UTF-8 bytes. So for every text,
/// `decode(encode(text)) == normalise(text)`.
#[derive(Clone)]
pub struct Tokenizer {
    alphabet: Vec<char>,
    merge_list: Vec<[u32; 2]>,
    bpe: BPE,
    merges: Merges,
    /// The text of each token, by id.
    tokens: Vec<Token>,
}

#[derive(Clone)]
enum Token {
    Special,
    Byte(u8),
    Text(Box<str>),
}

/// A word of an encoded text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The word, normalised.
    pub text: String,
    /// Where it is in the given text, in bytes.
    pub range: Range<usize>,
}

/// A text as tokens, and which word each of them belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// The tokens, without start and end.
    pub ids: Vec<u32>,
    /// For each token the index of its word; it never decreases, and every word has a token.
    pub word_of: Vec<usize>,
    /// The words and punctuation marks.
    pub words: Vec<Word>,
}

/// A word put together from decoded tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedWord {
    /// The word.
    pub text: String,
    /// The tokens it is made of, as positions in what was decoded.
    pub tokens: Range<usize>,
    /// Whether a space stands before it in the text.
    pub space_before: bool,
}

impl Tokenizer {
    /// Learns from lines of both languages together: see [`learn`](super::learn()).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn learn<S: AsRef<str> + Sync>(lines: &[S], vocabulary_size: usize) -> Result<Self> {
        super::learn(lines, vocabulary_size)
    }

    /// From the characters that have a token (ids from [`RESERVED`] on) and the pairs of tokens that merge, most important first. A merge
    /// makes the next new token, unless its text has one already.
    pub(super) fn new(alphabet: Vec<char>, merge_list: Vec<[u32; 2]>) -> Result<Self> {
        let mut tokens = vec![Token::Special, Token::Special];
        tokens.extend((0..=255).map(Token::Byte));
        tokens.extend(alphabet.iter().map(|c| Token::Text(String::from(*c).into())));
        let mut vocabulary: Vocab = reserved_tokens().chain(alphabet.iter().map(char::to_string)).zip(0..).collect();
        if vocabulary.len() < tokens.len() {
            return Err(Error::Inconsistent("a character occurs twice in its alphabet".into()));
        }

        let mut named_merges = Vec::with_capacity(merge_list.len());
        let mut ranked = Merges::with_capacity(merge_list.len());
        for (rank, &[left, right]) in merge_list.iter().enumerate() {
            let text = |id: u32| match tokens.get(id as usize) {
                Some(Token::Text(text)) => Ok(&**text),
                _ => Err(Error::Inconsistent(format!("merge {rank} joins token {id}, which is no token of text before it"))),
            };
            let (left_text, right_text) = (text(left)?, text(right)?);
            let merged = format!("{left_text}{right_text}");
            if merged.len() > LONGEST_TOKEN {
                return Err(Error::Inconsistent(format!("merge {rank} makes a token of more than {LONGEST_TOKEN} bytes")));
            }
            named_merges.push((left_text.to_owned(), right_text.to_owned()));
            let id = match vocabulary.get(&merged) {
                Some(&id) if (id as usize) < RESERVED => {
                    return Err(Error::Inconsistent(format!("merge {rank} makes the reserved token \"{merged}\"")));
                }
                Some(&id) => id,
                None => {
                    let id = tokens.len() as u32;
                    tokens.push(Token::Text(merged.as_str().into()));
                    vocabulary.insert(merged, id);
                    id
                }
            };
            if ranked.insert([left, right], rank, id) {
                return Err(Error::Inconsistent(format!("merge {rank} occurs twice")));
            }
        }
        let bpe = BPE::builder().vocab_and_merges(vocabulary, named_merges).byte_fallback(true).build().map_err(Error::Bpe)?;
        Ok(Self { alphabet, merge_list, bpe, merges: ranked, tokens })
    }

    pub(super) fn alphabet(&self) -> &[char] {
        &self.alphabet
    }

    pub(super) fn merge_list(&self) -> &[[u32; 2]] {
        &self.merge_list
    }

    /// The number of tokens; ids are `0..vocabulary_size`.
    pub fn vocabulary_size(&self) -> usize {
        self.tokens.len()
    }

    /// A token as people may read it: `▁` for the space before a word, `<0x..>` for a byte.
    ///
    /// `None` if there is no such token.
    pub fn token_text(&self, id: u32) -> Option<String> {
        Some(match (id, self.tokens.get(id as usize)?) {
            (_, Token::Text(text)) => text.replace(' ', "\u{2581}"),
            (_, Token::Byte(byte)) => byte_name(*byte),
            (BOS, Token::Special) => "<s>".into(),
            (_, Token::Special) => "</s>".into(),
        })
    }

    /// How many words there are in tokens, if words are what white space separates.
    pub fn word_count(&self, ids: &[u32]) -> usize {
        ids.iter().filter(|&&id| self.starts_word(id)).count()
    }

    /// Whether a token begins with the space before a word.
    pub fn starts_word(&self, id: u32) -> bool {
        matches!(self.tokens.get(id as usize), Some(Token::Text(text)) if text.starts_with(' '))
    }

    /// The tokens of a text with its words, for whoever looks at alignments.
    pub fn encode(&self, text: &str) -> Encoding {
        let (normal, origins) = normalise_with_origins(text);
        let spaced = format!(" {normal}");
        let mut encoding = Encoding::default();
        for (word, range) in spaced_words(&spaced) {
            for piece in pieces(word) {
                self.push_piece(piece, &mut encoding.ids);
            }
            encoding.word_of.resize(encoding.ids.len(), encoding.words.len());
            let origin = origins[range.start - 1].start..origins[range.end - 2].end;
            encoding.words.push(Word { text: spaced[range].to_owned(), range: origin });
        }
        encoding
    }

    /// The tokens of a text: the `ids` of [`encode`](Self::encode), faster.
    pub fn encode_ids(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 3);
        for (word, _) in spaced_words(&spaced(text)) {
            for piece in pieces(word) {
                self.push_piece(piece, &mut ids);
            }
        }
        ids
    }

    /// The tokens of a text when each merge is left out with a probability (BPE-dropout, Provilkov et al. 2020, section 3): a segmentation
    /// that is a pure function of `seed`. At `probability` 0 it is that of [`encode_ids`](Self::encode_ids), at 1 it is the characters.
    pub fn encode_ids_with_dropout(&self, text: &str, probability: f32, seed: u64) -> Vec<u32> {
        if probability <= 0.0 {
            return self.encode_ids(text);
        }
        let mut ids = Vec::with_capacity(text.len() / 2);
        let mut single = [0; 4];
        for (word, _) in spaced_words(&spaced(text)) {
            for piece in pieces(word) {
                let start = ids.len();
                for c in piece.chars() {
                    match self.alphabet.binary_search(&c) {
                        Ok(index) => ids.push((RESERVED + index) as u32),
                        Err(_) => ids.extend(c.encode_utf8(&mut single).bytes().map(|byte| FIRST_BYTE + u32::from(byte))),
                    }
                }
                self.merges.apply(&mut ids, start, probability, seed);
            }
        }
        ids
    }

    fn push_piece(&self, piece: &str, ids: &mut Vec<u32>) {
        // With all bytes in the vocabulary, the crate has no failing path.
        ids.extend(self.bpe.tokenize(piece).into_iter().flatten().map(|token| token.id));
    }

    /// The text of tokens. Start, end and unknown ids are left out; bytes that are no UTF-8 become U+FFFD, and
    /// control characters spaces, which normalised text has none of.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.assemble(ids).0.trim_matches(' ').to_owned()
    }

    /// The words of decoded tokens, each with its tokens.
    ///
    /// Words are never split inside a token; the tokens of start and end belong to none.
    pub fn decode_words(&self, ids: &[u32]) -> Vec<DecodedWord> {
        let (text, token_of) = self.assemble(ids);
        let mut decoded: Vec<DecodedWord> = Vec::new();
        let mut previous_end = 0;
        for range in words(&text) {
            // The space, or spaces, before a word are made by its own tokens.
            let first = token_of[previous_end];
            let last = token_of[range.end - 1];
            let space_before = previous_end < range.start && previous_end > 0;
            previous_end = range.end;
            match decoded.last_mut() {
                Some(word) if word.tokens.end > first => {
                    if space_before {
                        word.text.push(' ');
                    }
                    word.text.push_str(&text[range]);
                    word.tokens.end = last + 1;
                }
                _ => decoded.push(DecodedWord { text: text[range].to_owned(), tokens: first..last + 1, space_before }),
            }
        }
        decoded
    }

    /// The text of tokens as it stands, and for each of its bytes the token that it comes from.
    fn assemble(&self, ids: &[u32]) -> (String, Vec<usize>) {
        let mut bytes = Vec::new();
        let mut token_of = Vec::new();
        for (position, &id) in ids.iter().enumerate() {
            match self.tokens.get(id as usize) {
                Some(Token::Text(text)) => bytes.extend_from_slice(text.as_bytes()),
                // A line stays a line, and nothing speaks to a terminal.
                Some(Token::Byte(byte)) => bytes.push(if byte.is_ascii_control() { b' ' } else { *byte }),
                Some(Token::Special) | None => {}
            }
            token_of.resize(bytes.len(), position);
        }
        if let Ok(text) = str::from_utf8(&bytes) {
            return (text.to_owned(), token_of);
        }
        let mut text = String::new();
        let mut repaired = Vec::new();
        let mut at = 0;
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            repaired.extend_from_slice(&token_of[at..at + chunk.valid().len()]);
            at += chunk.valid().len();
            if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
                repaired.resize(text.len(), token_of[at]);
                at += chunk.invalid().len();
            }
        }
        (text, repaired)
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("vocabulary_size", &self.vocabulary_size()).finish_non_exhaustive()
    }
}

impl PartialEq for Tokenizer {
    fn eq(&self, other: &Self) -> bool {
        self.alphabet == other.alphabet && self.merge_list == other.merge_list
    }
}

/// The names of the tokens that stand for no character, by id. No word of a text can be spelt like one of them: `<` is a word of its own.
pub(super) fn reserved_tokens() -> impl Iterator<Item = String> {
    debug_assert_eq!((BOS, EOS, FIRST_BYTE), (0, 1, 2));
    ["<s>".to_owned(), "</s>".to_owned()].into_iter().chain((0..=255).map(byte_name))
}

/// The name that the `tokenizers` crate looks bytes up by.
fn byte_name(byte: u8) -> String {
    format!("<0x{byte:02X}>")
}

/// The words of a normalised text that a space was put before: each with the space that precedes it, if any, and the range without it.
pub(super) fn spaced_words(spaced: &str) -> impl Iterator<Item = (&str, Range<usize>)> {
    words(spaced).into_iter().map(move |range| {
        let space = usize::from(spaced[..range.start].ends_with(' '));
        (&spaced[range.start - space..range.end], range)
    })
}

/// A normalised text with a space before it, so that its first word is spelt like any other.
pub(super) fn spaced(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len() + 1);
    spaced.push(' ');
    spaced.push_str(&normalise(text));
    spaced
}

/// What of a word may merge: everything but digits, each of which stays alone, and at most [`LONGEST_PIECE`] characters.
pub(super) fn pieces(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = rest.len();
        for (count, (at, c)) in rest.char_indices().enumerate() {
            if c.is_numeric() || count == LONGEST_PIECE {
                // A digit keeps the space before it.
                end = if count == LONGEST_PIECE || !rest[..at].trim_start_matches(' ').is_empty() { at } else { at + c.len_utf8() };
                break;
            }
        }
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests;
