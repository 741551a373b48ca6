//! Tiles of a head's map at any zoom: fine ones computed when they are asked for, coarse ones summed up from a base that is built once.
//!
//! At the last level a pixel is one weight, and each level above pools squares of four. A pixel holds the **sum** over its keys and, when it is
//! sent, the **mean** over its queries, so that each row of pixels sums to 1 at every level.

use std::ops::Range;

use heedful::Result;
use heedful::lens::{Lens, Pool};
use heedful_translate::model::looks::Look;

/// Pixels along each side of a tile.
pub const TILE: usize = 256;
/// A pixel's side, in tokens, up to which tiles are computed from all weights below: 2048 x 2048 of them.
const COMPUTED: usize = 8;
/// The base has at most this many pixels along each side.
const BASE: usize = 2048;
/// Weights below the pixels of a preview, which looks at some of a pixel's queries only.
const PREVIEW: usize = 1 << 23;
/// Weights that are summed up between two looks at what else is to be done: a few hundredths of a second.
const STRIP: usize = 1 << 22;

/// How a map of `n` tokens is cut into levels and pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    n: usize,
}

impl Geometry {
    pub fn new(n: usize) -> Self {
        Self { n }
    }

    /// How many levels there are; at level 0, one tile holds the whole map.
    pub fn levels(self) -> usize {
        1 + self.n.div_ceil(TILE).next_power_of_two().ilog2() as usize
    }

    /// The tokens along a pixel's side.
    fn block(self, level: usize) -> usize {
        1 << (self.levels() - 1 - level)
    }

    /// The tiles along each side of a level.
    pub fn tiles(self, level: usize) -> usize {
        self.n.div_ceil(self.block(level) * TILE)
    }

    /// The side of the base's pixels, or `None` if the map is so small that it needs none.
    fn base(self) -> Option<usize> {
        let coarsest = self.block(0);
        (coarsest > COMPUTED).then(|| (2 * COMPUTED).max(self.n.div_ceil(BASE).next_power_of_two()))
    }

    /// The bytes of a head's base.
    pub fn base_bytes(self) -> usize {
        self.base().map_or(0, |block| size_of::<f32>() * self.n.div_ceil(block).pow(2))
    }

    /// The queries or keys below a pixel.
    fn below(self, block: usize, pixel: usize) -> Range<usize> {
        (pixel * block).min(self.n)..((pixel + 1) * block).min(self.n)
    }
}

/// Sums of a head's weights below the pixels of the coarsest level that is not computed on demand, `[pixels, pixels]`.
pub struct Base {
    block: usize,
    sums: Vec<f32>,
}

/// A tile, and which part of its queries it comes from.
#[derive(Debug, PartialEq)]
pub struct Tile {
    /// `[TILE, TILE]`; pixels beyond the text are 0.
    pub pixels: Vec<f32>,
    /// One in so many of a pixel's queries was looked at.
    pub one_in: usize,
}

impl Base {
    /// Sums up all weights of a head: `None` if the map needs no base, or if it was told not to go on.
    ///
    /// `go_on` is told which part is done.
    pub fn build(look: &Look, head: usize, mut go_on: impl FnMut(f32) -> bool) -> Result<Option<Self>> {
        let geometry = Geometry::new(look.key_count());
        let Some(block) = geometry.base() else { return Ok(None) };
        let (n, lens) = (geometry.n, look.lens()?);
        let pixels = n.div_ceil(block);
        let strip = (STRIP / (n * block)).max(1);
        let mut sums = Vec::with_capacity(pixels * pixels);
        while sums.len() < pixels * pixels {
            let first = sums.len() / pixels;
            if !go_on(first as f32 / pixels as f32) {
                return Ok(None);
            }
            let rows = first..(first + strip).min(pixels);
            sums.extend(pooled(&lens, head, geometry, block, rows, 0..pixels)?);
        }
        Ok(Some(Self { block, sums }))
    }
}

