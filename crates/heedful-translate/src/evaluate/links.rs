//! Word alignments as text.

use std::collections::BTreeSet;

use super::{Error, Result};

/// A source word and a target word that belong together, counted from 0.
pub type Link = (usize, usize);
/// The alignment of a sentence pair.
pub type Links = BTreeSet<Link>;

/// Reads a line in the Pharaoh or talp format: `i-j` for each link, `ipj` for one that is only possible, spaces between them; returns all
/// sure links, and those that are only possible. With `from_one`, words are counted from 1.
///
/// # Errors
///
/// [`Error::Link`].
pub fn parse_links(line: &str, from_one: bool) -> Result<(Links, Links)> {
    let (mut sure, mut possible) = (Links::new(), Links::new());
    for text in line.split_whitespace() {
        let wrong = || Error::Link { link: text.to_owned(), from_one };
        let (separator, links) = if text.contains('p') { ('p', &mut possible) } else { ('-', &mut sure) };
        let (source, target) = text.split_once(separator).ok_or_else(wrong)?;
        let position = |digits: &str| {
            let position: usize = digits.parse().map_err(|_| wrong())?;
            position.checked_sub(usize::from(from_one)).ok_or_else(wrong)
        };
        links.insert((position(source)?, position(target)?));
    }
    Ok((sure, possible))
}

/// The links in the Pharaoh format, counted from 0: `0-0 1-2`.
pub fn format_links(links: &Links) -> String {
    let links: Vec<String> = links.iter().map(|(source, target)| format!("{source}-{target}")).collect();
    links.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_kinds_and_says_what_is_wrong() {
        let (sure, possible) = parse_links(" 1-1 2p3  2-2\n", true).unwrap();
        assert_eq!((format_links(&sure), format_links(&possible)), ("0-0 1-1".into(), "1-2".into()));
        assert_eq!(parse_links("", false).unwrap(), (Links::new(), Links::new()));
        for bad in ["0-1", "1", "1-", "a-1", "1-2-3", "-1-2"] {
            let message = parse_links(bad, true).unwrap_err().to_string();
            assert!(message.contains(&format!("\"{bad}\"")) && message.contains("from 1"), "{message}");
        }
    }
}
