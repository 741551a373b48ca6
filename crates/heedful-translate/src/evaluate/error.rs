//! Why something cannot be scored.

/// An error of this module; its message says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is not a single sentence.
    #[error("scoring: there is no sentence; give at least one")]
    Empty,
    /// The two sides differ in length.
    #[error("scoring: {left} {left_name} but {right} {right_name}; line k of both must belong together")]
    Lengths {
        /// What the one side is.
        left_name: &'static str,
        /// How many it has.
        left: usize,
        /// What the other side is.
        right_name: &'static str,
        /// How many it has.
        right: usize,
    },
    /// A sentence has nothing to be compared with.
    #[error("scoring: sentence {0} has no reference; give it one or leave it out")]
    NoReference(usize),
    /// Not a link.
    #[error("reading alignments: \"{link}\" is no link; write i-j for a sure and ipj for a possible one{}", if *.from_one { ", counted from 1" } else { "" })]
    Link {
        /// What was found.
        link: String,
        /// Whether words are counted from 1.
        from_one: bool,
    },
    /// No ranges of sentence lengths.
    #[error("\"{0}\" are no sentence lengths without gaps; write them as 1-10,11-20,21+")]
    Buckets(String),
    /// An unknown name.
    #[error("\"{found}\" is no {kind}; choose one of {choices}")]
    Name {
        /// What was asked for.
        found: String,
        /// What it should be.
        kind: &'static str,
        /// What there is.
        choices: &'static str,
    },
}

/// A result of this module.
pub type Result<T> = std::result::Result<T, Error>;
