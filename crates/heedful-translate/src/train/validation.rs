//! How good a model is on sentences that it was not trained on.

use heedful_nn::Workspace;
use rayon::prelude::*;

use crate::corpus::{EncodedPair, Referenced};
use crate::decode::{DecodeError, MaxLength, Request, SearchOptions, greedy};
use crate::model::transformer::MAX_POSITIONS;
use crate::model::{Loss, Model, Shard};
use crate::text::{EOS, Tokenizer};

/// Sentences that one task handles; fixed, so that sums do not depend on the number of threads.
const AT_ONCE: usize = 64;

/// Sentence pairs held out, and references for the translations of their sources.
pub struct Validation {
    /// Longest first, so that tasks hold sentences of similar length and the longest do not come last.
    pairs: Vec<EncodedPair>,
    sources: Vec<Vec<u32>>,
    /// The first reference of each source.
    references: Vec<Vec<String>>,
    tokenizer: Tokenizer,
}

/// The scores of one validation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValidationReport {
    /// Negative log-likelihood per target token, in nats.
    pub loss: f64,
    /// BLEU of the greedy translations, cased, 13a, first reference; from 0 to 100.
    pub bleu: f64,
    /// chrF of the same, from 0 to 100.
    pub chrf: f64,
}

impl Validation {
    /// The loss is that of `pairs`; translated are the sources of `references`.
    pub fn new(mut pairs: Vec<EncodedPair>, references: &[Referenced], tokenizer: Tokenizer) -> Self {
        pairs.sort_by_key(|pair| std::cmp::Reverse(pair.target.len()));
        let encode = |text: &str| [tokenizer.encode_ids(text), vec![EOS]].concat();
        let mut sentences: Vec<(Vec<u32>, Vec<String>)> =
            references.iter().map(|r| (encode(&r.source), r.references[..1].to_vec())).collect();
        sentences.sort_by_key(|(source, _)| std::cmp::Reverse(source.len()));
        let (sources, references) = sentences.into_iter().unzip();
        Self { pairs, sources, references, tokenizer }
    }

    /// What it measures on.
    pub(super) fn pairs(&self) -> &[EncodedPair] {
        &self.pairs
    }

    /// The scores of a model, or `None` if nothing was held out.
    ///
    /// # Errors
    /// If the model's scores are no numbers.
    pub fn evaluate(&self, model: &dyn Model) -> Result<Option<ValidationReport>, DecodeError> {
        if self.pairs.is_empty() {
            return Ok(None);
        }
        let losses: Vec<Loss> = self
            .pairs
            .par_chunks(AT_ONCE)
            .map_init(Workspace::new, |workspace, pairs| {
                let shard = Shard {
                    sources: pairs.iter().map(|p| &p.source[..]).collect(),
                    targets: pairs.iter().map(|p| &p.target[..]).collect(),
                    guide: None,
                };
                model.loss(&shard, workspace)
            })
            .collect();
        let loss = losses.into_iter().fold(Loss::default(), |sum, loss| sum + loss);
        let translations: Vec<String> = self.translate(model)?;
        let (bleu, chrf) = crate::evaluate::validation_scores(&translations, &self.references);
        Ok(Some(ValidationReport { loss: loss.nll / loss.tokens.max(1) as f64, bleu, chrf }))
    }

    fn translate(&self, model: &dyn Model) -> Result<Vec<String>, DecodeError> {
        let max_length = MaxLength { at_most: MAX_POSITIONS, ..MaxLength::default() };
        let options = SearchOptions { max_length, attention: false, ..SearchOptions::default() };
        let parts: Vec<Vec<String>> = self
            .sources
            .par_chunks(AT_ONCE)
            .map(|sources| {
                let sources: Vec<&[u32]> = sources.iter().map(|source| &source[..]).collect();
                let requests: Vec<Request<'_>> =
                    sources.iter().map(|source| Request { source_len: source.len(), ..Request::default() }).collect();
                let hypotheses = greedy(model.decoder(&sources).as_mut(), &requests, &options)?;
                Ok(hypotheses.iter().map(|hypothesis| self.tokenizer.decode(&hypothesis.tokens)).collect())
            })
            .collect::<Result<_, DecodeError>>()?;
        Ok(parts.concat())
    }
}
