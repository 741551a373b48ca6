//! `heedful score`: how probable a model finds given translations.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use heedful_translate::corpus::{Columns, Entry, Files, open_pairs};
use heedful_translate::decode::{Normalisation, Reading};
use heedful_translate::translator::{Sentence, TranslateOptions};

use crate::columns::columns;
use crate::model::ModelArgument;
use crate::output::Output;
use crate::picture;
use crate::terminal::{Style, When};

/// Pairs that are read and scored together.
const PAIRS_AT_ONCE: usize = 512;

/// Score given translations, and see which source words their words belong to
///
/// The model is made to write the given translation, and tells the probability of each word (natural logarithm; 0 is certain). With two
/// arguments, each word's value and the alignment are shown. With --input, one number a line is printed: that of the whole translation.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  heedful score \"Das ist gut.\" \"That is good.\"
  heedful score --input pairs.tsv                source, tab, translation: one log-probability a line
  heedful score --json --input pairs.tsv         words, their log-probabilities, alignments
  heedful score --per-token --input pairs.tsv    comparable between lengths")]
pub struct Arguments {
    /// A sentence
    #[arg(requires = "target")]
    source: Option<String>,
    /// Its translation
    target: Option<String>,
    /// Score the pairs of a TSV file (.gz too; `-` is standard input)
    #[arg(short, long, value_name = "FILE", conflicts_with = "source")]
    input: Option<PathBuf>,
    /// The columns of source and translation, counted from 1
    #[arg(long, value_name = "S,T", value_parser = columns, default_value = "1,2")]
    columns: Columns,
    /// Write to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgument,
    /// Divide by the number of tokens
    #[arg(long)]
    per_token: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// Which attention is the alignment: see `heedful translate --help`
    #[arg(long, value_name = "READING")]
    reading: Option<Reading>,
}

impl Arguments {
    pub fn run(self, color: When) -> Result<()> {
        let (translator, defaults) = self.model.load()?.into_translator()?;
        // The score is then the mean over the tokens.
        let options = TranslateOptions { reading: self.reading.or(defaults.reading), normalisation: Normalisation::Average, ..defaults };
        let style = Style::of_stdout(if self.output.is_some() { When::Never } else { color });
        if let (Some(source), Some(target)) = (&self.source, &self.target) {
            let scored = translator.score(&[(source, target)], &options)?;
            let mut output = Output::new(self.output.as_deref(), &self.input)?;
            return output.write(if self.json { self.line(&scored[0])? } else { in_full(&scored[0], style)? });
        }
        let Some(input) = &self.input else { bail!("there is nothing to score; give a sentence and its translation, or --input FILE") };
        let mut entries = open_pairs(&Files::tsv(input, self.columns))?;
        let mut output = Output::new(self.output.as_deref(), [input])?;
        output.write("")?;
        loop {
            let batch = entries.by_ref().take(PAIRS_AT_ONCE).map(|entry| pair(entry?)).collect::<Result<Vec<_>>>()?;
            let Some((first, ..)) = batch.first() else { return Ok(()) };
            let pairs: Vec<(&str, &str)> = batch.iter().map(|(_, source, target)| (source.as_str(), target.as_str())).collect();
            let scored = translator
                .score(&pairs, &options)
                .with_context(|| format!("scoring {}, of which the first is line {first}", input.display()))?;
            output.write(scored.iter().map(|sentence| self.line(sentence)).collect::<Result<String>>()?)?;
        }
    }

    fn line(&self, sentence: &Sentence) -> Result<String> {
        if self.json {
            return Ok(serde_json::to_string(sentence)? + "\n");
        }
        let value = if self.per_token { sentence.best.score } else { sentence.best.log_prob };
        Ok(format!("{value:.4}\n"))
    }
}

fn pair(entry: Entry) -> Result<(u64, String, String)> {
    match entry {
        Entry::Pair(pair) => Ok((pair.line, pair.source, pair.target)),
        Entry::Unusable { line, reason, detail } => bail!("line {line}: {reason} ({detail})"),
    }
}

/// Each word with its log-probability, and the picture.
fn in_full(sentence: &Sentence, style: Style) -> Result<String> {
    let best = &sentence.best;
    let mut out = format!("log-probability {:.4}, per token {:.4}\n\n", best.log_prob, best.score);
    for (word, log_prob) in best.target_words.iter().zip(&best.word_log_probs) {
        writeln!(out, "{log_prob:>9.4}  {word}")?;
    }
    Ok(out + &picture::of_sentences(std::slice::from_ref(sentence), style))
}
