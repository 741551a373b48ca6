//! One spelling for what is the same text.

use std::ops::Range;

use unicode_normalization::{IsNormalized, UnicodeNormalization, char::canonical_combining_class, is_nfc_quick};

/// Text in the form that tokenizers are learnt on and applied to.
///
/// - canonical composition (NFC, Unicode Annex 15);
/// - every run of white space, of whatever width, is one space; none at either end;
/// - soft hyphens, zero-width spaces, byte-order and direction marks and control characters are removed. The zero-width joiners stay: they
///   carry meaning in Persian, in Indic scripts and in emoji;
/// - typographic apostrophes and quotation marks become `'` and `"` (guillemets stay), the hyphens U+2010 and U+2011 `-`, the ellipsis
///   `...`.
///
/// Case is kept. Applying it twice changes nothing more.
pub fn normalise(text: &str) -> String {
    let mut normalised = Normaliser { text: String::with_capacity(text.len()), ..Normaliser::default() };
    normalised.run(text, |_, _| ());
    normalised.text
}

/// Text after [`normalise`], and for each of its bytes the range of bytes of the given text that it comes from.
pub(super) fn normalise_with_origins(text: &str) -> (String, Vec<Range<usize>>) {
    let mut normalised = Normaliser::default();
    let mut origins = Vec::with_capacity(text.len());
    normalised.run(text, |bytes, origin| origins.extend(std::iter::repeat_n(origin, bytes)));
    (normalised.text, origins)
}

/// What a character becomes before it is composed with its neighbours.
enum Replacement {
    Same,
    Space,
    Text(&'static str),
}

fn replacement(c: char) -> Replacement {
    match c {
        '!'..='~' => Replacement::Same,
        _ if c.is_whitespace() => Replacement::Space,
        '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
            Replacement::Text("")
        }
        _ if c.is_control() => Replacement::Text(""),
        '\u{2018}'..='\u{201b}' | '\u{2bc}' => Replacement::Text("'"),
        '\u{201c}'..='\u{201f}' => Replacement::Text("\""),
        '\u{2010}' | '\u{2011}' => Replacement::Text("-"),
        '\u{2026}' => Replacement::Text("..."),
        _ => Replacement::Same,
    }
}

/// Whether `c` never composes with, nor is reordered before, what precedes it: text may be cut there and normalised part by part.
fn starts_segment(c: char) -> bool {
    c.is_ascii() || (canonical_combining_class(c) == 0 && is_nfc_quick(std::iter::once(c)) == IsNormalized::Yes)
}

#[derive(Default)]
struct Normaliser {
    text: String,
    segment: String,
    segment_origin: Range<usize>,
}

impl Normaliser {
    /// Appends the normalised text; `wrote(bytes, origin)` is told where each stretch of bytes came from.
    fn run(&mut self, text: &str, mut wrote: impl FnMut(usize, Range<usize>)) {
        let mut space: Option<Range<usize>> = None;
        for (start, c) in text.char_indices() {
            let origin = start..start + c.len_utf8();
            let mut single = [0; 4];
            let replaced: &str = match replacement(c) {
                Replacement::Space => {
                    self.flush(&mut wrote);
                    if !self.text.is_empty() {
                        space = Some(space.map_or(origin.clone(), |space| space.start..origin.end));
                    }
                    continue;
                }
                Replacement::Text(text) => text,
                Replacement::Same => c.encode_utf8(&mut single),
            };
            for c in replaced.chars() {
                if starts_segment(c) {
                    self.flush(&mut wrote);
                }
                if let Some(space) = space.take() {
                    self.text.push(' ');
                    wrote(1, space);
                }
                if self.segment.is_empty() {
                    self.segment_origin.start = origin.start;
                }
                self.segment_origin.end = origin.end;
                self.segment.push(c);
            }
        }
        self.flush(&mut wrote);
    }

    fn flush(&mut self, wrote: &mut impl FnMut(usize, Range<usize>)) {
        if self.segment.is_empty() {
            return;
        }
        let before = self.text.len();
        if self.segment.len() == 1 {
            self.text.push_str(&self.segment);
        } else {
            self.text.extend(self.segment.nfc());
        }
        wrote(self.text.len() - before, self.segment_origin.clone());
        self.segment.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{normalise, normalise_with_origins};

    #[test]
    fn composes_and_cleans() {
        for (given, expected) in [
            ("Scho\u{308}n", "Sch\u{f6}n"),
            ("  a\u{a0}\u{202f}\t\r\nb \u{3000}", "a b"),
            ("Donau\u{ad}dampf\u{200b}er\u{feff}", "Donaudampfer"),
            ("e\u{ad}\u{301}", "\u{e9}"),
            ("don\u{2019}t \u{201e}so\u{201c} \u{ab}oui\u{bb}\u{2026}", "don't \"so\" \u{ab}oui\u{bb}..."),
            ("\u{1112}\u{1161}\u{11ab}", "\u{d55c}"),
            ("\0\u{7}\u{9f}", ""),
            ("", ""),
        ] {
            assert_eq!(normalise(given), expected, "{given:?}");
        }
    }

    #[test]
    fn origins_point_into_the_given_text() {
        let given = " Scho\u{308}n,  a";
        let (text, origins) = normalise_with_origins(given);
        assert_eq!(text, "Sch\u{f6}n, a");
        let origin = |part: &str| {
            let start = text.find(part).unwrap();
            &given[origins[start].start..origins[start + part.len() - 1].end]
        };
        assert_eq!(origin("Sch\u{f6}n"), "Scho\u{308}n");
        assert_eq!(origin(" "), "  ");
        assert_eq!(origin("a"), "a");
    }

    proptest! {
        #[test]
        fn twice_is_once_and_the_result_is_composed(text in "\\PC*|[ \u{300}-\u{345}a-eA-E\u{ad}\u{2018}-\u{201f}\u{1100}-\u{11ff}\t]*|.*") {
            use unicode_normalization::UnicodeNormalization;
            let once = normalise(&text);
            prop_assert_eq!(&normalise(&once), &once);
            prop_assert_eq!(once.nfc().collect::<String>(), once.clone());
            let (again, origins) = normalise_with_origins(&text);
            prop_assert_eq!(&again, &once);
            prop_assert_eq!(origins.len(), once.len());
            for range in origins {
                prop_assert!(text.is_char_boundary(range.start) && text.is_char_boundary(range.end) && range.start < range.end);
            }
        }
    }
}
