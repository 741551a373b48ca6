//! Every look of a Transformer, kept so that any weight can be asked for: queries, keys and log-sum-exp of each layer, never n x n.
//!
//! A sentence pair gives the self-attention of encoder and decoder and the cross-attention between them. The encoder alone reads texts of any
//! length, far beyond the sentences that it was trained on: positions simply go on. Products run over blocks of rows on all threads of rayon's
//! current pool; attention is the engine's, over blocks of queries, between which whoever waits is told how far it is and can stop it.

use heedful::lens::Lens;
use heedful::{Diagonal, Options, Result, View, ViewMut, attend};
use heedful_nn::embedding::SinusoidalPositions;
use heedful_nn::{Dropout, FeedForward, LayerNorm, Linear, Parameters, Workspace};
use rayon::prelude::*;

use super::Model;
use super::transformer::Transformer;
use crate::text::BOS;

/// One layer of attention after it has looked.
#[derive(Debug)]
pub struct Look {
    /// `[queries, dim]`, heads side by side.
    queries: Vec<f32>,
    /// `[keys, dim]`, heads side by side.
    keys: Vec<f32>,
    /// `[heads, queries]`
    lse: Vec<f32>,
    heads: usize,
    dim: usize,
    causal: bool,
}

/// All looks of a Transformer for one sentence pair, layer by layer from the lowest.
#[derive(Debug)]
pub struct Looks {
    /// The source at itself.
    pub encoder: Vec<Look>,
    /// The target at its own beginning.
    pub decoder: Vec<Look>,
    /// The target at the source.
    pub cross: Vec<Look>,
}

impl Look {
    /// How many heads looked.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// How many queries each head has.
    pub fn query_count(&self) -> usize {
        self.queries.len() / self.dim
    }

    /// How many keys each head has.
    pub fn key_count(&self) -> usize {
        self.keys.len() / self.dim
    }

    /// The bytes that it takes.
    pub fn bytes(&self) -> usize {
        size_of::<f32>() * (self.queries.len() + self.keys.len() + self.lse.len())
    }

    /// A look into all of it.
    ///
    /// # Errors
    /// None, for what this module makes.
    pub fn lens(&self) -> Result<Lens<'_>> {
        let options = if self.causal { Options::new().causal(Diagonal::TopLeft) } else { Options::new() };
        Lens::new(view(&self.queries, self.dim, self.heads)?, view(&self.keys, self.dim, self.heads)?, &options, &self.lse)
    }

    /// Some of its queries as a look of their own, for whoever cannot wait for all. Causal looks cannot be thinned out: a query's place is
    /// its place among the keys.
    ///
    /// # Panics
    /// If there is no such query or head, or if the look is causal.
    pub fn thinned(&self, head: usize, queries: impl Iterator<Item = usize>) -> Thinned<'_> {
        assert!(!self.causal, "queries of a causal look have a place");
        let (width, n) = (self.dim / self.heads, self.query_count());
        let (mut rows, mut lse) = (Vec::new(), Vec::new());
        for query in queries {
            rows.extend_from_slice(&self.queries[query * self.dim + head * width..][..width]);
            lse.push(self.lse[head * n + query]);
        }
        Thinned { of: self, head, queries: rows, lse }
    }
}

/// Some queries of one head of a [`Look`].
#[derive(Debug)]
pub struct Thinned<'a> {
    of: &'a Look,
    head: usize,
    queries: Vec<f32>,
    lse: Vec<f32>,
}

impl Thinned<'_> {
    /// A look into it: the head is head 0, the queries count from 0.
    ///
    /// # Errors
    /// None, for what this module makes.
    pub fn lens(&self) -> Result<Lens<'_>> {
        let Look { keys, dim, heads, .. } = self.of;
        let (width, n) = (dim / heads, self.of.key_count());
        let k = View::strided(&keys[self.head * width..], [1, 1, n, width], [n * dim, width, *dim, 1])?;
        let q = View::contiguous(&self.queries, [1, 1, self.lse.len(), width])?;
        Lens::new(q, k, &Options::new(), &self.lse)
    }
}

/// `[tokens, dim]` as `[1, heads, tokens, dim / heads]`.
fn view(data: &[f32], dim: usize, heads: usize) -> Result<View<'_>> {
    let (n, width) = (data.len() / dim, dim / heads);
    View::strided(data, [1, heads, n, width], [n * dim, width, dim, 1])
}

