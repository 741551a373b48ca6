//! Keys and values of the tokens so far, for decoding one step after the other.

use crate::lens::{Glance, attend_with};
use crate::problem::shape;
use crate::{Element, Error, Options, Result, View, ViewMut, attend};

/// The keys and values of a batch of growing sequences, stored as `T`.
///
/// Each step appends the keys and values of the new tokens and attends with their queries. With
/// [`Diagonal::BottomRight`](crate::Diagonal::BottomRight) causal options the last query stands at the last key, so that one step over
/// the cache gives what the whole sequence at once would give in its last rows.
///
/// ```
/// use heedful::{Cache, Diagonal, Options, View, ViewMut};
/// let mut cache = Cache::<f32>::new([1, 2, 16, 4], 4)?; // 1 sequence, 2 key/value heads, room for 16 tokens, width 4
/// let x = [0.5; 8];
/// let token = View::contiguous(&x, [1, 2, 1, 4])?;
/// let mut out = [0.0; 8];
/// cache.append(token, token, None)?;
/// let options = Options::new().causal(Diagonal::BottomRight);
/// cache.attend(token, &options, ViewMut::contiguous(&mut out, [1, 2, 1, 4])?, None)?;
/// assert_eq!((cache.lengths(), out), (&[1][..], x));
/// # Ok::<(), heedful::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cache<T = f32> {
    keys: Vec<T>,
    values: Vec<T>,
    heads: usize,
    capacity: usize,
    widths: [usize; 2],
    lengths: Vec<usize>,
}

impl<T: Element> Cache<T> {
    /// An empty cache for keys `[batch, kv_heads, capacity, dim]` and values `[batch, kv_heads, capacity, value_dim]`. It grows when
    /// `capacity` is not enough.
    ///
    /// # Errors
    /// If the number of elements overflows.
    pub fn new([batch, heads, capacity, dim]: [usize; 4], value_dim: usize) -> Result<Self> {
        let size = |width| crate::Layout::contiguous([batch, heads, capacity, width]).map(|_| batch * heads * capacity * width);
        let (keys, values) = (vec![T::default(); size(dim)?], vec![T::default(); size(value_dim)?]);
        Ok(Self { keys, values, heads, capacity, widths: [dim, value_dim], lengths: vec![0; batch] })
    }

