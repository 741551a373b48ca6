//! Words as a reader would count them.

use std::ops::Range;

use unicode_normalization::char::is_combining_mark;

/// The words and punctuation marks of a text, as ranges of its bytes, in order; white space belongs to none.
///
/// `Kannst du mir helfen?` has five: punctuation is split off. Apostrophes and hyphens inside a word stay in it (`don't`,
/// `Loch-Ness-Ungeheuer`), and so do the marks inside a number (`3.14`, `2:30`). Equal punctuation marks in a row are one word (`...`). A
/// Chinese character or a run of kana is a word of its own, as these scripts put no spaces.
pub fn words(text: &str) -> Vec<Range<usize>> {
    let mut words: Vec<Range<usize>> = Vec::new();
    let mut characters = text.char_indices().peekable();
    let mut previous: Option<(char, Class)> = None;
    while let Some((start, c)) = characters.next() {
        let class = class(c);
        let next = characters.peek().map(|&(_, c)| c);
        let joined = previous.is_some_and(|previous| joins(previous, (c, class), next));
        // An apostrophe or an accent inside a word counts as what precedes it, so that the word goes on.
        let counts_as =
            if joined && matches!(class, Class::Mark | Class::Combining) { previous.map_or(class, |(_, of)| of) } else { class };
        match words.last_mut() {
            Some(word) if joined => word.end = start + c.len_utf8(),
            _ if class == Class::Space => {}
            _ => words.push(start..start + c.len_utf8()),
        }
        previous = Some((c, counts_as));
    }
    words
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    Letter,
    Digit,
    Ideograph,
    Kana,
    Combining,
    Mark,
}

fn class(c: char) -> Class {
    match c {
        _ if c.is_whitespace() => Class::Space,
        '\u{200c}' | '\u{200d}' => Class::Combining,
        _ if is_combining_mark(c) => Class::Combining,
        '\u{3041}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}' => Class::Kana,
        '\u{3005}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' => {
            Class::Ideograph
        }
        _ if c.is_numeric() => Class::Digit,
        '_' => Class::Letter,
        _ if c.is_alphabetic() => Class::Letter,
        _ => Class::Mark,
    }
}

/// Whether a character goes on with the word that the previous one is in.
fn joins((previous, of): (char, Class), (c, class): (char, Class), next: Option<char>) -> bool {
    let word = |class| matches!(class, Class::Letter | Class::Digit);
    let goes_on = |accept: fn(Class) -> bool| next.is_some_and(|next| accept(self::class(next)));
    match class {
        Class::Space | Class::Ideograph => false,
        Class::Combining => of != Class::Space,
        Class::Letter | Class::Digit => word(of),
        Class::Kana => of == Class::Kana,
        Class::Mark if of == Class::Mark => c == previous || previous == '\u{200d}',
        Class::Mark => match c {
            '\'' | '-' => word(of) && goes_on(|class| matches!(class, Class::Letter | Class::Digit)),
            '.' | ',' | ':' => of == Class::Digit && goes_on(|class| class == Class::Digit),
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::words;

    fn split(text: &str) -> Vec<&str> {
        words(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn splits_as_a_reader_would() {
        for (text, expected) in [
            ("Kannst du mir helfen?", "Kannst|du|mir|helfen|?"),
            ("I don't know, Mr. O'Neill-Smith...", "I|don't|know|,|Mr|.|O'Neill-Smith|..."),
            ("\"Yes,\" he said - '3.14'!", "\"|Yes|,|\"|he|said|-|'|3.14|'|!"),
            ("at 2:30, 1,000 or 5%", "at|2:30|,|1,000|or|5|%"),
            ("dogs' --- a--b", "dogs|'|---|a|--|b"),
            ("\u{6211}\u{7231}\u{4f60}\u{3002}\u{306e}\u{306f}", "\u{6211}|\u{7231}|\u{4f60}|\u{3002}|\u{306e}\u{306f}"),
            ("1995.", "1995|."),
            (" ", ""),
        ] {
            assert_eq!(split(text).join("|"), expected);
        }
    }

    proptest! {
        #[test]
        fn every_character_but_space_is_in_one_word(text in "\\PC*|[a'\\-.0 ]*") {
            let covered: String = split(&text).concat();
            let expected: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            prop_assert_eq!(covered, expected);
        }
    }
}
