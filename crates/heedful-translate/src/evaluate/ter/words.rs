//! How TER cuts text into words: the rules of Tercom's `Normalizer`.

use super::super::text::{is_space, set_apart, single_spaced};
use super::super::tokenization::{is_western_mark, numbers, unescape};
use super::Ter;

impl Ter {
    /// The words of a text with a space between them.
    pub fn words(&self, text: &str) -> String {
        let text = text.trim_end_matches(is_space);
        let mut text = if self.case_sensitive { text.to_owned() } else { text.to_lowercase() };
        if self.normalized && !text.is_empty() {
            text = western(&text);
            if self.asian_support {
                text = set_apart(&text, |c| is_asian(c) || is_asian_mark(c));
            }
        }
        if self.no_punctuation {
            text.retain(|c| {
                !(matches!(c, '.' | ',' | '?' | ':' | ';' | '!' | '"' | '(' | ')') || (self.asian_support && is_asian_mark(c)))
            });
        }
        single_spaced(&text)
    }
}

fn western(text: &str) -> String {
    let text = unescape(&text.replace("\n-", "").replace('\n', " "));
    numbers(&set_apart(&format!(" {text} "), is_western_mark).replace("'s ", " 's "))
}

/// Ideographs, radicals, strokes and the blocks beside them; kana are not split. The range from U+3200 is as wide as in sacreBLEU, whose
/// numbers these are.
fn is_asian(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{2eff}' | '\u{31c0}'..='\u{31ef}' | '\u{3200}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe4f}')
}

/// Punctuation of Chinese and Japanese, and the full-width forms of the western.
fn is_asian_mark(c: char) -> bool {
    matches!(c, '\u{3001}' | '\u{3002}' | '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301f}' | '\u{30fb}' | '\u{ff61}'..='\u{ff65}'
        | '\u{ff01}' | '\u{ff02}' | '\u{ff08}' | '\u{ff09}' | '\u{ff0c}' | '\u{ff0e}' | '\u{ff1a}' | '\u{ff1b}' | '\u{ff1f}')
}
