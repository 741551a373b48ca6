//! Text in, text out, and for each target word the source words it came from.

mod align;
mod options;
mod sentences;
#[cfg(test)]
mod tests;
mod translation;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rayon::prelude::*;

pub use options::{Search, TranslateOptions};
pub use sentences::sentences;
use translation::spans;
pub use translation::{Candidate, Sentence, Translation};

use crate::decode::{
    Beam, DecodeError, Hypothesis, ImposedLook, MaxLength, Reading, ReadingError, Request, SearchOptions, beam, force, greedy, sample,
};
use crate::model::Model;
use crate::text::{EOS, Encoding, Tokenizer};

/// A model with its tokenizer: what turns text into text.
///
/// It can be shared between threads; what it returns for a sentence depends on that sentence and the options alone.
#[derive(Clone)]
pub struct Translator {
    model: Arc<dyn Model>,
    tokenizer: Arc<Tokenizer>,
    reading: Reading,
    longest: usize,
    stop: Option<Arc<AtomicBool>>,
}

/// Why a text cannot be translated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TranslateError {
    /// Model and tokenizer are not made for each other.
    #[error("translator: the model has {model} tokens and its tokenizer {tokenizer}; take both from the same bundle")]
    Vocabulary {
        /// The model's vocabulary.
        model: usize,
        /// The tokenizer's.
        tokenizer: usize,
    },
    /// A sentence is longer than the model can read or write.
    #[error(
        "translate: text {}, line {line}: the sentence \"{beginning}...\" has {tokens} tokens, and the model takes {limit}; \
         break it into shorter sentences",
        .text + 1
    )]
    TooLong {
        /// Which of the texts, from 0.
        text: usize,
        /// Which line of it, from 1.
        line: usize,
        /// How the sentence begins.
        beginning: String,
        /// How many tokens it has.
        tokens: usize,
        /// How many it may have.
        limit: usize,
    },
    /// There is nothing that a target could be a translation of.
    #[error("score: the source of pair {} has no words", .pair + 1)]
    EmptySource {
        /// Which of the pairs, from 0.
        pair: usize,
    },
    /// An option has a value that makes no sense, or the model's weights are damaged.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The model sees the source through one hidden state only.
    #[error("align: this model has no attention, so it has no alignments; take a model of type rnn_attention or transformer")]
    NoAttention,
    /// The model does not have the layer or head that is to be read.
    #[error(transparent)]
    Reading(#[from] ReadingError),
}

/// A sentence on its way.
struct Job {
    text: usize,
    /// Where it is in that text.
    range: Range<usize>,
    source: Encoding,
    /// The source's tokens and `EOS`.
    tokens: Vec<u32>,
    prefix: Vec<u32>,
    looks: Vec<ImposedLook>,
}

impl Job {
    fn new(text: usize, range: Range<usize>, source: Encoding, prefix: Vec<u32>) -> Self {
        let mut tokens = source.ids.clone();
        tokens.push(EOS);
        Self { text, range, source, tokens, prefix, looks: Vec::new() }
    }
}

impl Translator {
    /// The sentences that a model can read or write have at most this many tokens unless [`with_longest`](Self::with_longest) says otherwise.
    pub const LONGEST: usize = 512;

    /// From a model and the tokenizer it was trained with.
    ///
    /// # Errors
    /// If their vocabularies differ in size.
    pub fn new(model: Arc<dyn Model>, tokenizer: Tokenizer) -> Result<Self, TranslateError> {
        if model.vocabulary() != tokenizer.vocabulary_size() {
            return Err(TranslateError::Vocabulary { model: model.vocabulary(), tokenizer: tokenizer.vocabulary_size() });
        }
        Ok(Self { model, tokenizer: Arc::new(tokenizer), reading: Reading::default(), longest: Self::LONGEST, stop: None })
    }

    /// Sets how alignments are read when the options do not say it: the reading that is best for this model.
    ///
    /// # Errors
    /// If the model does not have that layer or head.
    pub fn with_reading(mut self, reading: Reading) -> Result<Self, TranslateError> {
        if let Some(model) = self.model.cross_attention() {
            reading.check(model)?;
        }
        self.reading = reading;
        Ok(self)
    }

    /// Sets how many tokens a sentence may have on either side, the end of sentence included.
    #[must_use]
    pub fn with_longest(mut self, tokens: usize) -> Self {
        self.longest = tokens;
        self
    }

    /// Ends what is being translated with [`DecodeError::Stopped`] soon after this becomes true.
    #[must_use]
    pub fn with_stop(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = Some(stop);
        self
    }