/// Rows of a product that one thread computes at a time: their buffers stay in its cache.
const ROWS: usize = 256;
/// Weights that are computed between two calls of `go_on`: a few hundredths of a second.
const WEIGHTS: usize = 1 << 24;

/// What the layers of one pass share.
struct Pass<'a> {
    parameters: &'a Parameters,
    heads: usize,
    dim: usize,
    /// Told the part of the whole that is done; false stops.
    go_on: &'a mut dyn FnMut(f32) -> bool,
    /// Of the attention layers, how many are done and how many there are.
    done: usize,
    all: usize,
}

impl Transformer {
    /// All looks for a source and its target, which both end with `EOS`, or as they end where they were cut.
    ///
    /// # Errors
    /// None, for tokens of this model's vocabulary.
    ///
    /// # Panics
    /// If a token is not in the vocabulary.
    pub fn looks(&self, source: &[u32], target: &[u32]) -> Result<Looks> {
        let (encoder_layers, decoder_layers) = (self.encoder.len(), self.decoder.len());
        let mut always = |_: f32| true;
        let mut pass = self.pass(encoder_layers + 2 * decoder_layers, &mut always);
        let mut memory = self.embedded(source);
        let mut encoder = Vec::with_capacity(encoder_layers);
        for layer in &self.encoder {
            let norms = [&layer.attention_norm, &layer.feed_forward_norm];
            encoder.extend(pass.self_layer(&mut memory, norms[0], &layer.attention.input, &layer.attention.output, false)?);
            pass.feed_forward(&mut memory, norms[1], &layer.feed_forward);
        }
        let memory = pass.normed(&memory, &self.encoder_norm);
        let inputs: Vec<u32> = std::iter::once(BOS).chain(target.iter().copied()).take(target.len()).collect();
        let mut x = self.embedded(&inputs);
        let (mut decoder, mut cross) = (Vec::with_capacity(decoder_layers), Vec::with_capacity(decoder_layers));
        for layer in &self.decoder {
            decoder.extend(pass.self_layer(&mut x, &layer.attention_norm, &layer.attention.input, &layer.attention.output, true)?);
            let normed = pass.normed(&x, &layer.cross_norm);
            let queries = pass.linear(&normed, &layer.cross.query);
            let [keys, values] = split(&pass.linear(&memory, &layer.cross.key_value), self.config.dim);
            cross.extend(pass.attend(&mut x, queries, keys, &values, &layer.cross.output, false)?);
            pass.feed_forward(&mut x, &layer.feed_forward_norm, &layer.feed_forward);
        }
        Ok(Looks { encoder, decoder, cross })
    }

    /// The encoder's looks at a text of any length: `None` if it was stopped.
    ///
    /// `go_on` is told, now and then, which part is done, and says whether to go on. Beyond the length of the sentences in training, positions
    /// are ones that the model has never seen.
    ///
    /// # Errors
    /// None, for tokens of this model's vocabulary.
    ///
    /// # Panics
    /// If a token is not in the vocabulary.
    pub fn encoder_looks(&self, tokens: &[u32], go_on: &mut dyn FnMut(f32) -> bool) -> Result<Option<Vec<Look>>> {
        let mut pass = self.pass(self.encoder.len(), go_on);
        let mut x = self.embedded(tokens);
        let mut looks = Vec::with_capacity(self.encoder.len());
        for (i, layer) in self.encoder.iter().enumerate() {
            let Some(look) = pass.self_layer(&mut x, &layer.attention_norm, &layer.attention.input, &layer.attention.output, false)? else {
                return Ok(None);
            };
            looks.push(look);
            if i + 1 < self.encoder.len() {
                pass.feed_forward(&mut x, &layer.feed_forward_norm, &layer.feed_forward);
            }
        }
        Ok(Some(looks))
    }

    /// The largest number of bytes that [`encoder_looks`](Self::encoder_looks) holds on the way, and that its result holds, for `tokens` tokens.
    pub fn encoder_look_bytes(&self, tokens: usize) -> [usize; 2] {
        let row = size_of::<f32>() * self.config.dim;
        let kept = self.encoder.len() * (2 * row + size_of::<f32>() * self.config.heads);
        // On the way: x, its norm, values, context, and the projections of all three.
        [tokens * (kept + 7 * row), tokens * kept]
    }

