//! What comes out: words with their probabilities and where they came from.

use std::ops::Range;

use serde::Serialize;

use crate::decode::{Alignment, Hypothesis, Reading, ReadingError};
use crate::model::CrossAttention;
use crate::text::{Encoding, Tokenizer};

/// The translation of a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Translation {
    /// The translated sentences, with the line breaks of the source between them.
    pub text: String,
    /// One after the other; lines without a word have none.
    pub sentences: Vec<Sentence>,
}

/// The translations of a sentence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sentence {
    /// Where the source is in the text, in bytes.
    pub range: Range<usize>,
    /// Its words and punctuation marks.
    pub source_words: Vec<String>,
    /// The best translation.
    #[serde(flatten)]
    pub best: Candidate,
    /// The others that were asked for, best first.
    pub alternatives: Vec<Candidate>,
}

/// One translation of a sentence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// The translation.
    pub text: String,
    /// Its words and punctuation marks.
    pub target_words: Vec<String>,
    /// What candidates are ranked by: the log-probability after normalisation for length.
    pub score: f64,
    /// The log-probability (natural logarithm) of all tokens, the end of sentence included.
    pub log_prob: f64,
    /// The log-probability of each word: the sum over its tokens.
    pub word_log_probs: Vec<f32>,
    /// Which source words each target word looked at, if it was asked for and the model has attention.
    pub alignment: Option<Alignment>,
    /// False if the translation was cut at its largest length.
    pub finished: bool,
    /// The tokens, without the end of sentence.
    #[serde(skip)]
    pub tokens: Vec<u32>,
    /// The log-probability of each token, and of the end of sentence if the translation is finished.
    #[serde(skip)]
    pub token_log_probs: Vec<f32>,
    /// The tokens of each word.
    #[serde(skip)]
    pub word_tokens: Vec<Range<usize>>,
}

impl Candidate {
    pub(super) fn new(
        hypothesis: &Hypothesis,
        source: &Encoding,
        tokenizer: &Tokenizer,
        attention: Option<CrossAttention>,
        reading: Reading,
    ) -> Result<Self, ReadingError> {
        let words = tokenizer.decode_words(&hypothesis.tokens);
        let target: Vec<Range<usize>> = words.iter().map(|word| word.tokens.clone()).collect();
        let alignment = match attention {
            Some(model) if !hypothesis.attention.is_empty() => {
                let source_len = source.ids.len() + 1;
                let read = reading.read(&hypothesis.attention, model, source_len)?;
                Some(Alignment::new(&read, source_len, &spans(source), &target))
            }
            _ => None,
        };
        Ok(Self {
            text: tokenizer.decode(&hypothesis.tokens),
            word_log_probs: target.iter().map(|tokens| hypothesis.log_probs[tokens.clone()].iter().sum()).collect(),
            target_words: words.into_iter().map(|word| word.text).collect(),
            score: hypothesis.score,
            log_prob: hypothesis.log_prob(),
            alignment,
            finished: hypothesis.finished,
            tokens: hypothesis.tokens.clone(),
            token_log_probs: hypothesis.log_probs.clone(),
            word_tokens: target,
        })
    }
}

impl Sentence {
    /// # Panics
    /// If there are no candidates.
    pub(super) fn new(range: Range<usize>, source: &Encoding, mut candidates: Vec<Candidate>) -> Self {
        let best = candidates.remove(0);
        Self { range, source_words: source.words.iter().map(|word| word.text.clone()).collect(), best, alternatives: candidates }
    }
}

impl Translation {
    /// Puts the sentences where their sources were: what lies between two sources is kept if it breaks a line, and is a space if not.
    pub(super) fn new(source: &str, sentences: Vec<Sentence>) -> Self {
        let mut text = String::with_capacity(source.len());
        let mut end = 0;
        for sentence in &sentences {
            push_gap(&source[end..sentence.range.start], &mut text);
            text.push_str(&sentence.best.text);
            end = sentence.range.end;
        }
        let rest = &source[end..];
        if rest.contains('\n') {
            push_gap(rest, &mut text);
        }
        Self { text, sentences }
    }
}

fn push_gap(gap: &str, text: &mut String) {
    if gap.contains('\n') {
        text.extend(gap.chars().filter(|&c| c == '\n' || c == '\r'));
    } else if !text.is_empty() && !text.ends_with(['\n', ' ']) {
        text.push(' ');
    }
}

/// The tokens of each word of a source.
pub(super) fn spans(source: &Encoding) -> Vec<Range<usize>> {
    let mut end = 0;
    let span = |tokens: &[usize]| {
        end += tokens.len();
        end - tokens.len()..end
    };
    source.word_of.chunk_by(|a, b| a == b).map(span).collect()
}