    /// How many tokens a sentence may have on either side, the end of sentence included.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The model.
    pub fn model(&self) -> &dyn Model {
        &*self.model
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// How alignments are read when the options do not say it.
    pub fn reading(&self) -> Reading {
        self.reading
    }

    /// Translates texts of any number of sentences and lines; line breaks are kept. Sentences of all texts are batched by length
    /// and translated on all threads of rayon's current pool.
    ///
    /// # Errors
    /// If a sentence is too long for the model, an option makes no sense, or the model's weights are damaged. Nothing is ever cut silently.
    pub fn translate<S: AsRef<str> + Sync>(&self, texts: &[S], options: &TranslateOptions) -> Result<Vec<Translation>, TranslateError> {
        let split = |(text, content): (usize, &S)| {
            let content = content.as_ref();
            let ranges = if options.split_sentences { sentences(content) } else { lines(content) };
            let encode = |range: Range<usize>| Job::new(text, range.clone(), self.tokenizer.encode(&content[range]), Vec::new());
            ranges.into_iter().map(encode).filter(|job| !job.source.ids.is_empty()).collect::<Vec<_>>()
        };
        let jobs: Vec<Job> = texts.par_iter().enumerate().flat_map_iter(split).collect();
        for job in &jobs {
            self.check_length(job.text, texts[job.text].as_ref(), &job.range, job.tokens.len())?;
        }
        let mut found = self.run(&jobs, options, |requests, sources| self.search(requests, sources, options))?.into_iter();
        let mut jobs = jobs.into_iter().peekable();
        let translate = |(text, content): (usize, &S)| {
            let mut sentences = Vec::new();
            while let Some((job, candidates)) = jobs.next_if(|job| job.text == text).and_then(|job| Some((job, found.next()?))) {
                sentences.push(Sentence::new(job.range, &job.source, candidates));
            }
            Translation::new(content.as_ref(), sentences)
        };
        Ok(texts.iter().enumerate().map(translate).collect())
    }

    /// Translates one sentence so that the translation begins with the words of `prefix`.
    ///
    /// # Errors
    /// As [`translate`](Self::translate), or if there are no words in the sentence.
    pub fn complete(&self, sentence: &str, prefix: &str, options: &TranslateOptions) -> Result<Sentence, TranslateError> {
        self.steer(sentence, self.tokenizer.encode_ids(prefix), &[], options)
    }

    /// Translates one sentence so that the translation begins with the tokens of `prefix`, and single steps look at given source words:
    /// the words' places, from 0, take the place of source tokens in `looks`.
    ///
    /// # Errors
    /// As [`translate`](Self::translate), or if there are no words in the sentence, the prefix is too long, or it holds an unknown token.
    pub fn steer(
        &self,
        sentence: &str,
        prefix: Vec<u32>,
        looks: &[ImposedLook],
        options: &TranslateOptions,
    ) -> Result<Sentence, TranslateError> {
        self.check_length(0, sentence, &(0..sentence.len()), prefix.len() + 1)?;
        let mut job = self.pair(0, sentence, prefix)?;
        let spans = spans(&job.source);
        let tokens = |words: &Range<usize>| match spans.get(words.clone()) {
            Some([first, .., last]) => first.start..last.end,
            Some([word]) => word.clone(),
            _ => 0..0,
        };
        job.looks = looks.iter().map(|look| ImposedLook { source: tokens(&look.source), ..look.clone() }).collect();
        let candidates = self.run(std::slice::from_ref(&job), options, |requests, sources| self.search(requests, sources, options))?;
        Ok(Sentence::new(job.range, &job.source, candidates.concat()))
    }

    /// What the model thinks of given translations: each pair is one sentence, decoded by force.
    ///
    /// # Errors
    /// If a side is too long for the model, a source is empty, an option makes no sense, or the model's weights are damaged.
    pub fn score<S: AsRef<str> + Sync>(&self, pairs: &[(S, S)], options: &TranslateOptions) -> Result<Vec<Sentence>, TranslateError> {
        let encode = |(pair, (source, target)): (usize, &(S, S))| {
            let mut tokens = self.tokenizer.encode_ids(target.as_ref());
            tokens.push(EOS);
            self.check_length(pair, target.as_ref(), &(0..target.as_ref().len()), tokens.len())?;
            self.pair(pair, source.as_ref(), tokens)
        };
        let jobs = pairs.par_iter().enumerate().map(encode).collect::<Result<Vec<Job>, _>>()?;
        let found = self.run(&jobs, options, |requests, sources| {
            let options = self.search_options(options);
            let forced = force(&mut *self.model.decoder(sources), requests, &options)?;
            Ok(forced.into_iter().map(|hypothesis| vec![hypothesis]).collect())
        })?;
        Ok(jobs.into_iter().zip(found).map(|(job, candidates)| Sentence::new(job.range, &job.source, candidates)).collect())
    }

    fn pair(&self, pair: usize, source: &str, prefix: Vec<u32>) -> Result<Job, TranslateError> {
        let job = Job::new(pair, 0..source.len(), self.tokenizer.encode(source), prefix);
        if job.source.ids.is_empty() {
            return Err(TranslateError::EmptySource { pair });
        }
        self.check_length(pair, source, &job.range, job.tokens.len())?;
        Ok(job)
    }

    fn check_length(&self, text: usize, content: &str, sentence: &Range<usize>, tokens: usize) -> Result<(), TranslateError> {
        if tokens <= self.longest {
            return Ok(());
        }
        let line = 1 + content[..sentence.start].matches('\n').count();
        let beginning = content[sentence.clone()].chars().take(40).collect();
        Err(TranslateError::TooLong { text, line, beginning, tokens, limit: self.longest })
    }

    fn search_options(&self, options: &TranslateOptions) -> SearchOptions<'_> {
        let max_length = MaxLength { at_most: self.longest.min(options.max_length.at_most), ..options.max_length };
        SearchOptions {
            max_length,
            normalisation: options.normalisation,
            no_repeat_ngram: options.no_repeat_ngram,
            attention: options.alignment,
            stop: self.stop.as_deref(),
        }
    }

