//! A word aligner that needs no model: which source word each target word comes from, learnt from the parallel text alone.
//!
//! A hidden Markov model (Vogel et al. 1996, "HMM-based word alignment in statistical translation"): the target sentence `t_1 .. t_J` is written
//! word by word, and word `j` comes from source word `a_j`, which depends on the one before,
//!
//! ```text
//! p(t, a | s) = prod_j  p(a_j | a_(j-1)) p(t_j | s_(a_j))          p(a | a') ~ jump(a - a')
//! ```
//!
//! or, with a probability that is given, from no word. Both tables, `p(t | s)` (`lexicon.rs`) and `jump` (`chain.rs`), are learnt by expectation
//! maximisation. What is linked is what has the highest posterior `p(a_j | s, t)`: an attention over the source words, of a model of 1996. Where a
//! translation model needs many sentences before it looks at the right word, this one needs few; its links can teach where to look
//! (`training.guide_weight`; Garg et al. 2019).

mod chain;
mod lexicon;

use std::collections::HashMap;

use rayon::prelude::*;

use self::chain::Jumps;
use self::lexicon::{Lexicon, NO_WORD};
use crate::evaluate::Links;
use crate::text::normalise;

/// A pair with more words on a side gets no links: the time it takes grows with the third power of its length.
pub const LONGEST: usize = 500;

/// Pairs of words whose expectations are in memory at once, about.
const BLOCK: usize = 1 << 20;

/// How the aligner learns, and what it links.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlignerOptions {
    /// Rounds of expectation maximisation in which all source words are equally likely, wherever they stand (IBM model 1, Brown et al. 1993).
    pub lexical_rounds: usize,
    /// Rounds after these, in which the source word depends on that of the target word before.
    pub jump_rounds: usize,
    /// The probability that a target word comes from no source word, between 0 and 1. The higher, the fewer and the surer the links.
    pub no_source: f64,
    /// How many letters of a word tell it from others; all if `None`. A few (4) are better where text is little and endings are many.
    pub stem: Option<usize>,
    /// The posterior that the best source word of a target word must have to be linked.
    pub threshold: f64,
}

impl Default for AlignerOptions {
    fn default() -> Self {
        Self { lexical_rounds: 5, jump_rounds: 5, no_source: 0.4, stem: None, threshold: 0.3 }
    }
}

/// The links of each pair from target to source: a target word has at most one. Words are what white space separates, counted from 0; case does
/// not count, and what normalisation leaves nothing of is no word. `rounds` is told how many rounds of how many are done.
///
/// It takes `O(pairs I^2 J)` time a round for `I` source and `J` target words, and memory for each two words that occur in one pair. The result does not
/// depend on the number of threads.
pub fn align_words<S: AsRef<str> + Sync>(pairs: &[(S, S)], options: &AlignerOptions, mut rounds: impl FnMut(usize, usize)) -> Vec<Links> {
    let [sources, targets] = [|(source, _): &(S, S)| Words::of(source.as_ref()), |(_, target): &(S, S)| Words::of(target.as_ref())]
        .map(|side| pairs.par_iter().map(side).collect::<Vec<Words>>());
    let [sources, targets] = [sources, targets].map(|side| Side::new(side, options.stem));
    let texts: Vec<Text<'_>> = (0..pairs.len()).map(|pair| Text::new(&sources.words[pair], &targets.words[pair])).collect();
    let mut lexicon = Lexicon::new(&texts, sources.vocabulary);
    let mut jumps = Jumps::Uniform;
    let all = options.lexical_rounds + options.jump_rounds;
    for round in 0..all {
        rounds(round, all);
        // The last of the lexical rounds shows the first that knows of jumps what they are like.
        let counts_jumps = options.jump_rounds > 0 && round + 1 >= options.lexical_rounds;
        let next = counts_jumps.then(Jumps::nothing_seen);
        (lexicon, jumps) = maximised(&texts, &lexicon, &jumps, next, options.no_source);
    }
    rounds(all, all);
    let linked = |(pair, text): (usize, &Text<'_>)| {
        let posteriors = jumps.posteriors(text, &lexicon, options.no_source);
        let place = |(source, target): (usize, usize)| (sources.places[pair][source], targets.places[pair][target]);
        posteriors.best().filter(|&(_, posterior)| posterior >= options.threshold).map(|(link, _)| place(link)).collect()
    };
    texts.par_iter().enumerate().map(linked).collect()
}

/// The tables that make `texts` likeliest, given where `lexicon` and `jumps` say each word comes from. If `next` is `None`, jumps stay uniform.
fn maximised(texts: &[Text<'_>], lexicon: &Lexicon, jumps: &Jumps, next: Option<Jumps>, no_source: f64) -> (Lexicon, Jumps) {
    let mut counts = vec![0.0; lexicon.len()];
    let mut seen = next.unwrap_or(Jumps::Uniform);
    let mut rest = texts;
    while !rest.is_empty() {
        let mut words = 0;
        let fit = rest.iter().take_while(|text| {
            let before = words;
            words += text.source.len() * text.target.len();
            before < BLOCK
        });
        let (block, after) = rest.split_at(fit.count());
        rest = after;
        let posteriors: Vec<_> = block.par_iter().map(|text| jumps.posteriors(text, lexicon, no_source)).collect();
        for posteriors in posteriors {
            posteriors.add_to(&mut counts);
            seen.add(&posteriors.jumps);
        }
    }
    (lexicon.with_counts(&counts), seen)
}

/// The words of one side of a pair, and where they stand between white space.
struct Words {
    words: Vec<String>,
    places: Vec<usize>,
}

impl Words {
    fn of(text: &str) -> Self {
        let word = |(place, word)| Some((normalise(word).to_lowercase(), place)).filter(|(word, _)| !word.is_empty());
        let (words, places) = text.split_whitespace().enumerate().filter_map(word).unzip();
        Self { words, places }
    }
}

/// One side of all pairs, its words numbered from 1 on.
struct Side {
    words: Vec<Vec<u32>>,
    places: Vec<Vec<usize>>,
    /// How many different words there are, [`NO_WORD`] included.
    vocabulary: usize,
}

impl Side {
    fn new(side: Vec<Words>, stem: Option<usize>) -> Self {
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let mut number = |word: String| {
            let end = stem.and_then(|letters| word.char_indices().nth(letters)).map_or(word.len(), |(end, _)| end);
            let next = NO_WORD + 1 + numbers.len() as u32;
            *numbers.entry(word[..end].to_owned()).or_insert(next)
        };
        let (words, places) =
            side.into_iter().map(|side| (side.words.into_iter().map(&mut number).collect::<Vec<u32>>(), side.places)).unzip();
        Self { words, places, vocabulary: numbers.len() + 1 }
    }
}

/// A pair as numbers of words; without words on either side if it is too long.
#[derive(Clone, Copy)]
struct Text<'a> {
    source: &'a [u32],
    target: &'a [u32],
}

impl<'a> Text<'a> {
    fn new(source: &'a [u32], target: &'a [u32]) -> Self {
        if source.len().max(target.len()) > LONGEST { Self { source: &[], target: &[] } } else { Self { source, target } }
    }
}

#[cfg(test)]
mod tests;
