//! Translations in the form that the API gives them.

use std::io::{self, Write};

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use heedful_translate::text::{EOS, Encoding, Tokenizer};
use heedful_translate::translator::{Candidate, Sentence};
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use serde_json::{Value, json};

/// An answer as JSON, in which each number has the digits that tell it from its neighbours, and no more.
#[derive(Debug)]
pub struct Json(pub Value);

/// Numbers that come from `f32` are written as such: `0.1`, not `0.10000000149011612`.
struct Short;

impl Formatter for Short {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let single = value as f32;
        if f64::from(single) == value { CompactFormatter.write_f32(writer, single) } else { CompactFormatter.write_f64(writer, value) }
    }
}

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        let mut bytes = Vec::with_capacity(1024);
        match self.0.serialize(&mut Serializer::with_formatter(&mut bytes, Short)) {
            Ok(()) => ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], Body::from(bytes)).into_response(),
            // Writing a value into memory does not fail.
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// Places in a text as JavaScript counts them, for ascending places in bytes.
pub struct Utf16<'a> {
    text: &'a str,
    bytes: usize,
    units: usize,
}

impl<'a> Utf16<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, bytes: 0, units: 0 }
    }

    /// The byte that was asked for last.
    pub fn byte(&self) -> usize {
        self.bytes
    }

    /// The UTF-16 units before a byte, which must not lie before the one asked for last.
    pub fn units(&mut self, byte: usize) -> usize {
        self.units += self.text[self.bytes..byte].encode_utf16().count();
        self.bytes = byte;
        self.units
    }
}

/// A token as the page shows it.
pub fn token(tokenizer: &Tokenizer, id: u32, word: Option<usize>) -> Value {
    json!({ "id": id, "text": tokenizer.token_text(id).unwrap_or_default(), "word": word })
}

/// The tokens of a source, the end of sentence included.
pub fn source_tokens(tokenizer: &Tokenizer, source: &Encoding) -> Vec<Value> {
    let tokens = source.ids.iter().zip(&source.word_of).map(|(&id, &word)| token(tokenizer, id, Some(word)));
    tokens.chain([token(tokenizer, EOS, None)]).collect()
}

/// The tokens of a translation with their probabilities, the end of sentence included.
pub fn target_tokens(tokenizer: &Tokenizer, candidate: &Candidate) -> Vec<Value> {
    let ids = candidate.tokens.iter().copied().chain([EOS]);
    let word_of = |place: usize| candidate.word_tokens.iter().position(|tokens| tokens.contains(&place));
    let one = |((place, id), &log_prob): ((usize, u32), &f32)| {
        let mut value = token(tokenizer, id, word_of(place));
        value["probability"] = json!(log_prob.exp());
        value
    };
    ids.enumerate().zip(&candidate.token_log_probs).map(one).collect()
}

pub fn candidate(tokenizer: &Tokenizer, candidate: &Candidate) -> Value {
    let probabilities: Vec<f32> = candidate.word_log_probs.iter().map(|log_prob| log_prob.exp()).collect();
    json!({
        "text": candidate.text,
        "words": candidate.target_words,
        "probabilities": probabilities,
        "score": candidate.score,
        "log_prob": candidate.log_prob,
        "finished": candidate.finished,
        "tokens": target_tokens(tokenizer, candidate),
        "alignment": candidate.alignment,
    })
}

pub fn sentence(tokenizer: &Tokenizer, text: &str, sentence: &Sentence, utf16: &mut Utf16<'_>) -> Value {
    let source = &text[sentence.range.clone()];
    let candidates: Vec<Value> =
        std::iter::once(&sentence.best).chain(&sentence.alternatives).map(|found| candidate(tokenizer, found)).collect();
    json!({
        "start": utf16.units(sentence.range.start),
        "end": utf16.units(sentence.range.end),
        "source": source,
        "words": sentence.source_words,
        "tokens": source_tokens(tokenizer, &tokenizer.encode(source)),
        "candidates": candidates,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_they_need() {
        let mut bytes = Vec::new();
        let value = json!({ "single": 0.1f32, "double": 0.1, "tiny": f32::MIN_POSITIVE, "whole": 3, "nothing": f32::NAN });
        value.serialize(&mut Serializer::with_formatter(&mut bytes, Short)).unwrap();
        let written = String::from_utf8(bytes).unwrap();
        assert_eq!(written, r#"{"double":0.1,"nothing":null,"single":0.1,"tiny":1.1754944e-38,"whole":3}"#);
    }

    #[test]
    fn places_are_counted_as_javascript_does() {
        let text = "a\u{fc}\u{1f600}b";
        let mut utf16 = Utf16::new(text);
        assert_eq!([0, 1, 3, 7, 8].map(|byte| utf16.units(byte)), [0, 1, 2, 4, 5]);
    }
}
