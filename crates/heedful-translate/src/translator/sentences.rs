//! Where the sentences of a text begin and end.

use std::ops::Range;

/// What ends a sentence if white space follows.
const TERMINATORS: [char; 4] = ['.', '!', '?', '\u{2026}'];
/// What ends a sentence in scripts that put no space after it.
const FULL_WIDTH_TERMINATORS: [char; 4] = ['\u{3002}', '\u{ff01}', '\u{ff1f}', '\u{ff61}'];
/// What may stand between the end of a sentence and the space after it.
const CLOSERS: [char; 18] = [
    ')', ']', '}', '"', '\'', '\u{bb}', '\u{ab}', '\u{203a}', '\u{2039}', '\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}', '\u{300d}',
    '\u{300f}', '\u{ff09}', '\u{3011}', '\u{300b}',
];
/// What may stand before the first word of a sentence.
const OPENERS: [char; 16] = [
    '(', '[', '{', '"', '\'', '\u{ab}', '\u{bb}', '\u{2039}', '\u{203a}', '\u{201e}', '\u{201c}', '\u{201a}', '\u{2018}', '\u{bf}',
    '\u{a1}', '\u{201d}',
];
const DASHES: [char; 3] = ['-', '\u{2013}', '\u{2014}'];

/// German and English abbreviations, in lower case and without their last full stop, that a capital letter can follow in the same sentence.
/// Those of one letter or with a full stop inside need no list.
const ABBREVIATIONS: [&str; 62] = [
    "abs", "abt", "allg", "approx", "art", "aufl", "bd", "bspw", "bzgl", "bzw", "ca", "capt", "cf", "col", "dept", "dipl", "dr", "dt",
    "ehem", "engl", "etw", "evtl", "fig", "frl", "geb", "gen", "gest", "ggf", "gov", "hl", "hr", "hrsg", "ing", "inkl", "jhd", "jr", "kap",
    "lt", "max", "min", "mio", "mr", "mrd", "mrs", "ms", "mt", "nr", "op", "prof", "rev", "sen", "sgt", "sog", "sr", "st", "std", "str",
    "tel", "verf", "vgl", "vs", "zzgl",
];
/// Abbreviations that are words as well, unless a number follows.
const BEFORE_NUMBERS: [&str; 6] = ["no", "nos", "pp", "vol", "ch", "sec"];
/// How words begin that make an ordinal of the number before them: "am 3. Mai", "im 2. Weltkrieg".
const AFTER_ORDINALS: [&str; 36] = [
    "Jan",
    "Feb",
    "M\u{e4}rz",
    "Apr",
    "Mai",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Okt",
    "Nov",
    "Dez",
    "Jahrhundert",
    "Jahrtausend",
    "Jh",
    "Mal",
    "Tag",
    "Woche",
    "Monat",
    "Jahrestag",
    "Klasse",
    "Stock",
    "Etage",
    "Platz",
    "Rang",
    "Kapitel",
    "Teil",
    "Band",
    "Auflage",
    "Geburtstag",
    "Weltkrieg",
    "Bundesliga",
    "Liga",
    "Stunde",
    "Runde",
    "Lebensjahr",
];

/// The sentences of a text, as ranges of its bytes, in order and without the white space around them.
///
/// A line break always ends a sentence. Within a line, one ends after `.`, `!`, `?` or an ellipsis with the quotation marks and brackets that
/// close there, if white space and no lower-case letter follows. A full stop does not end it after an abbreviation ("z. B.", "Dr.",
/// "Mr."), an initial, a number that begins the sentence ("1. Einleitung") or a German ordinal ("3. Mai"). In doubt sentences stay together: a
/// model translates two sentences better than half of one.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut sentences = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive(['\n', '\r', '\u{2028}', '\u{2029}']) {
        split_line(line, start, &mut sentences);
        start += line.len();
    }
    sentences
}

/// Adds the sentences of a line that begins at `offset`.
fn split_line(line: &str, offset: usize, sentences: &mut Vec<Range<usize>>) {
    let mut push = |range: Range<usize>| {
        let sentence = line[range.clone()].trim();
        if !sentence.is_empty() {
            let start = offset + range.start + (line[range.clone()].len() - line[range].trim_start().len());
            sentences.push(start..start + sentence.len());
        }
    };
    let mut start = 0;
    let mut at = 0;
    while let Some(found) = line[at..].find(|c| TERMINATORS.contains(&c) || FULL_WIDTH_TERMINATORS.contains(&c)) {
        let mark = at + found;
        let after = line[mark..].trim_start_matches(TERMINATORS).trim_start_matches(FULL_WIDTH_TERMINATORS);
        let marks = &line[mark..line.len() - after.len()];
        let rest = after.trim_start_matches(CLOSERS);
        at = line.len() - rest.len();
        let full_width = marks.ends_with(FULL_WIDTH_TERMINATORS);
        let unclosed = &line[start..mark];
        if full_width || (rest.starts_with(char::is_whitespace) && !(goes_on(rest) || (marks == "." && is_abbreviated(unclosed, rest)))) {
            push(start..at);
            start = at;
        }
    }
    push(start..line.len());
}

