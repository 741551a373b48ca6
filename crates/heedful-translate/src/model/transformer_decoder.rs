//! The Transformer's decoder, one token of every row at a time.

use heedful_nn::incremental::{Cache, Imposed, Look};
use heedful_nn::{Dropout, Workspace};

use super::Decoder;
use super::packed::Packed;
use super::transformer::{MAX_POSITIONS, Transformer};

/// Rows that grow by a token at each step; see [`Decoder`].
pub(super) struct TransformerDecoder<'m> {
    model: &'m Transformer,
    /// Keys and values of the source for each layer.
    memory: Vec<Vec<f32>>,
    /// Sentence `i` of the source is tokens `offsets[i]..offsets[i + 1]`.
    offsets: Vec<usize>,
    /// Which sentence each row translates.
    sentence: Vec<usize>,
    caches: Vec<Cache>,
    /// Where rows have to look at the next step.
    imposed: Vec<Imposed>,
    /// How many tokens were fed.
    length: usize,
    logits: Vec<f32>,
    /// For each row `[layers, heads, source_len]`.
    attention: Vec<Vec<f32>>,
    workspace: Workspace,
}

impl<'m> TransformerDecoder<'m> {
    pub fn new(model: &'m Transformer, sources: &[&[u32]]) -> Self {
        let mut workspace = Workspace::new();
        let source = Packed::new(sources);
        let output = model.memory(&source, &mut workspace);
        let parameters = super::Model::parameters(model);
        let memory = model.decoder.iter().map(|layer| layer.cross.project_memory(parameters, &output, &mut workspace)).collect();
        workspace.give(output);
        Self {
            model,
            memory,
            offsets: source.offsets,
            sentence: (0..sources.len()).collect(),
            caches: model.decoder.iter().map(|_| Cache::new(sources.len())).collect(),
            imposed: Vec::new(),
            length: 0,
            logits: Vec::new(),
            attention: vec![Vec::new(); sources.len()],
            workspace,
        }
    }

    /// Runs of rows that translate the same sentence.
    fn looks(&self) -> Vec<Look> {
        let mut end = 0;
        self.sentence
            .chunk_by(|a, b| a == b)
            .map(|run| {
                let start = end;
                end += run.len();
                Look { rows: start..end, memory: self.offsets[run[0]]..self.offsets[run[0] + 1] }
            })
            .collect()
    }
}

impl Decoder for TransformerDecoder<'_> {
    fn rows(&self) -> usize {
        self.sentence.len()
    }

    fn impose(&mut self, look: Imposed) {
        self.imposed.push(look);
    }

    fn step(&mut self, tokens: &[u32]) -> &[f32] {
        let (model, workspace) = (self.model, &mut self.workspace);
        let p = super::Model::parameters(model);
        let dim = model.config.dim;
        let mut x = workspace.take(tokens.len() * dim);
        model.embedding.forward(p, tokens, model.embedding_scale(), &mut x);
        for row in x.chunks_exact_mut(dim) {
            // Past the last position that training could have seen, the last one stays; the search cuts a sentence long before.
            model.positions.add(self.length.min(MAX_POSITIONS - 1), row);
        }
        self.length += 1;
        for (row, &sentence) in self.attention.iter_mut().zip(&self.sentence) {
            row.clear();
            row.reserve(model.decoder.len() * model.config.heads * (self.offsets[sentence + 1] - self.offsets[sentence]));
        }
        let looks = self.looks();
        let workspace = &mut self.workspace;
        for ((layer, cache), memory) in model.decoder.iter().zip(&mut self.caches).zip(&self.memory) {
            let normed = layer.attention_norm.normalise(p, &x, workspace);
            add(&mut x, layer.attention.step(p, &normed, cache, workspace), normed, workspace);
            let normed = layer.cross_norm.normalise(p, &x, workspace);
            let weights = |row: usize, _, p: &[f32]| self.attention[row].extend_from_slice(p);
            add(&mut x, layer.cross.step(p, &normed, memory, &looks, &self.imposed, weights, workspace), normed, workspace);
            let normed = layer.feed_forward_norm.normalise(p, &x, workspace);
            let (y, hidden) = layer.feed_forward.forward(p, &normed, Dropout::OFF, workspace);
            workspace.give(hidden);
            add(&mut x, y, normed, workspace);
        }
        self.imposed.clear();
        let normed = model.decoder_norm.normalise(p, &x, workspace);
        self.logits.resize(tokens.len() * model.embedding.vocabulary(), 0.0);
        model.output.logits(p, &normed, &mut self.logits);
        workspace.give(normed);
        workspace.give(x);
        &self.logits
    }

    fn attention(&self, row: usize) -> &[f32] {
        &self.attention[row]
    }

    fn select(&mut self, rows: &[usize]) {
        for cache in &mut self.caches {
            cache.select(rows, 2 * self.model.config.dim);
        }
        self.sentence = rows.iter().map(|&row| self.sentence[row]).collect();
        self.attention = rows.iter().map(|&row| self.attention[row].clone()).collect();
    }
}

/// `x += branch`; both buffers that led to it are given back.
fn add(x: &mut [f32], branch: Vec<f32>, normed: Vec<f32>, workspace: &mut Workspace) {
    for (x, y) in x.iter_mut().zip(&branch) {
        *x += y;
    }
    workspace.give(branch);
    workspace.give(normed);
}
