//! Sentence pairs as tokens.

use rayon::prelude::*;

use super::{Pair, Reason, Report};
use crate::text::{EOS, Tokenizer};

/// A sentence pair as token ids; both sides end with [`EOS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedPair {
    /// The line of the corpus it comes from, counted from 1.
    pub line: u64,
    /// The sentence to translate.
    pub source: Vec<u32>,
    /// What it is translated to.
    pub target: Vec<u32>,
    /// Words that belong together, `[source, target]`, if it is known; words are what white space separates.
    pub links: Vec<[u32; 2]>,
}

/// The pairs as tokens, on all cores; those with more than `max_tokens` on a side, the end of sentence included, are left out and added to
/// `report`.
pub fn encode(pairs: &[Pair], tokenizer: &Tokenizer, max_tokens: usize, report: &mut Report) -> Vec<EncodedPair> {
    let sentence = |text: &str| {
        let mut ids = tokenizer.encode_ids(text);
        ids.push(EOS);
        ids
    };
    let encode_pair =
        |pair: &Pair| EncodedPair { line: pair.line, source: sentence(&pair.source), target: sentence(&pair.target), links: Vec::new() };
    let mut encoded: Vec<EncodedPair> = pairs.par_iter().map(encode_pair).collect();
    let mut pair = pairs.iter();
    encoded.retain(|ids| {
        let pair = pair.next();
        let fits = ids.source.len().max(ids.target.len()) <= max_tokens;
        if let (false, Some(pair)) = (fits, pair) {
            report.drop_pair(Reason::TooManyTokens, pair);
        }
        fits
    });
    report.kept = encoded.len() as u64;
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_each_side_and_leaves_out_the_long() {
        let texts = [("ab ab", "ab"), ("ab", "ab ab ab ab"), ("ab", "ab")];
        let pairs: Vec<Pair> =
            (1..).zip(texts).map(|(line, (source, target))| Pair { line, source: source.into(), target: target.into() }).collect();
        let tokenizer = Tokenizer::learn(&["ab ab ab"], 270).unwrap();
        let mut report = Report { read: 3, kept: 3, ..Report::default() };
        let encoded = encode(&pairs, &tokenizer, 3, &mut report);
        assert_eq!(encoded.iter().map(|pair| (pair.source.len(), pair.target.len())).collect::<Vec<_>>(), [(3, 2), (2, 2)]);
        assert!(encoded.iter().all(|pair| pair.source.last() == Some(&EOS) && pair.target.last() == Some(&EOS)));
        assert_eq!((report.kept, report.dropped[&Reason::TooManyTokens].examples[0].0), (2, 2));
    }
}
