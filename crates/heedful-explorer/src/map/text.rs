//! The text of a map: which words its tokens make, where they are, and where others like them are.

use heedful_translate::text::{EOS, Tokenizer, normalise, words};
use serde_json::{Value, json};

use crate::answer::Utf16;

/// A text as tokens and words.
pub struct Text {
    /// The tokens, the end of the text included.
    pub tokens: Vec<u32>,
    /// For each token but the last its word.
    word_of: Vec<u32>,
    words: Vec<Word>,
    length: u32,
}

struct Word {
    text: String,
    /// In lower case, if that is another text.
    lower: Option<String>,
    first_token: u32,
    /// In the text, in UTF-16 units.
    start: u32,
    end: u32,
}

/// Words that are shown on either side of a place.
const AROUND: usize = 6;

impl Text {
    pub fn new(tokenizer: &Tokenizer, text: &str) -> Self {
        let encoding = tokenizer.encode(text);
        let mut utf16 = Utf16::new(text);
        let mut token = 0;
        let mut words = Vec::with_capacity(encoding.words.len());
        for (i, word) in encoding.words.into_iter().enumerate() {
            let lower = word.text.to_lowercase();
            words.push(Word {
                lower: (lower != word.text).then_some(lower),
                text: word.text,
                first_token: token as u32,
                // A word that decomposed one character begins where its neighbour ends, or before.
                start: utf16.units(word.range.start.max(utf16.byte())) as u32,
                end: utf16.units(word.range.end.max(utf16.byte())) as u32,
            });
            token += encoding.word_of[token..].iter().take_while(|&&of| of == i).count();
        }
        let length = utf16.units(text.len()) as u32;
        let mut tokens = encoding.ids;
        tokens.push(EOS);
        Self { tokens, word_of: encoding.word_of.into_iter().map(|word| word as u32).collect(), words, length }
    }

    pub fn bytes(&self) -> usize {
        8 * self.tokens.len()
            + self.words.iter().map(|word| size_of::<Word>() + word.text.len() + word.lower.as_ref().map_or(0, String::len)).sum::<usize>()
    }

    /// The token at a place as people may read it.
    pub fn shown(&self, tokenizer: &Tokenizer, place: usize) -> String {
        tokenizer.token_text(self.tokens[place]).unwrap_or_default()
    }

    /// Tokens with the places of their words in the text.
    pub fn stretch(&self, tokenizer: &Tokenizer, start: usize, count: usize) -> Vec<Value> {
        let end = (start + count).min(self.tokens.len());
        let one = |place: usize| {
            let (start, end) = self.word_of.get(place).map_or((self.length, self.length), |&word| {
                let word = &self.words[word as usize];
                (word.start, word.end)
            });
            json!({ "text": self.shown(tokenizer, place), "start": start, "end": end })
        };
        (start.min(end)..end).map(one).collect()
    }

    /// Where words stand that are those of `query`, whatever their case; the last may go on.
    pub fn search(&self, query: &str, limit: usize) -> Value {
        let normal = normalise(query).to_lowercase();
        let wanted: Vec<&str> = words(&normal).into_iter().map(|range| &normal[range]).collect();
        let Some((last, firsts)) = wanted.split_last() else { return json!({ "query": query, "total": 0, "found": [] }) };
        let matches = |at: &usize| {
            let here = &self.words[*at..*at + wanted.len()];
            here.iter().zip(firsts).all(|(word, wanted)| word.lower() == *wanted) && here[firsts.len()].lower().starts_with(last)
        };
        let places = (0..(self.words.len() + 1).saturating_sub(wanted.len())).filter(matches);
        let (mut total, mut found) = (0, Vec::new());
        for at in places {
            total += 1;
            if found.len() < limit {
                found.push(self.found(at, at + wanted.len()));
            }
        }
        json!({ "query": query, "total": total, "found": found })
    }

    fn found(&self, first: usize, end: usize) -> Value {
        let join = |words: &[Word]| words.iter().map(|word| &word.text[..]).collect::<Vec<_>>().join(" ");
        json!({
            "start": self.words[first].first_token,
            "end": self.words.get(end).map_or(self.tokens.len() - 1, |word| word.first_token as usize),
            "before": join(&self.words[first.saturating_sub(AROUND)..first]),
            "match": join(&self.words[first..end]),
            "after": join(&self.words[end..(end + AROUND).min(self.words.len())]),
        })
    }
}

impl Word {
    fn lower(&self) -> &str {
        self.lower.as_deref().unwrap_or(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_where_they_stand() {
        let lines = ["Der Hund schl\u{e4}ft.", "Die Katze schl\u{e4}ft nicht!"];
        let tokenizer = Tokenizer::learn(&lines, 320).unwrap();
        let source = "Der \u{1f600} Hund schl\u{e4}ft. Die Katze schl\u{e4}ft nicht! SCHL\u{c4}FT der Hund?";
        let text = Text::new(&tokenizer, source);
        let units: Vec<u16> = source.encode_utf16().collect();
        for (query, places) in [("schl\u{e4}ft", 3), ("schl", 3), ("hund schl\u{e4}ft .", 1), ("katze hund", 0), ("", 0), ("?", 1)] {
            let found = text.search(query, 2);
            assert_eq!(found["total"], places, "{query}");
            for place in found["found"].as_array().unwrap() {
                let (start, end) = (place["start"].as_u64().unwrap() as usize, place["end"].as_u64().unwrap() as usize);
                let tokens = text.stretch(&tokenizer, start, end - start);
                let at = |token: &Value, name: &str| token[name].as_u64().unwrap() as usize;
                let range = at(&tokens[0], "start")..at(&tokens[tokens.len() - 1], "end");
                let there = String::from_utf16(&units[range]).unwrap().to_lowercase();
                assert!(there.starts_with(query.trim_end_matches(" .")), "{query}: {there}");
            }
        }
        let all = text.stretch(&tokenizer, 0, 1000);
        assert_eq!(all.len(), text.tokens.len());
        assert_eq!((all.last().unwrap()["start"].clone(), all.last().unwrap()["text"].clone()), (json!(units.len()), json!("</s>")));
        assert!(text.stretch(&tokenizer, 5000, 10).is_empty());
    }
}