    fn pass<'a>(&'a self, all: usize, go_on: &'a mut dyn FnMut(f32) -> bool) -> Pass<'a> {
        Pass { parameters: self.parameters(), heads: self.config.heads, dim: self.config.dim, go_on, done: 0, all }
    }

    fn embedded(&self, tokens: &[u32]) -> Vec<f32> {
        let mut x = vec![0.0; tokens.len() * self.config.dim];
        self.embedding.forward(self.parameters(), tokens, self.embedding_scale(), &mut x);
        if tokens.len() <= self.positions.length() {
            self.positions.add(0, &mut x);
        } else {
            SinusoidalPositions::new(tokens.len(), self.config.dim).add(0, &mut x);
        }
        x
    }
}

/// `f(rows of x, rows of y)` for blocks of rows, `x [n, inputs]` to `y [n, outputs]`.
fn by_rows(x: &[f32], inputs: usize, outputs: usize, f: impl Fn(&[f32], &mut [f32], &mut Workspace) + Sync) -> Vec<f32> {
    let mut y = vec![0.0; x.len() / inputs * outputs];
    y.par_chunks_mut(ROWS * outputs).zip(x.par_chunks(ROWS * inputs)).for_each_init(Workspace::new, |workspace, (y, x)| f(x, y, workspace));
    y
}

impl Pass<'_> {
    fn normed(&self, x: &[f32], norm: &LayerNorm) -> Vec<f32> {
        by_rows(x, self.dim, self.dim, |x, y, workspace| {
            let normed = norm.normalise(self.parameters, x, workspace);
            y.copy_from_slice(&normed);
            workspace.give(normed);
        })
    }

    fn linear(&self, x: &[f32], linear: &Linear) -> Vec<f32> {
        by_rows(x, linear.inputs(), linear.outputs(), |x, y, _| linear.forward_into(self.parameters, x, y))
    }

    /// `x += feed_forward(norm(x))`
    fn feed_forward(&self, x: &mut [f32], norm: &LayerNorm, layer: &FeedForward) {
        x.par_chunks_mut(ROWS * self.dim).for_each_init(Workspace::new, |workspace, x| {
            let normed = norm.normalise(self.parameters, x, workspace);
            let (y, hidden) = layer.forward(self.parameters, &normed, Dropout::OFF, workspace);
            add(x, &y);
            for buffer in [normed, y, hidden] {
                workspace.give(buffer);
            }
        });
    }

    /// `x += attention(norm(x))`
    fn self_layer(&mut self, x: &mut [f32], norm: &LayerNorm, input: &Linear, output: &Linear, causal: bool) -> Result<Option<Look>> {
        let normed = self.normed(x, norm);
        let [queries, keys, values] = split(&self.linear(&normed, input), self.dim);
        drop(normed);
        self.attend(x, queries, keys, &values, output, causal)
    }

    /// `x += output(softmax(q k^T / sqrt(width)) v)`, block of queries by block.
    fn attend(
        &mut self,
        x: &mut [f32],
        queries: Vec<f32>,
        keys: Vec<f32>,
        values: &[f32],
        output: &Linear,
        causal: bool,
    ) -> Result<Option<Look>> {
        let (dim, heads) = (self.dim, self.heads);
        let (n, m) = (queries.len() / dim, keys.len() / dim);
        let [k, v] = [view(&keys, dim, heads)?, view(values, dim, heads)?];
        let mut context = vec![0.0; queries.len()];
        let mut lse = vec![0.0; heads * n];
        let block = (WEIGHTS / (m * heads).max(1)).clamp(64, n.max(64));
        let mut block_lse = Vec::new();
        for (i, (q, out)) in queries.chunks(block * dim).zip(context.chunks_mut(block * dim)).enumerate() {
            let (first, count) = (i * block, q.len() / dim);
            if !(self.go_on)((self.done as f32 + first as f32 / n as f32) / self.all as f32) {
                return Ok(None);
            }
            let mut options = Options::new();
            if causal {
                options = options.causal(Diagonal::Offset(first as isize));
            }
            block_lse.resize(heads * count, 0.0);
            let out = ViewMut::strided(out, [1, heads, count, dim / heads], [count * dim, dim / heads, dim, 1])?;
            attend(view(q, dim, heads)?, k, v, &options, out, Some(&mut block_lse))?;
            for (head, block) in block_lse.chunks_exact(count).enumerate() {
                lse[head * n + first..][..count].copy_from_slice(block);
            }
        }
        self.done += 1;
        add(x, &self.linear(&context, output));
        Ok(Some(Look { queries, keys, lse, heads, dim, causal }))
    }
}

