//! A call after all its operands have been checked against each other: what the kernels work on.

use std::ops::Range;

use crate::plan::{Band, Part};
use crate::simd::{Tier, active_tier, best_tier};
use crate::view::Rows;
use crate::{Diagonal, Element, Error, Options, Result, View};

/// Sequences that attend each to their own keys. `Q` and `K` are how queries, and how keys and values are stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Problem<'a, Q, K> {
    pub q: View<'a, Q>,
    pub k: View<'a, K>,
    pub v: View<'a, K>,
    group: usize,
    pub scale: f32,
    pub softcap: Option<f32>,
    /// What queries are multiplied by before they meet keys: `scale`, over `softcap` if there is one. It saves the scores a multiplication.
    pub query_factor: f32,
    /// Broadcast to `[batch, heads, q_len, k_len]`.
    pub mask: Option<View<'a, bool>>,
    /// Broadcast to `[batch, heads, q_len, k_len]`.
    pub bias: Option<View<'a, f32>>,
    /// `[heads]` or `[sequences * heads]`.
    pub alibi: Option<&'a [f32]>,
    /// One that the CPU has.
    pub tier: Tier,
    diagonal: Diagonal,
    left: Option<usize>,
    right: Option<usize>,
    key_lengths: Option<&'a [usize]>,
    key_starts: Option<&'a [usize]>,
    offsets: Option<[&'a [usize]; 2]>,
}

/// The queries and keys of one sequence, as places in the tensors.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    /// Its number among the sequences.
    pub index: usize,
    pub batch: usize,
    /// Positions of its queries in `q`.
    pub queries: Range<usize>,
    /// The position in `k` of the key that [`band`](Self::band) calls 0.
    pub first_key: usize,
    /// How many positions in `k` are its own, those outside its lengths included.
    pub key_count: usize,
    /// Who sees whom, counted from the sequence's own first query and key.
    pub band: Band,
}

impl<'a, Q: Element, K: Element> Problem<'a, Q, K> {
    /// Checks a batch `[batch, heads, len, dim]`.
    #[inline(always)]
    pub fn new(operation: &'static str, q: View<'a, Q>, k: View<'a, K>, v: View<'a, K>, options: &Options<'a>) -> Result<Self> {
        let mut problem = Self::unmasked(operation, q, k, v, options)?;
        let [batch, heads, q_len, _] = q.shape();
        let k_len = k.shape()[2];
        let scores = [batch, heads, q_len, k_len];
        if k.shape()[0] != batch {
            return Err(shape(operation, "k", k.shape(), format!("its batch must be that of q, {batch}")));
        }
        if options.key_lengths.is_some() || options.key_starts.is_some() {
            check_lengths(operation, batch, k_len, options)?;
        }
        if let Some(mask) = &options.mask {
            problem.mask = Some(mask.broadcast(scores).ok_or_else(|| not_scores(operation, "mask", mask.shape(), scores))?);
        }
        if let Some(bias) = &options.bias {
            problem.bias = Some(bias.broadcast(scores).ok_or_else(|| not_scores(operation, "bias", bias.shape(), scores))?);
        }
        problem.check_alibi(operation)?;
        Ok(problem)
    }

