//! Which keys each query may look at, as far as positions alone decide it, and which tiles of scores that leaves.

use std::ops::Range;

/// What a mask by position leaves of a tile of scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tile {
    /// Nothing: the tile is never computed.
    Empty,
    /// Everything: it is computed without looking at positions.
    Full,
    /// Some of it: scores outside are set to `-inf`.
    Mixed,
}

/// The keys that the queries of one sequence may look at: query `i` at `i + offset - left ..= i + offset + right`, within `keys`.
///
/// One band covers causal masks, windows, lengths and left padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// The keys of this sequence.
    pub keys: Range<usize>,
    /// The key opposite to query 0.
    pub offset: isize,
    /// How far back a query looks; unlimited when `None`.
    pub left: Option<usize>,
    /// How far ahead a query looks; unlimited when `None`.
    pub right: Option<usize>,
}

/// No tensor has more than `isize::MAX` keys, so that what saturates is far outside on either side.
#[inline(always)]
fn far(n: usize) -> isize {
    n.min(isize::MAX as usize) as isize
}

impl Band {
    /// The keys that query `i` may look at; empty ranges start within `keys`.
    #[inline]
    pub fn visible(&self, query: usize) -> Range<usize> {
        let clamp = |key: isize| key.clamp(far(self.keys.start), far(self.keys.end)) as usize;
        let [start, end] = self.sides(query);
        let start = start.map_or(self.keys.start, clamp);
        start..end.map_or(self.keys.end, clamp).max(start)
    }

    /// Where the keys that query `i` may look at begin and end, as far as its place bounds them: from query to query, a key further on.
    #[inline]
    pub fn sides(&self, query: usize) -> [Option<isize>; 2] {
        let place = far(query).saturating_add(self.offset);
        let start = self.left.map(|left| place.saturating_sub(far(left)));
        [start, self.right.map(|right| place.saturating_add(far(right)).saturating_add(1))]
    }

    /// Whether all queries see all keys.
    #[inline]
    pub fn is_unlimited(&self) -> bool {
        self.left.is_none() && self.right.is_none()
    }

    /// The smallest range that holds every key that any of these queries may look at. Queries further down look further right, so only
    /// the ends matter.
    #[inline]
    pub fn reach(&self, queries: Range<usize>) -> Range<usize> {
        if queries.is_empty() {
            return self.keys.start..self.keys.start;
        }
        if self.is_unlimited() {
            return self.keys.clone();
        }
        let start = self.visible(queries.start).start;
        start..self.visible(queries.end - 1).end.max(start)
    }

    /// What of the tile `queries x keys` is visible.
    #[inline]
    pub fn classify(&self, queries: Range<usize>, keys: Range<usize>) -> Tile {
        if queries.is_empty() || keys.is_empty() {
            return Tile::Empty;
        }
        let (first, last) = (self.visible(queries.start), self.visible(queries.end - 1));
        if first.start.max(keys.start) >= last.end.min(keys.end) {
            return Tile::Empty;
        }
        // The last query has the latest first key and the first query the earliest last key.
        let (all_start, all_end) = (last.start, first.end);
        if all_start <= keys.start && keys.end <= all_end { Tile::Full } else { Tile::Mixed }
    }
}

/// Some pairs of a sequence and a key/value head: what one thread works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Numbers of sequences.
    pub sequences: Range<usize>,
    /// Numbers of key/value heads.
    pub kv_heads: Range<usize>,
}

impl Part {
    /// How many pairs there are.
    pub fn pairs(&self) -> usize {
        self.sequences.len() * self.kv_heads.len()
    }

    /// Two parts with half of the sequences each or, of a single sequence, half of the heads.
    pub fn halves(&self) -> [Self; 2] {
        let halve = |range: &Range<usize>| {
            let middle = range.start + range.len() / 2;
            [range.start..middle, middle..range.end]
        };
        if self.sequences.len() > 1 {
            halve(&self.sequences).map(|sequences| Self { sequences, kv_heads: self.kv_heads.clone() })
        } else {
            halve(&self.kv_heads).map(|kv_heads| Self { sequences: self.sequences.clone(), kv_heads })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn band() -> impl Strategy<Value = Band> {
        let side = || proptest::option::of(prop_oneof![0usize..12, Just(usize::MAX)]);
        (0usize..6, 0usize..20, -25isize..25, side(), side()).prop_map(|(start, len, offset, left, right)| Band {
            keys: start..start + len,
            offset,
            left,
            right,
        })
    }

    fn sees(band: &Band, query: usize, key: usize) -> bool {
        let distance = key as i128 - (query as i128 + band.offset as i128);
        band.keys.contains(&key)
            && band.left.is_none_or(|left| distance >= -(left as i128))
            && band.right.is_none_or(|right| distance <= right as i128)
    }

    proptest! {
        #[test]
        fn visible_keys_are_those_of_the_definition(band in band(), query in 0usize..24) {
            let visible = band.visible(query);
            for key in 0..30 {
                prop_assert_eq!(visible.contains(&key), sees(&band, query, key), "key {}", key);
            }
        }

        #[test]
        fn a_tile_is_what_its_cells_are(band in band(), q0 in 0usize..20, q in 1usize..8, k0 in 0usize..20, k in 1usize..8) {
            let cells: Vec<bool> = (q0..q0 + q).flat_map(|i| (k0..k0 + k).map(move |j| (i, j))).map(|(i, j)| sees(&band, i, j)).collect();
            let tile = band.classify(q0..q0 + q, k0..k0 + k);
            match tile {
                Tile::Empty => prop_assert!(cells.iter().all(|&cell| !cell)),
                Tile::Full => prop_assert!(cells.iter().all(|&cell| cell)),
                // Between the reach of the first and of the last query a tile may turn out to hold nothing.
                Tile::Mixed => prop_assert!(cells.iter().any(|&cell| !cell)),
            }
            if cells.iter().all(|&cell| cell) {
                prop_assert_eq!(tile, Tile::Full);
            }
        }

        #[test]
        fn the_reach_holds_every_visible_key(band in band(), q0 in 0usize..20, q in 0usize..8) {
            let reach = band.reach(q0..q0 + q);
            for i in q0..q0 + q {
                for key in band.visible(i) {
                    prop_assert!(reach.contains(&key));
                }
            }
        }
    }
}
