//! One alignment from two directions.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use super::{Error, Link, Links, Result};

/// Which words of a link must still be without one for it to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    /// The source word or the target word.
    Either,
    /// The source word and the target word.
    Both,
}

/// How two directions are combined (Och and Ney 2003, section 3; Koehn et al. 2003, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symmetrisation {
    /// The links that both have.
    Intersection,
    /// The links that either has.
    Union,
    /// From the intersection, neighbours of a link, diagonal ones too, that either direction has are added again and again; then what is
    /// left of each direction.
    Grow {
        /// Which neighbours are added.
        neighbours: Free,
        /// Which links are added at the end, if any.
        finally: Option<Free>,
    },
}

impl Symmetrisation {
    /// `grow-diag` of Moses.
    pub const GROW_DIAG: Self = Self::Grow { neighbours: Free::Either, finally: None };
    /// `grow-diag-final` of Moses.
    pub const GROW_DIAG_FINAL: Self = Self::Grow { neighbours: Free::Either, finally: Some(Free::Either) };
    /// `grow-diag-final-and` of Moses.
    pub const GROW_DIAG_FINAL_AND: Self = Self::Grow { neighbours: Free::Either, finally: Some(Free::Both) };

    const NAMED: [(&'static str, Self); 5] = [
        ("intersection", Self::Intersection),
        ("union", Self::Union),
        ("grow-diag", Self::GROW_DIAG),
        ("grow-diag-final", Self::GROW_DIAG_FINAL),
        ("grow-diag-final-and", Self::GROW_DIAG_FINAL_AND),
    ];
}

impl FromStr for Symmetrisation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::NAMED.into_iter().find(|&(known, _)| known == name).map(|(_, method)| method).ok_or_else(|| Error::Name {
            found: name.to_owned(),
            kind: "symmetrisation",
            choices: "intersection, union, grow-diag, grow-diag-final, grow-diag-final-and",
        })
    }
}

impl fmt::Display for Symmetrisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMED.into_iter().find(|(_, method)| method == self) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{self:?}"),
        }
    }
}

/// Combines the alignments of two directions; the links of both are given as source and target of the first.
pub fn symmetrise(forward: &Links, reverse: &Links, method: Symmetrisation) -> Links {
    let intersection = || forward.intersection(reverse).copied().collect();
    let union = || forward.union(reverse).copied().collect();
    match method {
        Symmetrisation::Intersection => intersection(),
        Symmetrisation::Union => union(),
        Symmetrisation::Grow { neighbours, finally } => {
            let mut grown = Grown::new(intersection());
            grown.grow(&union(), neighbours);
            if let Some(free) = finally {
                for direction in [forward, reverse] {
                    for &link in direction {
                        grown.add_if_free(link, free);
                    }
                }
            }
            grown.links
        }
    }
}

/// Links, and which words have one.
struct Grown {
    links: Links,
    sources: HashSet<usize>,
    targets: HashSet<usize>,
}

impl Grown {
    fn new(links: Links) -> Self {
        let (sources, targets) = links.iter().copied().unzip();
        Self { links, sources, targets }
    }

    fn add_if_free(&mut self, link @ (source, target): Link, free: Free) -> bool {
        let (source_free, target_free) = (!self.sources.contains(&source), !self.targets.contains(&target));
        let add = match free {
            Free::Either => source_free || target_free,
            Free::Both => source_free && target_free,
        };
        if add {
            self.links.insert(link);
            self.sources.insert(source);
            self.targets.insert(target);
        }
        add
    }

    /// Passes over the links from left to right, those just added included, until a pass adds none.
    fn grow(&mut self, union: &Links, free: Free) {
        const NEIGHBOURS: [(isize, isize); 8] = [(-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)];
        loop {
            let mut added = false;
            let mut after = None;
            while let Some(link) = self.next_link(after) {
                for (by_source, by_target) in NEIGHBOURS {
                    let neighbour = link.0.checked_add_signed(by_source).zip(link.1.checked_add_signed(by_target));
                    if let Some(neighbour) = neighbour.filter(|neighbour| union.contains(neighbour)) {
                        added |= self.add_if_free(neighbour, free);
                    }
                }
                after = Some(link);
            }
            if !added {
                break;
            }
        }
    }

    fn next_link(&self, after: Option<Link>) -> Option<Link> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.links.range((after.map_or(Unbounded, Excluded), Unbounded)).next().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{format_links, parse_links};
    use super::*;

    fn combined(forward: &str, reverse: &str, method: &str) -> String {
        let links = |line| parse_links(line, false).unwrap().0;
        format_links(&symmetrise(&links(forward), &links(reverse), method.parse().unwrap()))
    }

    #[test]
    fn the_methods_of_moses() {
        // 1-2 touches 0-1; 4-4 touches nothing, and both its words are free; 5-0 has one free word.
        let (forward, reverse) = ("0-1 1-2 4-4", "0-1 5-1");
        assert_eq!(combined(forward, reverse, "intersection"), "0-1");
        assert_eq!(combined(forward, reverse, "union"), "0-1 1-2 4-4 5-1");
        assert_eq!(combined(forward, reverse, "grow-diag"), "0-1 1-2");
        assert_eq!(combined(forward, reverse, "grow-diag-final"), "0-1 1-2 4-4 5-1");
        assert_eq!(combined(forward, reverse, "grow-diag-final-and"), "0-1 1-2 4-4");
        assert_eq!(combined("", "", "grow-diag-final"), "");
        assert_eq!(Symmetrisation::GROW_DIAG_FINAL_AND.to_string(), "grow-diag-final-and");
        assert!("grow".parse::<Symmetrisation>().unwrap_err().to_string().contains("grow-diag-final-and"));
    }
}