    /// Checks packed sequences `[1, heads, total, dim]`: sequence `i` is `offsets[i]..offsets[i + 1]`.
    pub fn packed(
        operation: &'static str,
        q: View<'a, Q>,
        k: View<'a, K>,
        v: View<'a, K>,
        offsets: [&'a [usize]; 2],
        options: &Options<'a>,
    ) -> Result<Self> {
        let mut problem = Self::unmasked(operation, q, k, v, options)?;
        for (name, tensor) in [("q", q.shape()), ("k", k.shape())] {
            if tensor[0] != 1 {
                return Err(shape(operation, name, tensor, "packed sequences lie in a batch of 1: [1, heads, total, dim]"));
            }
        }
        for (operand, offsets, total) in [("offsets_q", offsets[0], q.shape()[2]), ("offsets_k", offsets[1], k.shape()[2])] {
            let ascending = offsets.is_sorted() && offsets.first() == Some(&0) && offsets.last() == Some(&total);
            if !ascending {
                let fix = format!("offsets must ascend from 0 to the number of packed tokens, {total}");
                return Err(Error::Length { operation, operand, len: offsets.len(), fix });
            }
        }
        if offsets[0].len() != offsets[1].len() {
            let fix = format!("offsets_q has {}: both must name the same sequences", offsets[0].len());
            return Err(Error::Length { operation, operand: "offsets_k", len: offsets[1].len(), fix });
        }
        let padded = [
            ("mask", options.mask.is_some()),
            ("bias", options.bias.is_some()),
            ("key_lengths", options.key_lengths.is_some()),
            ("key_starts", options.key_starts.is_some()),
        ];
        if let Some((option, _)) = padded.into_iter().find(|&(_, set)| set) {
            let fix = "packed sequences have no common shape for it: leave it out, or pad and use `attend`".into();
            return Err(Error::Option { operation, option, value: "set".into(), fix });
        }
        problem.offsets = Some(offsets);
        problem.check_alibi(operation)?;
        Ok(problem)
    }

    /// The problem without mask, bias and offsets, of operands that [`check_operands`] has seen.
    #[inline(always)]
    fn unmasked(operation: &'static str, q: View<'a, Q>, k: View<'a, K>, v: View<'a, K>, options: &Options<'a>) -> Result<Self> {
        let tier = check_operands(operation, q.shape(), k.shape(), v.shape(), options)?;
        let (heads, kv_heads, dim) = (q.shape()[1], k.shape()[1], q.shape()[3]);
        let scale = options.scale.unwrap_or(1.0 / (dim.max(1) as f32).sqrt());
        Ok(Self {
            q,
            k,
            v,
            group: if heads == kv_heads { 1 } else { heads / kv_heads.max(1) },
            scale,
            softcap: options.softcap,
            query_factor: scale * options.softcap.map_or(1.0, f32::recip),
            mask: None,
            bias: None,
            alibi: options.alibi,
            tier,
            diagonal: options.diagonal,
            left: options.left,
            right: if options.causal { Some(0) } else { options.right },
            key_lengths: options.key_lengths,
            key_starts: options.key_starts,
            offsets: None,
        })
    }

    /// Checks that there is a slope for each head, or for each head of each sequence.
    #[inline]
    fn check_alibi(&self, operation: &'static str) -> Result<()> {
        let (heads, sequences) = (self.q.shape()[1], self.sequences());
        if let Some(slopes) = self.alibi
            && slopes.len() != heads
            && slopes.len() != sequences * heads
        {
            let fix = format!("give one for each of the {heads} heads, or for each head of the {sequences} sequences");
            return Err(Error::Length { operation, operand: "alibi", len: slopes.len(), fix });
        }
        Ok(())
    }

    /// How many query heads share a key/value head.
    #[inline]
    pub fn group(&self) -> usize {
        self.group
    }

    pub fn kv_heads(&self) -> usize {
        self.k.shape()[1]
    }

    /// `[dim, value_dim]`
    pub fn dims(&self) -> [usize; 2] {
        [self.q.shape()[3], self.v.shape()[3]]
    }

    pub fn sequences(&self) -> usize {
        self.offsets.map_or(self.q.shape()[0], |[offsets, _]| offsets.len() - 1)
    }

    #[inline]
    pub fn sequence(&self, index: usize) -> Sequence {
        if let Some([q, k]) = self.offsets {
            let (queries, keys) = (q[index]..q[index + 1], k[index]..k[index + 1]);
            let band = self.band(queries.len(), 0..keys.len());
            return Sequence { index, batch: 0, queries, first_key: keys.start, key_count: keys.len(), band };
        }
        let (q_len, key_count) = (self.q.shape()[2], self.k.shape()[2]);
        let end = self.key_lengths.map_or(key_count, |lengths| lengths[index]);
        let start = self.key_starts.map_or(0, |starts| starts[index]).min(end);
        Sequence { index, batch: index, queries: 0..q_len, first_key: 0, key_count, band: self.band(q_len, start..end) }
    }

    /// All sequences and heads.
    pub fn whole(&self) -> Part {
        Part { sequences: 0..self.sequences(), kv_heads: 0..self.kv_heads() }
    }

    /// The rows of queries of a part.
    pub fn query_rows(&self, part: &Part) -> Rows {
        let group = self.group();
        let heads = part.kv_heads.start * group..part.kv_heads.end * group;
        rows(part, heads, self.q.shape()[2], self.offsets.map(|[q, _]| q))
    }

    /// The rows of keys of a part.
    pub fn key_rows(&self, part: &Part) -> Rows {
        rows(part, part.kv_heads.clone(), self.k.shape()[2], self.offsets.map(|[_, k]| k))
    }

    fn band(&self, q_len: usize, keys: Range<usize>) -> Band {
        let offset = match self.diagonal {
            Diagonal::TopLeft => 0,
            Diagonal::BottomRight => keys.end as isize - q_len as isize,
            Diagonal::Offset(offset) => offset,
        };
        Band { keys, offset, left: self.left, right: self.right }
    }

    /// Checks that a head and a query of a sequence exist.
    pub fn check_place(
        &self,
        operation: &'static str,
        sequence: usize,
        head: usize,
        queries: &Range<usize>,
        keys: &Range<usize>,
    ) -> Result<()> {
        let refuse = |option, value: String, fix: String| Err(Error::Option { operation, option, value, fix });
        if sequence >= self.sequences() {
            return refuse("sequence", sequence.to_string(), format!("there are {}", self.sequences()));
        }
        let heads = self.q.shape()[1];
        if head >= heads {
            return refuse("head", head.to_string(), format!("there are {heads}"));
        }
        let sequence = self.sequence(sequence);
        for (option, range, len) in [("queries", queries, sequence.queries.len()), ("keys", keys, sequence.key_count)] {
            if range.start > range.end || range.end > len {
                return refuse(option, format!("{range:?}"), format!("the sequence has {len}"));
            }
        }
        Ok(())
    }

    /// The ALiBi slope of a head; 0 without ALiBi.
    pub fn slope(&self, sequence: usize, head: usize) -> f32 {
        let heads = self.q.shape()[1];
        self.alibi.map_or(0.0, |slopes| if slopes.len() == heads { slopes[head] } else { slopes[sequence * heads + head] })
    }

    /// Checks a tensor `[batch, heads, q_len, value_dim]`.
    #[inline]
    pub fn check_context(&self, operation: &'static str, operand: &'static str, got: [usize; 4]) -> Result<()> {
        let [batch, heads, q_len, _] = self.q.shape();
        let wanted = [batch, heads, q_len, self.v.shape()[3]];
        if got == wanted { Ok(()) } else { Err(shape(operation, operand, got, format!("it must be {wanted:?}"))) }
    }

    /// Checks a slice `[batch, heads, q_len]`.
    pub fn check_lse(&self, operation: &'static str, len: usize) -> Result<()> {
        let [batch, heads, q_len, _] = self.q.shape();
        let wanted = batch * heads * q_len;
        let fix = || format!("it must hold [{batch}, {heads}, {q_len}], that is {wanted}");
        if len == wanted { Ok(()) } else { Err(Error::Length { operation, operand: "lse", len, fix: fix() }) }
    }
}

/// Checks all but mask, bias and what depends on the batch; returns the tier to use.
fn check_operands(operation: &'static str, q: [usize; 4], k: [usize; 4], v: [usize; 4], options: &Options<'_>) -> Result<Tier> {
    let ([_, heads, _, dim], [_, kv_heads, _, k_dim]) = (q, k);
    if k_dim != dim {
        return Err(shape(operation, "k", k, format!("its last dimension must be that of q, {dim}")));
    }
    if v[..3] != k[..3] {
        return Err(shape(operation, "v", v, format!("batch, heads and length must be those of k, {:?}", &k[..3])));
    }
    if heads != kv_heads && heads > 0 && (kv_heads == 0 || heads % kv_heads != 0) {
        return Err(shape(operation, "k", k, format!("its heads must divide the {heads} heads of q, for each to serve a group")));
    }
    let refuse = |option, value: f32, fix: &str| Err(Error::Option { operation, option, value: value.to_string(), fix: fix.into() });
    if let Some(scale) = options.scale
        && !scale.is_finite()
    {
        return refuse("scale", scale, "it must be a finite number");
    }
    // Queries are multiplied by `scale / softcap` beforehand, which must neither overflow nor lose digits.
    if let Some(softcap) = options.softcap
        && !(1e-15..=1e15).contains(&softcap)
    {
        return refuse("softcap", softcap, "it must be a positive number between 1e-15 and 1e15; leave it out for no cap");
    }
    let tier = options.tier.unwrap_or_else(active_tier);
    if !tier.is_available() {
        let fix = format!("this CPU has {} at best: force no tier, or a lower one", best_tier());
        return Err(Error::Option { operation, option: "tier", value: tier.to_string(), fix });
    }
    Ok(tier)
}

/// Checks how many keys the sequences have and where these start.
fn check_lengths(operation: &'static str, batch: usize, k_len: usize, options: &Options<'_>) -> Result<()> {
    for (option, lengths) in [("key_lengths", options.key_lengths), ("key_starts", options.key_starts)] {
        let Some(lengths) = lengths else { continue };
        if lengths.len() != batch {
            let fix = format!("give one for each of the {batch} sequences of the batch");
            return Err(Error::Length { operation, operand: option, len: lengths.len(), fix });
        }
        if let Some(length) = lengths.iter().find(|&&length| length > k_len) {
            let fix = format!("k has {k_len} positions, so it can be {k_len} at most");
            return Err(Error::Option { operation, option, value: length.to_string(), fix });
        }
    }
    Ok(())
}

fn rows(part: &Part, heads: Range<usize>, len: usize, offsets: Option<&[usize]>) -> Rows {
    let sequences = &part.sequences;
    match offsets {
        Some(offsets) => [0..1, heads, offsets[sequences.start]..offsets[sequences.end]],
        None => [sequences.clone(), heads, 0..len],
    }
}

#[cold]
pub(crate) fn shape(operation: &'static str, operand: &'static str, shape: [usize; 4], fix: impl Into<String>) -> Error {
    Error::Shape { operation, operand, shape: shape.to_vec(), fix: fix.into() }
}

#[cold]
fn not_scores(operation: &'static str, operand: &'static str, got: [usize; 4], scores: [usize; 4]) -> Error {
    shape(operation, operand, got, format!("each dimension must be 1 or that of the scores, {scores:?}"))
}
