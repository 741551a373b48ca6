//! `heedful evaluate`: how well a model translates a test set, and how well its alignments match manual ones.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use heedful_translate::corpus::{Columns, Pair};
use heedful_translate::decode::Reading;
use heedful_translate::evaluate::{
    AlignmentQuality, Bleu, Buckets, ChrF, Links, Metric, ReferenceLinks, TestSet, evaluate_alignments, looks_tokenized,
};
use heedful_translate::text::{normalise, words};
use heedful_translate::translator::{Search, Sentence, TranslateOptions, Translator};
use serde_json::{Value, json};

use crate::arguments;
use crate::columns::columns;
use crate::model::ModelArgument;
use crate::output::{self, Output, tell};
use crate::parallel::{every_pair, gold_links};

/// Score a model's translations of a test set (BLEU, chrF), by sentence length, and its alignments (AER)
///
/// Scores are those of sacreBLEU, whose signature is printed with them. A source that occurs with several translations is translated once, and
/// scored against its first, or against all of them with --all-references. With --gold, the model is made to write the given translations, and the
/// source word that each target word looked at most is compared with links made by hand.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  heedful evaluate test.tsv                                    the built-in model
  heedful evaluate --model model/model.safetensors test.de test.en
  heedful evaluate --columns 2,1 valid.tsv.gz --beam 1 --translations out.txt
  heedful evaluate test.de test.en --gold test.talp            alignment error rate as well
  heedful evaluate test.de test.en --gold test.talp --reading layer:1+shift")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Arguments {
    /// The test set: one TSV file, or a source file and a target file (.gz too)
    #[arg(num_args = 1..=2, required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The columns of source and target in a TSV file, counted from 1
    #[arg(long, value_name = "S,T", value_parser = columns, default_value = "1,2")]
    columns: Columns,
    #[command(flatten)]
    model: ModelArgument,
    /// Hypotheses kept at each step; 1 is greedy [default: the model's]
    #[arg(long, value_name = "N", value_parser = arguments::at_least_one())]
    beam: Option<usize>,
    /// Ignore case
    #[arg(long)]
    lowercase: bool,
    /// Score against all translations of a source, not its first
    #[arg(long)]
    all_references: bool,
    /// Ranges of source lengths in words
    #[arg(long, value_name = "RANGES", default_value = "1-5,6-10,11-20,21-30,31-40,41+")]
    buckets: Buckets,
    /// Translate each line as a whole, also where it holds several sentences
    #[arg(long)]
    whole_lines: bool,
    /// Write the translations to a file
    #[arg(long, value_name = "FILE")]
    translations: Option<PathBuf>,
    /// Manual alignments, a line a pair: `0-0 1-2` sure, `1p3` possible
    #[arg(long, value_name = "FILE")]
    gold: Option<PathBuf>,
    /// The words of --gold are counted from 1
    #[arg(long, requires = "gold")]
    gold_from_one: bool,
    /// The links of --gold are written target-source
    #[arg(long, requires = "gold")]
    gold_reversed: bool,
    /// Which attention is the alignment: see `heedful translate --help`
    #[arg(long, value_name = "READING")]
    reading: Option<Reading>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let pairs = every_pair(&self.files, self.columns, "a test set must be whole")?;
        let (translator, defaults) = self.model.load()?.into_translator()?;
        let options = TranslateOptions {
            search: match self.beam {
                Some(1) => Search::Greedy,
                Some(width) => Search::Beam { width },
                None => defaults.search,
            },
            reading: self.reading.or(defaults.reading),
            ..defaults
        };
        let gold = self.gold.as_ref().map(|gold| self.references(gold, &translator, pairs.len())).transpose()?;
        let output = self.translations.as_ref().map(|path| Output::new(Some(path), self.files.iter().chain(&self.gold))).transpose()?;
        let mut value = self.translation_scores(&pairs, &translator, &options, output)?;
        if let Some(gold) = &gold {
            value["alignment"] = alignment_scores(gold, &pairs, &translator, &options)?;
        }
        output::print(if self.json { format!("{value:#}\n") } else { as_text(&value) })
    }

    /// The links of --gold for so many pairs, if the model has any to compare with them.
    fn references(&self, gold: &Path, translator: &Translator, pairs: usize) -> Result<Vec<ReferenceLinks>> {
        if translator.model().cross_attention().is_none() {
            bail!("this model has no attention, so it has no alignments to compare with --gold");
        }
        gold_links(gold, self.gold_from_one, self.gold_reversed, pairs)
    }

    fn translation_scores(
        &self,
        pairs: &[Pair],
        translator: &Translator,
        options: &TranslateOptions,
        output: Option<Output>,
    ) -> Result<Value> {
        let test = TestSet::new(pairs, self.all_references);
        let start = std::time::Instant::now();
        let options = TranslateOptions { alignment: false, split_sentences: !self.whole_lines, ..*options };
        let translations = translator.translate(&test.sources, &options)?;
        let seconds = start.elapsed().as_secs_f64();
        let hypotheses: Vec<&str> = translations.iter().map(|translation| translation.text.as_str()).collect();
        if let Some(mut output) = output {
            let lines: Vec<String> = hypotheses.iter().map(|text| text.replace('\n', " ")).collect();
            output.write(lines.join("\n") + "\n")?;
        }
        if looks_tokenized(&hypotheses) {
            tell("warning: the translations look tokenized; scores of tokenized text cannot be compared with others");
        }
        let bleu = Bleu { lowercase: self.lowercase, ..Bleu::default() };
        let chrf = ChrF { lowercase: self.lowercase, ..ChrF::default() };
        let mut scores = Vec::new();
        for metric in [&bleu as &dyn Metric, &chrf] {
            scores.push(test.scores(metric, &test.segments(metric, &hypotheses)?, &self.buckets)?);
        }
        Ok(json!({ "sentences": test.sources.len(), "seconds": seconds, "scores": scores }))
    }
}

