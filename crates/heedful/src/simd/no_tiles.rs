//! Tile registers where there are none: see `tiles.rs`.

use std::ops::Range;

/// Terms of a sum that a tile instruction adds up.
pub const TERMS: usize = 32;
/// Turns while sums take in so many terms.
pub const PHASES: usize = 6;
/// Numbers times this must be finite to be rounded to thirds.
pub const HEADROOM: f32 = 128.0;

/// Proof that the CPU has AMX, which it has not.
#[derive(Clone, Copy, Debug)]
pub enum Tiles {}

/// This thread's tile registers.
#[derive(Debug)]
pub enum Registers {}

/// Numbers in thirds.
#[derive(Clone, Copy, Debug)]
pub struct Split(Tiles);

/// The left operand of a product.
#[derive(Debug, Default)]
pub struct Left;

/// The right operand of a product.
#[derive(Debug, Default)]
pub struct Right;

/// A product in tile registers.
#[derive(Debug)]
pub struct Product<'a> {
    /// `[rows][terms]`
    pub left: &'a Left,
    /// The first of its rows and terms that take part.
    pub first: [usize; 2],
    /// `[terms][columns]`
    pub right: &'a Right,
    /// Rows of the result.
    pub count: usize,
    /// `[count][columns]`
    pub out: &'a mut [f32],
    /// From row to row of the result.
    pub out_stride: usize,
    /// Whether to add to what `out` holds, rather than to overwrite it.
    pub accumulate: bool,
}

/// What is done beside products in tile registers.
pub trait Beside {
    /// Does a part of it.
    fn turn(&mut self, phase: usize);
}

impl Tiles {
    /// Splits numbers into thirds.
    pub fn split(self, _numbers: &[f32; 16]) -> Split {
        Split(self)
    }

    /// Prepares this thread's tile registers.
    pub fn open(self) -> Registers {
        match self {}
    }
}

impl Left {
    /// Takes in rows.
    pub fn fill(&mut self, tiles: Tiles, _rows: &[f32], _row_stride: usize, _count: usize, _terms: usize) {
        match tiles {}
    }

    /// Makes room.
    pub fn resize(&mut self, _count: usize, _terms: usize) {}

    /// Takes in some terms of a row.
    pub fn put(&mut self, _row: usize, _block: usize, even: Split, _odd: Split) {
        match even.0 {}
    }

    /// Lets some terms be 0.
    pub fn clear(&mut self, _rows: Range<usize>, _block: usize) {}
}

impl Right {
    /// Takes in columns.
    pub fn fill(&mut self, tiles: Tiles, _columns: &[f32], _stride: usize, _count: usize, _terms: usize) {
        match tiles {}
    }

    /// Makes room.
    pub fn resize(&mut self, _count: usize, _terms: usize) {}

    /// Takes in two terms of some columns.
    pub fn put(&mut self, _pair: usize, _block: usize, even: Split, _odd: Split) {
        match even.0 {}
    }
}

impl Registers {
    /// Computes a product.
    pub fn multiply(&self, _product: Product<'_>) {
        match *self {}
    }

    /// Computes products, with something else done beside them.
    pub fn multiply_beside<const N: usize>(&self, _products: [Option<Product<'_>>; N], _beside: &mut impl Beside) {
        match *self {}
    }
}
