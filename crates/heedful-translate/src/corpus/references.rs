//! Sources with all their translations.

use std::collections::HashMap;

use super::Pair;

/// A source sentence and its reference translations, in the order of the corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referenced {
    /// The sentence to translate.
    pub source: String,
    /// Its translations; at least one.
    pub references: Vec<String>,
}

/// Puts pairs with the same source together: a corpus such as Tatoeba holds several translations of a sentence, which are several
/// references when translations are scored. Sources keep the order in which they come first.
pub fn group_references(pairs: &[Pair]) -> Vec<Referenced> {
    let mut grouped: Vec<Referenced> = Vec::new();
    let mut index: HashMap<&str, usize> = HashMap::new();
    for pair in pairs {
        let at = *index.entry(&pair.source).or_insert(grouped.len());
        if at == grouped.len() {
            grouped.push(Referenced { source: pair.source.clone(), references: Vec::new() });
        }
        grouped[at].references.push(pair.target.clone());
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_on_both_levels() {
        let pairs: Vec<Pair> = [("b", "1"), ("a", "2"), ("b", "3")]
            .into_iter()
            .zip(1..)
            .map(|((source, target), line)| Pair { line, source: source.into(), target: target.into() })
            .collect();
        let grouped = group_references(&pairs);
        assert_eq!(
            grouped.iter().map(|r| (r.source.as_str(), r.references.join(","))).collect::<Vec<_>>(),
            [("b", "1,3".to_owned()), ("a", "2".to_owned())]
        );
    }
}