fn alignment_scores(references: &[ReferenceLinks], pairs: &[Pair], translator: &Translator, options: &TranslateOptions) -> Result<Value> {
    let texts: Vec<(&str, &str)> = pairs.iter().map(|pair| (pair.source.as_str(), pair.target.as_str())).collect();
    let forced = translator.score(&texts, &TranslateOptions { alignment: true, ..*options })?;
    let found: Vec<Links> = forced.iter().zip(pairs).map(|(sentence, pair)| links(sentence, pair)).collect();
    let quality = AlignmentQuality::from_sums(&evaluate_alignments(&found, references)?.sums());
    Ok(json!({
        "reading": options.reading.unwrap_or_default().to_string(),
        "aer": quality.error_rate,
        "precision": quality.precision,
        "recall": quality.recall,
        "links": quality.links,
    }))
}

/// The links of a pair between the words that white space separates, which is how people count them.
fn links(sentence: &Sentence, pair: &Pair) -> Links {
    let Some(alignment) = &sentence.best.alignment else { return Links::new() };
    let [source, target] = [&pair.source, &pair.target].map(|text| spaced_word_of_each(text));
    let place = |words: &[usize], word: usize| words.get(word).copied();
    alignment.links().iter().filter_map(|link| Some((place(&source, link.source)?, place(&target, link.target)?))).collect()
}

/// For each word of a text, which of the text's pieces between white space it lies in.
fn spaced_word_of_each(text: &str) -> Vec<usize> {
    text.split_whitespace().enumerate().flat_map(|(i, piece)| std::iter::repeat_n(i, words(&normalise(piece)).len())).collect()
}

fn as_text(value: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let range = |value: &Value| match value.as_array().map(Vec::as_slice) {
        Some([low, high]) => format!("[{:.1}, {:.1}]", number(low), number(high)),
        _ => String::new(),
    };
    let rows = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut out = String::new();
    let scores = rows(&value["scores"]);
    for score in &scores {
        let _ = writeln!(
            out,
            "{} = {:.2} {}  {}",
            text(&score["metric"]),
            number(&score["score"]),
            range(&score["interval"]),
            text(&score["signature"])
        );
    }
    let (sentences, seconds) = (number(&value["sentences"]), number(&value["seconds"]));
    let _ = writeln!(out, "{sentences} sentences in {seconds:.1} s ({:.1} a second)\n", sentences / seconds.max(1e-9));
    let names: Vec<String> = scores.iter().map(|score| format!("{:>24}", text(&score["metric"]))).collect();
    let _ = writeln!(out, "source words  sentences{}", names.concat());
    let columns: Vec<Vec<Value>> = scores.iter().map(|score| rows(&score["by_source_length"])).collect();
    for (i, bucket) in columns.first().into_iter().flatten().enumerate() {
        let cells: Vec<String> = columns
            .iter()
            .filter_map(|column| column.get(i))
            .map(|bucket| format!("{:>24}", format!("{:.2} {:>14}", number(&bucket["score"]), range(&bucket["interval"]))))
            .collect();
        let _ = writeln!(out, "{:>12}  {:>9}{}", text(&bucket["words"]), number(&bucket["sentences"]), cells.concat());
    }
    let alignment = &value["alignment"];
    if alignment.is_object() {
        let _ = writeln!(
            out,
            "\nAER = {:.1} % (precision {:.1} %, recall {:.1} %, {} links, reading {})",
            100.0 * number(&alignment["aer"]),
            100.0 * number(&alignment["precision"]),
            100.0 * number(&alignment["recall"]),
            alignment["links"],
            text(&alignment["reading"])
        );
    }
    out
}