    /// The hypotheses of each source, best first.
    fn search(
        &self,
        requests: &[Request<'_>],
        sources: &[&[u32]],
        options: &TranslateOptions,
    ) -> Result<Vec<Vec<Hypothesis>>, DecodeError> {
        let search = self.search_options(options);
        let singly = |hypotheses: Vec<Hypothesis>| hypotheses.into_iter().map(|hypothesis| vec![hypothesis]).collect();
        match options.search {
            Search::Greedy => Ok(singly(greedy(&mut *self.model.decoder(sources), requests, &search)?)),
            Search::Beam { width } => {
                let how = Beam { width, n_best: options.n_best };
                beam(&mut *self.model.decoder(sources), requests, &how, &search)
            }
            Search::Sample(sampling) => {
                let n = options.n_best as u64;
                let requests: Vec<Request<'_>> =
                    requests.iter().flat_map(|r| (0..n).map(move |draw| Request { stream: r.stream * n + draw, ..*r })).collect();
                let sources: Vec<&[u32]> = sources.iter().flat_map(|&source| std::iter::repeat_n(source, options.n_best)).collect();
                let drawn = sample(&mut *self.model.decoder(&sources), &requests, &sampling, &search)?;
                Ok(drawn.chunks(options.n_best).map(<[Hypothesis]>::to_vec).collect())
            }
        }
    }

    /// Runs `search` over batches of similar length, on all threads; the candidates of each job, in the order of the jobs.
    fn run(
        &self,
        jobs: &[Job],
        options: &TranslateOptions,
        search: impl Fn(&[Request<'_>], &[&[u32]]) -> Result<Vec<Vec<Hypothesis>>, DecodeError> + Sync,
    ) -> Result<Vec<Vec<Candidate>>, TranslateError> {
        let reading = options.reading.unwrap_or(self.reading);
        if let (true, Some(model)) = (options.alignment, self.model.cross_attention()) {
            reading.check(model)?;
        }
        options.check()?;
        let mut order: Vec<usize> = (0..jobs.len()).collect();
        // Longest first: the last batches to start are the short ones, so threads finish together.
        order.sort_by_key(|&job| (std::cmp::Reverse(jobs[job].tokens.len()), job));
        let batches = batches(&order, |job| jobs[job].tokens.len(), options);
        let run_batch = |batch: &&[usize]| {
            let request = |&job: &usize| Request {
                source_len: jobs[job].tokens.len(),
                prefix: &jobs[job].prefix,
                looks: &jobs[job].looks,
                stream: job as u64,
            };
            let requests: Vec<Request<'_>> = batch.iter().map(request).collect();
            let sources: Vec<&[u32]> = batch.iter().map(|&job| &jobs[job].tokens[..]).collect();
            let found = search(&requests, &sources)?;
            let candidates = |(hypotheses, &job): (Vec<Hypothesis>, &usize)| {
                let candidate =
                    |h: &Hypothesis| Candidate::new(h, &jobs[job].source, &self.tokenizer, self.model.cross_attention(), reading);
                hypotheses.iter().map(candidate).collect::<Result<Vec<_>, _>>()
            };
            Ok(found.into_iter().zip(*batch).map(candidates).collect::<Result<Vec<_>, ReadingError>>()?)
        };
        let done: Vec<Result<Vec<Vec<Candidate>>, TranslateError>> = batches.par_iter().with_max_len(1).map(run_batch).collect();
        let mut found: Vec<Vec<Candidate>> = vec![Vec::new(); jobs.len()];
        let mut places = order.iter();
        for batch in done {
            for (candidates, &job) in batch?.into_iter().zip(&mut places) {
                found[job] = candidates;
            }
        }
        Ok(found)
    }
}

/// Cuts `order` into batches of at most [`TranslateOptions::batch_tokens`] source tokens, hypotheses counted; there are at least as many
/// batches as threads as long as there are sentences for them.
fn batches<'a>(order: &'a [usize], len: impl Fn(usize) -> usize, options: &TranslateOptions) -> Vec<&'a [usize]> {
    let most = order.len().div_ceil(rayon::current_num_threads()).max(1);
    let mut batches = Vec::new();
    let mut rest = order;
    while let Some(&longest) = rest.first() {
        let fit = options.batch_tokens / (len(longest) * options.rows_per_sentence());
        let (batch, after) = rest.split_at(fit.clamp(1, most).min(rest.len()));
        batches.push(batch);
        rest = after;
    }
    batches
}

/// The lines of a text that are not empty, without the white space around them.
fn lines(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut lines = Vec::new();
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        if !trimmed.is_empty() {
            let first = start + line.len() - line.trim_start().len();
            lines.push(first..first + trimmed.len());
        }
        start += line.len();
    }
    lines
}