/// Whether what follows is the rest of a sentence and not a new one.
fn goes_on(rest: &str) -> bool {
    let next = rest.trim_start().trim_start_matches(OPENERS).chars().next();
    next.is_some_and(|c| c.is_lowercase() || DASHES.contains(&c) || matches!(c, ',' | ';' | ':' | ')'))
}

/// Whether the full stop between `before` and `rest` belongs to the word before it.
fn is_abbreviated(before: &str, rest: &str) -> bool {
    let word = before.rsplit(char::is_whitespace).next().unwrap_or(before);
    let word = word.trim_start_matches(OPENERS);
    let next = rest.trim_start();
    if !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) {
        let begins_the_sentence = before.trim_start().len() == word.len();
        return begins_the_sentence || (word.len() <= 2 && AFTER_ORDINALS.iter().any(|noun| next.starts_with(noun)));
    }
    // Also of a compound: "Ost-Str.", "Univ.-Prof."
    let word = word.rsplit('-').next().unwrap_or(word);
    let mut letters = word.chars();
    let initial = letters.next().is_some_and(char::is_alphabetic) && letters.next().is_none();
    let lower = word.to_lowercase();
    initial
        || (word.contains('.') && word.starts_with(char::is_alphabetic))
        || ABBREVIATIONS.contains(&lower.as_str())
        || (BEFORE_NUMBERS.contains(&lower.as_str()) && next.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::sentences;

    #[test]
    fn a_text_falls_into_its_sentences() {
        // Sentences are separated by `|`, which stands for a space.
        for text in [
            "Ich komme.|Kommst du?|Ja!|Gut.",
            "Das ist z. B. Peter.|Er war d. h. Lehrer.|Ende",
            "Sie hat z.B. Hunde.|Gut.",
            "Dr. Schmidt und Prof. Meier kommen.|Hr. Maier nicht.",
            "Mr. Smith met Mrs. Jones.|They talked.",
            "J. R. R. Tolkien schrieb das.|Er war Engl\u{e4}nder.",
            "Am 3. Mai fahre ich.|Im 21. Jahrhundert auch.",
            "Ich bin 30.|Er ist 40.",
            "1. Einleitung|2. Teil",
            "No.|I will not.",
            "Take No. 5 and go.|Now!",
            "Er sagte: \u{201e}Komm!\u{201c}|Sie kam.",
            "\u{201e}Komm!\u{201c} sagte er.|\u{201e}Warum?\u{201c}, fragte sie.",
            "\"Come here.\"|\"Why?\" - \"Because.\"|He left.",
            "(Das stimmt.)|Wirklich?",
            "Well... maybe.|Well...|Maybe.",
            "Nein\u{2026} vielleicht.|Ja\u{2026}|Gut.",
            "Was?!|Nein!!!|Doch.",
            "Es kostet 3.14 Euro.|Siehe www.example.org bald.",
            "\u{bf}Qu\u{e9}?|\u{a1}No!|\u{c9}l viene.",
            "Er wohnt in der Haupt-Str. Nummer 5.|Ja.",
            "Ohne Punkt",
        ] {
            if text == "1. Einleitung|2. Teil" {
                let lines = text.replace('|', "\n");
                assert_eq!(sentences(&lines).into_iter().map(|s| &lines[s]).collect::<Vec<_>>(), ["1. Einleitung", "2. Teil"]);
                continue;
            }
            let joined = text.replace('|', " ");
            let found: Vec<&str> = sentences(&joined).into_iter().map(|s| &joined[s]).collect();
            assert_eq!(found, text.split('|').collect::<Vec<_>>());
        }
    }

    #[test]
    fn lines_are_kept_apart_and_white_space_left_out() {
        let text = "  Eine Zeile\r\n\r\nohne Ende.   Und\tnoch eine.  \n\n";
        let found: Vec<&str> = sentences(text).into_iter().map(|s| &text[s]).collect();
        assert_eq!(found, ["Eine Zeile", "ohne Ende.", "Und\tnoch eine."]);
        let chinese = "\u{6211}\u{7231}\u{4f60}\u{3002}\u{300c}\u{597d}\u{ff01}\u{300d}\u{597d}";
        let found: Vec<&str> = sentences(chinese).into_iter().map(|s| &chinese[s]).collect();
        assert_eq!(found, ["\u{6211}\u{7231}\u{4f60}\u{3002}", "\u{300c}\u{597d}\u{ff01}\u{300d}", "\u{597d}"]);
        assert!(sentences("").is_empty() && sentences(" \n \t\n").is_empty());
    }

    proptest! {
        #[test]
        fn nothing_but_white_space_lies_between_sentences(text in "\\PC*|([a-zA-Z.!?\"\u{2026}\u{3002} \n]|3\\. |Dr\\. ){0,60}") {
            let mut end = 0;
            for sentence in sentences(&text) {
                prop_assert!(text[end..sentence.start].trim().is_empty());
                prop_assert!(!sentence.is_empty() && text[sentence.clone()].trim() == &text[sentence.clone()]);
                prop_assert!(!text[sentence.clone()].contains('\n'));
                end = sentence.end;
            }
            prop_assert!(text[end..].trim().is_empty());
        }
    }
}