/// The parts, each `dim` wide, of rows that hold them side by side.
fn split<const PARTS: usize>(rows: &[f32], dim: usize) -> [Vec<f32>; PARTS] {
    std::array::from_fn(|part| rows.chunks_exact(PARTS * dim).flat_map(|row| &row[part * dim..(part + 1) * dim]).copied().collect())
}

fn add(sum: &mut [f32], x: &[f32]) {
    for (sum, x) in sum.iter_mut().zip(x) {
        *sum += x;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Start;
    use super::super::config::TransformerConfig;
    use super::*;
    use crate::text::EOS;

    fn tiny() -> Transformer {
        let config = TransformerConfig { dim: 12, feed_forward: 16, heads: 3, encoder_layers: 2, decoder_layers: 2 };
        let mut model = Transformer::new(&config, 20, Start::Random(4));
        for (i, value) in model.parameters_mut().values_mut().iter_mut().enumerate() {
            *value += (i * 7919 % 101) as f32 / 200.0 - 0.25;
        }
        model
    }

    #[test]
    fn the_looks_are_those_of_the_decoder() {
        let (model, source, target) = (tiny(), [5, 9, 4, 17, EOS], [8, 2, 11, EOS]);
        let looks = model.looks(&source, &target).unwrap();
        assert_eq!([looks.encoder.len(), looks.decoder.len(), looks.cross.len()], [2; 3]);
        let mut decoder = Model::decoder(&model, &[&source]);
        for (step, token) in [BOS, 8, 2, 11].into_iter().enumerate() {
            decoder.step(&[token]);
            let expected = decoder.attention(0);
            for (layer, look) in looks.cross.iter().enumerate() {
                for head in 0..3 {
                    let row = look.lens().unwrap().row(0, head, step).unwrap();
                    let expected = &expected[(layer * 3 + head) * 5..][..5];
                    assert!(row.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{row:?} {expected:?}");
                }
            }
        }
        for look in looks.encoder.iter().chain(&looks.decoder) {
            let n = look.query_count();
            let lens = look.lens().unwrap();
            for (query, row) in lens.tile(0, 2, 0..n, 0..n).unwrap().chunks(n).enumerate() {
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                assert!(!look.causal || row[query + 1..].iter().all(|&p| p == 0.0), "the decoder does not look ahead");
            }
        }
    }

    #[test]
    fn a_long_text_is_read_in_blocks_and_can_be_stopped() {
        let model = tiny();
        let tokens: Vec<u32> = (0..6000).map(|i| 2 + (i * i % 17) as u32).collect();
        let mut parts = Vec::new();
        let mut note = |part| {
            parts.push(part);
            true
        };
        let looks = model.encoder_looks(&tokens, &mut note).unwrap().unwrap();
        assert!(parts.len() > 8 && parts.is_sorted() && parts.iter().all(|part| (0.0..1.0).contains(part)), "{parts:?}");
        assert_eq!(looks.iter().map(Look::bytes).sum::<usize>(), model.encoder_look_bytes(6000)[1]);
        // Rows sum to 1 only if queries, keys and log-sum-exp belong together, at every place and head.
        for look in &looks {
            let lens = look.lens().unwrap();
            for (head, query) in [(0, 0), (1, 2999), (2, 5999)] {
                let row = lens.row(0, head, query).unwrap();
                assert!((row.iter().map(|&p| f64::from(p)).sum::<f64>() - 1.0).abs() < 1e-4);
                let thinned = look.thinned(head, [17, query].into_iter());
                let same = thinned.lens().unwrap().row(0, 0, 1).unwrap();
                assert!(row.iter().zip(&same).all(|(a, b)| (a - b).abs() < 1e-6));
            }
        }
        assert!(model.encoder_looks(&tokens, &mut |part| part < 0.6).unwrap().is_none());
    }

    #[test]
    fn a_short_text_is_a_sentence() {
        let (model, source) = (tiny(), [5, 9, 4, 17, EOS]);
        let (long, short) = (model.encoder_looks(&source, &mut |_| true).unwrap().unwrap(), model.looks(&source, &[EOS]).unwrap());
        for (long, short) in long.iter().zip(&short.encoder) {
            assert_eq!((&long.queries, &long.keys, &long.lse), (&short.queries, &short.keys, &short.lse));
        }
    }
}