/// A tile of a head's map: `None` if there is no such level or tile.
///
/// A coarse tile without its base is a preview, from as many queries as can be looked at in time.
pub fn tile(look: &Look, head: usize, base: Option<&Base>, level: usize, row: usize, column: usize) -> Result<Option<Tile>> {
    let geometry = Geometry::new(look.key_count());
    if level >= geometry.levels() || row.max(column) >= geometry.tiles(level) {
        return Ok(None);
    }
    let (n, block) = (geometry.n, geometry.block(level));
    let pixels = n.div_ceil(block);
    let [rows, columns] = [row, column].map(|tile| tile * TILE..((tile + 1) * TILE).min(pixels));
    let (mut sums, mut one_in) = (Vec::new(), 1);
    match base {
        Some(base) if block >= base.block => {
            let (fine, zoom) = (n.div_ceil(base.block), block / base.block);
            sums.resize(rows.len() * columns.len(), 0.0);
            for (out, row) in sums.chunks_exact_mut(columns.len()).zip(rows.clone()) {
                for fine_row in row * zoom..((row + 1) * zoom).min(fine) {
                    let fine_row = &base.sums[fine_row * fine..(fine_row + 1) * fine];
                    for (out, column) in out.iter_mut().zip(columns.clone()) {
                        *out += fine_row[column * zoom..((column + 1) * zoom).min(fine)].iter().sum::<f32>();
                    }
                }
            }
        }
        _ if block <= COMPUTED => sums = pooled(&look.lens()?, head, geometry, block, rows.clone(), columns.clone())?,
        _ => {
            let keys = columns.len() * block;
            let looked_at = 1 << (PREVIEW / (rows.len() * keys)).clamp(1, block).ilog2();
            one_in = block / looked_at;
            // In the middle of each stretch.
            let queries = |pixel: usize| {
                let below = geometry.below(block, pixel);
                (0..looked_at).map(move |i| below.start + (2 * i + 1) * below.len() / (2 * looked_at))
            };
            let thinned = look.thinned(head, rows.clone().flat_map(queries));
            let lens = thinned.lens()?;
            let all = [rows.len() * looked_at, rows.len()];
            sums.resize(rows.len() * columns.len(), 0.0);
            for (part, cells) in whole_and_rest(geometry, block, columns.clone()) {
                let map = lens.pooled(0, 0, 0..all[0], part, [all[1], cells.len()], Pool::Sum)?;
                for (out, map) in sums.chunks_exact_mut(columns.len()).zip(map.chunks_exact(cells.len())) {
                    out[cells.start - columns.start..cells.end - columns.start].copy_from_slice(map);
                }
            }
            // As if all queries had been looked at.
            for (sums, row) in sums.chunks_exact_mut(columns.len()).zip(rows.clone()) {
                let factor = geometry.below(block, row).len() as f32 / looked_at as f32;
                for sum in sums {
                    *sum *= factor;
                }
            }
        }
    }
    let mut out = vec![0.0; TILE * TILE];
    for ((out, sums), row) in out.chunks_exact_mut(TILE).zip(sums.chunks_exact(columns.len())).zip(rows) {
        let queries = geometry.below(block, row).len() as f32;
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = sum / queries;
        }
    }
    Ok(Some(Tile { pixels: out, one_in }))
}

/// The sums below a rectangle of pixels.
fn pooled(lens: &Lens<'_>, head: usize, geometry: Geometry, block: usize, rows: Range<usize>, columns: Range<usize>) -> Result<Vec<f32>> {
    let mut sums = vec![0.0; rows.len() * columns.len()];
    for (queries, own_rows) in whole_and_rest(geometry, block, rows.clone()) {
        for (keys, own_columns) in whole_and_rest(geometry, block, columns.clone()) {
            let map = lens.pooled(0, head, queries.clone(), keys, [own_rows.len(), own_columns.len()], Pool::Sum)?;
            for (row, map) in own_rows.clone().zip(map.chunks_exact(own_columns.len())) {
                let out = &mut sums[(row - rows.start) * columns.len()..][..columns.len()];
                out[own_columns.start - columns.start..own_columns.end - columns.start].copy_from_slice(map);
            }
        }
    }
    Ok(sums)
}

/// The tokens below some pixels: those of the whole pixels, and those of the last one if the text ends within it.
fn whole_and_rest(geometry: Geometry, block: usize, pixels: Range<usize>) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let whole = pixels.end.min(geometry.n / block).max(pixels.start);
    [pixels.start..whole, whole..pixels.end]
        .into_iter()
        .filter(|pixels| !pixels.is_empty())
        .map(move |pixels| (pixels.start * block..(pixels.end * block).min(geometry.n), pixels))
}

#[cfg(test)]
mod tests {
    use heedful_translate::model::Start;
    use heedful_translate::model::config::TransformerConfig;
    use heedful_translate::model::transformer::Transformer;