    /// How many tokens each sequence has, `[batch]`.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// The keys, `[batch, kv_heads, longest, dim]`; what lies past a sequence's length is unspecified.
    pub fn keys(&self) -> View<'_, T> {
        self.view(&self.keys, self.widths[0])
    }

    /// The values, `[batch, kv_heads, longest, value_dim]`; what lies past a sequence's length is unspecified.
    pub fn values(&self) -> View<'_, T> {
        self.view(&self.values, self.widths[1])
    }

    fn view<'a>(&self, data: &'a [T], width: usize) -> View<'a, T> {
        let longest = self.lengths.iter().copied().max().unwrap_or(0);
        let strides = [self.heads * self.capacity * width, self.capacity * width, width, 1];
        View::strided(data, [self.lengths.len(), self.heads, longest, width], strides).expect("no sequence is longer than the capacity")
    }

    /// Appends keys `[batch, kv_heads, new, dim]` and values `[batch, kv_heads, new, value_dim]`: all of them, or the first `counts[b]` to
    /// sequence `b`.
    ///
    /// # Errors
    /// If shapes or counts do not fit; nothing has been appended then.
    pub fn append<S: Element>(&mut self, k: View<'_, S>, v: View<'_, S>, counts: Option<&[usize]>) -> Result<()> {
        const OPERATION: &str = "Cache::append";
        let (batch, new) = (self.lengths.len(), k.shape()[2]);
        for (operand, got, width) in [("k", k.shape(), self.widths[0]), ("v", v.shape(), self.widths[1])] {
            let wanted = [batch, self.heads, new, width];
            if got != wanted {
                return Err(shape(OPERATION, operand, got, format!("this cache takes {wanted:?}")));
            }
        }
        if let Some(counts) = counts {
            if counts.len() != batch {
                let fix = format!("give one for each of the {batch} sequences");
                return Err(Error::Length { operation: OPERATION, operand: "counts", len: counts.len(), fix });
            }
            if let Some(count) = counts.iter().find(|&&count| count > new) {
                let fix = format!("k holds {new} new tokens, so it can be {new} at most");
                return Err(Error::Option { operation: OPERATION, option: "counts", value: count.to_string(), fix });
            }
        }
        let count = |b: usize| counts.map_or(new, |counts| counts[b]);
        let needed = (0..batch).map(|b| self.lengths[b] + count(b)).max().unwrap_or(0);
        if needed > self.capacity {
            self.grow(needed.max(2 * self.capacity));
        }
        for b in 0..batch {
            for h in 0..self.heads {
                for i in 0..count(b) {
                    let row = (b * self.heads + h) * self.capacity + self.lengths[b] + i;
                    store(&k, [b, h, i], &mut self.keys[row * self.widths[0]..][..self.widths[0]]);
                    store(&v, [b, h, i], &mut self.values[row * self.widths[1]..][..self.widths[1]]);
                }
            }
            self.lengths[b] += count(b);
        }
        Ok(())
    }

    fn grow(&mut self, capacity: usize) {
        let rows = self.lengths.len() * self.heads;
        for (data, width) in [(&mut self.keys, self.widths[0]), (&mut self.values, self.widths[1])] {
            let mut larger = vec![T::default(); rows * capacity * width];
            let (old, new) = (self.capacity * width, capacity * width);
            for row in 0..rows {
                larger[row * new..][..old].copy_from_slice(&data[row * old..][..old]);
            }
            *data = larger;
        }
        self.capacity = capacity;
    }

    /// Keeps the sequences `parents`, in that order; one may be kept more than once. What a step of beam search does.
    ///
    /// # Errors
    /// If there is no such sequence.
    pub fn select(&mut self, parents: &[usize]) -> Result<()> {
        let batch = self.lengths.len();
        if let Some(parent) = parents.iter().find(|&&parent| parent >= batch) {
            let fix = format!("the cache holds {batch} sequences");
            return Err(Error::Option { operation: "Cache::select", option: "parents", value: parent.to_string(), fix });
        }
        for (data, width) in [(&mut self.keys, self.widths[0]), (&mut self.values, self.widths[1])] {
            let size = self.heads * self.capacity * width;
            *data = parents.iter().flat_map(|&parent| &data[parent * size..][..size]).copied().collect();
        }
        self.lengths = parents.iter().map(|&parent| self.lengths[parent]).collect();
        Ok(())
    }

    /// [`attend`] with these queries `[batch, heads, q_len, dim]` to the tokens of the cache. The lengths are the cache's; everything else
    /// is as in `options`. A mask or a bias has as many keys as the longest sequence.
    ///
    /// # Errors
    /// If shapes or options do not fit, or the options hold key lengths of their own.
    pub fn attend<Q: Element>(&self, q: View<'_, Q>, options: &Options<'_>, out: ViewMut<'_>, lse: Option<&mut [f32]>) -> Result<()> {
        attend(q, self.keys(), self.values(), &self.options("Cache::attend", options)?, out, lse)
    }

    /// [`attend`](Self::attend), and a glance at the weights on the way: where does the token that is being decoded look?
    ///
    /// # Errors
    /// As [`attend`](Self::attend); also if marks do not fit the keys.
    pub fn attend_with<Q: Element>(
        &self,
        q: View<'_, Q>,
        options: &Options<'_>,
        out: ViewMut<'_>,
        lse: Option<&mut [f32]>,
        glance: &mut Glance,
    ) -> Result<()> {
        attend_with(q, self.keys(), self.values(), &self.options("Cache::attend_with", options)?, out, lse, glance)
    }

    fn options<'a>(&'a self, operation: &'static str, options: &Options<'a>) -> Result<Options<'a>> {
        if options.key_lengths.is_some() {
            let fix = "the cache knows the lengths: leave it out".into();
            return Err(Error::Option { operation, option: "key_lengths", value: "set".into(), fix });
        }
        Ok(Options { key_lengths: Some(&self.lengths), ..*options })
    }
}

fn store<S: Element, T: Element>(from: &View<'_, S>, [b, h, i]: [usize; 3], to: &mut [T]) {
    for (c, to) in to.iter_mut().enumerate() {
        *to = T::from_f32(from.at([b, h, i, c]).to_f32());
    }
}
