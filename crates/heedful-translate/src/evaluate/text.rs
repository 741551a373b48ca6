//! Text as Python sees it, which sacreBLEU's numbers depend on.

/// White space in the sense of Python's `str.isspace`, which counts four control characters more than Unicode's property does.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The words between white space.
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// Words with one space between them.
pub(super) fn single_spaced(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len());
    for word in split(text) {
        if !spaced.is_empty() {
            spaced.push(' ');
        }
        spaced.push_str(word);
    }
    spaced
}

/// The text with a space on either side of each character that `alone` picks.
pub(super) fn set_apart(text: &str, alone: impl Fn(char) -> bool) -> String {
    let mut apart = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if alone(c) {
            apart.extend([' ', c, ' ']);
        } else {
            apart.push(c);
        }
    }
    apart
}

/// `mixed` or `lc`, as signatures call it.
pub(super) fn case(lowercase: bool) -> &'static str {
    if lowercase { "lc" } else { "mixed" }
}

/// `yes` or `no`, as signatures call it.
pub(super) fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// A signature in sacreBLEU's form: the number of references (`var` where it varies), the metric's own settings, the version whose numbers
/// these are.
pub(super) fn signature(references: Option<usize>, settings: &str) -> String {
    let references = references.map_or_else(|| "var".to_owned(), |count| count.to_string());
    format!("nrefs:{references}|{settings}|version:2.6.0")
}