    use super::*;

    fn look(n: usize) -> Look {
        let config = TransformerConfig { dim: 8, feed_forward: 8, heads: 2, encoder_layers: 1, decoder_layers: 1 };
        let model = Transformer::new(&config, 40, Start::Random(3));
        let tokens: Vec<u32> = (0..n).map(|i| 2 + (i * i % 37) as u32).collect();
        model.encoder_looks(&tokens, &mut |_| true).unwrap().unwrap().remove(0)
    }

    /// The mean over its queries of the sum over its keys, weight by weight.
    fn expected(look: &Look, head: usize, block: usize, row: usize, column: usize) -> f64 {
        let geometry = Geometry::new(look.key_count());
        let (queries, keys) = (geometry.below(block, row), geometry.below(block, column));
        let weights = look.lens().unwrap().tile(0, head, queries.clone(), keys).unwrap();
        weights.iter().map(|&p| f64::from(p)).sum::<f64>() / queries.len() as f64
    }

    #[test]
    fn levels_reach_from_one_tile_to_single_weights() {
        for (n, levels, base) in [(1, 1, None), (256, 1, None), (257, 2, None), (2048, 4, None), (2049, 5, Some(16)), (32_768, 8, Some(16))]
        {
            let geometry = Geometry::new(n);
            assert_eq!((geometry.levels(), geometry.tiles(0), geometry.block(levels - 1), geometry.base()), (levels, 1, 1, base), "{n}");
        }
        assert_eq!(Geometry::new(131_072).base(), Some(64));
    }

    #[test]
    fn tiles_are_the_pooled_weights_at_every_level() {
        let n = 4500;
        let look = look(n);
        let geometry = Geometry::new(n);
        let base = Base::build(&look, 1, |_| true).unwrap().unwrap();
        assert_eq!((base.sums.len() * 4, base.block), (geometry.base_bytes(), 16));
        for level in 0..geometry.levels() {
            let (block, last) = (geometry.block(level), geometry.tiles(level) - 1);
            for (row, column) in [(0, 0), (last, 0), (0, last), (last, last)] {
                let found = tile(&look, 1, Some(&base), level, row, column).unwrap().unwrap();
                assert_eq!((found.one_in, found.pixels.len()), (1, TILE * TILE));
                let pixels = n.div_ceil(block);
                for (y, x) in [(0, 0), (3, 200), (100, 5), (255, 255), (139, 140), (147, 147)] {
                    let (y_all, x_all) = (row * TILE + y, column * TILE + x);
                    let pixel = f64::from(found.pixels[y * TILE + x]);
                    if y_all < pixels && x_all < pixels {
                        let expected = expected(&look, 1, block, y_all, x_all);
                        assert!((pixel - expected).abs() < 1e-5 * (1.0 + expected), "level {level}: {pixel} {expected}");
                    } else {
                        assert_eq!(pixel, 0.0);
                    }
                }
            }
            assert!(tile(&look, 1, Some(&base), level, last + 1, 0).unwrap().is_none());
        }
        let whole = tile(&look, 1, Some(&base), 0, 0, 0).unwrap().unwrap();
        for row in whole.pixels.chunks(TILE).take(n.div_ceil(32)) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-3);
        }
        assert!(tile(&look, 1, Some(&base), geometry.levels(), 0, 0).unwrap().is_none());
        assert!(Base::build(&look, 0, |part| part < 0.5).unwrap().is_none(), "it can be stopped");
    }

    #[test]
    fn a_preview_looks_at_some_queries_and_says_so() {
        let n = 5000;
        let look = look(n);
        let base = Base::build(&look, 0, |_| true).unwrap().unwrap();
        let exact = tile(&look, 0, Some(&base), 0, 0, 0).unwrap().unwrap();
        let preview = tile(&look, 0, None, 0, 0, 0).unwrap().unwrap();
        assert!(preview.one_in > 1 && preview.one_in < 32, "{}", preview.one_in);
        let pixels = n.div_ceil(32);
        for (exact, preview) in exact.pixels.chunks(TILE).zip(preview.pixels.chunks(TILE)).take(pixels) {
            assert!((preview.iter().sum::<f32>() - 1.0).abs() < 1e-3, "its rows sum to 1 too");
            let difference: f32 = exact.iter().zip(preview).map(|(a, b)| (a - b).abs()).sum();
            assert!(difference < 0.5, "{difference}");
        }
    }
}
