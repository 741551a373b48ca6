//! Which words of given translations belong together: forced decoding, read in several ways at once.

use std::ops::Range;

use rayon::prelude::*;

use super::{Job, TranslateError, TranslateOptions, Translator, batches};
use crate::decode::{Alignment, Reading, Request, force};
use crate::model::CrossAttention;
use crate::text::EOS;

impl Translator {
    /// How much each target word of given translations looked at each source word, by each of `readings`: for each pair, one alignment a reading.
    /// Words are what white space separates, as in files of word alignments; what normalisation leaves nothing of is no word. A side without words
    /// has nothing that could be aligned.
    ///
    /// # Errors
    /// If a side is too long for the model, the model has no attention or not what a reading names, or its weights are damaged.
    pub fn align<S: AsRef<str> + Sync>(
        &self,
        pairs: &[(S, S)],
        readings: &[Reading],
        options: &TranslateOptions,
    ) -> Result<Vec<Vec<Alignment>>, TranslateError> {
        options.check()?;
        let model = self.model.cross_attention().ok_or(TranslateError::NoAttention)?;
        for reading in readings {
            reading.check(model)?;
        }
        let encode = |(index, (source, target)): (usize, &(S, S))| {
            let mut tokens = self.tokenizer.encode_ids(target.as_ref());
            tokens.push(EOS);
            self.check_length(index, target.as_ref(), &(0..target.as_ref().len()), tokens.len())?;
            let source = source.as_ref();
            let job = Job::new(index, 0..source.len(), self.tokenizer.encode(source), tokens);
            self.check_length(index, source, &job.range, job.tokens.len())?;
            Ok::<Job, TranslateError>(job)
        };
        let jobs = pairs.par_iter().enumerate().map(encode).collect::<Result<Vec<Job>, _>>()?;
        let mut order: Vec<usize> = (0..jobs.len()).collect();
        let longer_side = |job: usize| jobs[job].tokens.len().max(jobs[job].prefix.len());
        order.sort_by_key(|&job| (std::cmp::Reverse(longer_side(job)), job));
        let found: Vec<Result<Vec<Vec<Alignment>>, TranslateError>> = batches(&order, longer_side, options)
            .par_iter()
            .with_max_len(1)
            .map(|batch| self.align_batch(&jobs, batch, model, readings, options))
            .collect();
        let mut alignments = vec![Vec::new(); jobs.len()];
        let mut places = order.iter();
        for batch in found {
            for (found, &job) in batch?.into_iter().zip(&mut places) {
                alignments[job] = found;
            }
        }
        Ok(alignments)
    }

    fn align_batch(
        &self,
        jobs: &[Job],
        batch: &[usize],
        model: CrossAttention,
        readings: &[Reading],
        options: &TranslateOptions,
    ) -> Result<Vec<Vec<Alignment>>, TranslateError> {
        let options = TranslateOptions { alignment: true, ..*options };
        let sources: Vec<&[u32]> = batch.iter().map(|&job| &jobs[job].tokens[..]).collect();
        let request = |&job: &usize| Request { source_len: jobs[job].tokens.len(), prefix: &jobs[job].prefix, ..Request::default() };
        let requests: Vec<Request<'_>> = batch.iter().map(request).collect();
        let forced = force(&mut *self.model.decoder(&sources), &requests, &self.search_options(&options))?;
        let read = |(hypothesis, source): (crate::decode::Hypothesis, &&[u32])| {
            let words = [self.words(source), self.words(&hypothesis.tokens)];
            let alignment = |reading: &Reading| {
                let weights = reading.read(&hypothesis.attention, model, source.len())?;
                Ok(Alignment::new(&weights, source.len(), &words[0], &words[1]))
            };
            readings.iter().map(alignment).collect()
        };
        forced.into_iter().zip(&sources).map(read).collect()
    }

    /// The tokens of each word that white space separates; the end of sentence is no word's.
    fn words(&self, ids: &[u32]) -> Vec<Range<usize>> {
        let end = ids.iter().position(|&id| id == EOS).unwrap_or(ids.len());
        let starts = || (0..end).filter(|&at| self.tokenizer.starts_word(ids[at]));
        starts().zip(starts().skip(1).chain(std::iter::once(end))).map(|(from, to)| from..to).collect()
    }
}
