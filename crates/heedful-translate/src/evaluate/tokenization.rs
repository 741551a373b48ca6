//! How BLEU cuts text into words.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use regex::Regex;

use super::text::{is_space, set_apart, single_spaced};
use super::{Error, Result};

/// The tokenizations of sacreBLEU that need no data of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tokenization {
    /// The text as it is, cut at white space.
    None,
    /// `13a`, that of the WMT evaluations (mteval-v13a): for languages in Latin script.
    #[default]
    V13a,
    /// `intl`, by Unicode's punctuation and symbols (mteval-v14).
    Intl,
    /// `char`, every character.
    Char,
    /// `zh`, Chinese characters apart, the rest as in `13a`.
    Zh,
}

impl Tokenization {
    /// The text with a space between its words.
    pub fn apply(self, text: &str) -> String {
        match self {
            Self::None => text.to_owned(),
            Self::V13a => v13a(text),
            Self::Intl => intl(text),
            Self::Char => text.chars().flat_map(|c| [' ', c]).skip(1).collect(),
            Self::Zh => single_spaced(&western(&set_apart(text.trim_matches(is_space), is_chinese))),
        }
    }

    /// Its name in sacreBLEU.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::V13a => "13a",
            Self::Intl => "intl",
            Self::Char => "char",
            Self::Zh => "zh",
        }
    }
}

impl fmt::Display for Tokenization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Tokenization {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        [Self::None, Self::V13a, Self::Intl, Self::Char, Self::Zh].into_iter().find(|tokenization| tokenization.name() == name).ok_or_else(
            || Error::Name { found: name.to_owned(), kind: "tokenization of this version", choices: "none, 13a, intl, char, zh" },
        )
    }
}

/// A pattern of this module.
fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern that is spelt out in this file")
}

/// Replaces all matches of each pattern, one pattern after the other.
fn rewrite(text: String, rules: &[(Regex, &str)]) -> String {
    rules.iter().fold(text, |text, (pattern, replacement)| match pattern.replace_all(&text, *replacement) {
        std::borrow::Cow::Owned(replaced) => replaced,
        std::borrow::Cow::Borrowed(_) => text,
    })
}

fn v13a(text: &str) -> String {
    let mut text = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    if text.contains('&') {
        text = unescape(&text);
    }
    single_spaced(&western(&format!(" {text} ")))
}

/// The four entities of XML that sacreBLEU knows, in its order.
pub(super) fn unescape(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
}

/// Whether a character of ASCII is set apart: all punctuation but `'`, `,`, `-` and `.`.
pub(super) fn is_western_mark(c: char) -> bool {
    matches!(c, '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/')
}

/// The part of `13a` that depends on the language.
fn western(text: &str) -> String {
    numbers(&set_apart(text, is_western_mark))
}

/// Sets periods and commas apart unless they stand between digits, and a dash if it follows a digit.
pub(super) fn numbers(text: &str) -> String {
    static RULES: LazyLock<[(Regex, &str); 3]> =
        LazyLock::new(|| [(pattern("([^0-9])([.,])"), "$1 $2 "), (pattern("([.,])([^0-9])"), " $1 $2"), (pattern("([0-9])(-)"), "$1 $2 ")]);
    rewrite(text.to_owned(), &*RULES)
}

fn intl(text: &str) -> String {
    static RULES: LazyLock<[(Regex, &str); 3]> =
        LazyLock::new(|| [(pattern(r"(\P{N})(\p{P})"), "$1 $2 "), (pattern(r"(\p{P})(\P{N})"), " $1 $2"), (pattern(r"(\p{S})"), " $1 ")]);
    single_spaced(&rewrite(text.to_owned(), &*RULES))
}

/// The characters that `zh` sets apart. The range from U+2001 is what sacreBLEU's own table comes to: it means to list two blocks beyond
/// U+FFFF, but writes them with four digits, and scores are only comparable if everyone does the same.
fn is_chinese(c: char) -> bool {
    matches!(c,
        '\u{2001}'..='\u{2a6d}' | '\u{2e80}'..='\u{2fdf}' | '\u{2ff0}'..='\u{303f}' | '\u{3100}'..='\u{312f}' | '\u{31a0}'..='\u{31bf}'
        | '\u{31c0}'..='\u{31ef}' | '\u{3200}'..='\u{4db5}' | '\u{4e00}'..='\u{9fbb}' | '\u{f900}'..='\u{fa2d}' | '\u{fa30}'..='\u{fa6a}'
        | '\u{fa70}'..='\u{fad9}' | '\u{fe10}'..='\u{fe1f}' | '\u{fe30}'..='\u{fe4f}' | '\u{ff00}'..='\u{ffef}')
}
