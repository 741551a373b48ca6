//! `heedful align`: which words of given translations belong together, and how well that agrees with links made by hand.

use std::fmt::Write as _;
use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use heedful_translate::aligner::{AlignerOptions, align_words};
use heedful_translate::corpus::{Columns, Pair};
use heedful_translate::decode::{Alignment, Layers, Reading};
use heedful_translate::evaluate::{AlignmentQuality, Links, ReferenceLinks, Symmetrisation, evaluate_alignments, format_links, symmetrise};
use heedful_translate::text::normalise;
use heedful_translate::translator::{TranslateOptions, Translator};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::columns::columns;
use crate::model::{ModelArgument, open};
use crate::output::Output;
use crate::parallel::{every_pair, found_links, gold_links};

/// Align the words of a parallel text, or measure alignments against links made by hand
///
/// The model is made to write the given translations, and its attention is read. Words are what white space separates. One line a pair is printed:
/// `i-j` for each source word and target word that belong together, counted from 0 (the Pharaoh format). With --both, a model of the other direction
/// aligns too, and the two are symmetrised. With --gold, alignment error rate, precision and recall are printed instead: of every reading, or of the one
/// that is named, in both directions and symmetrised.
///
/// With --hmm, no model is needed: a hidden Markov model learns from the text itself, which should be thousands of pairs, what belongs together. Its
/// links can teach a model where to look (`heedful train --links`).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  heedful align --model de-en/model.safetensors text.de text.en
  heedful align --model de-en/model.safetensors --both en-de/model.safetensors text.de text.en
  heedful align --model de-en/model.safetensors text.de text.en --gold text.talp
  heedful align --model de-en/model.safetensors text.de text.en --gold text.talp --reading layer:1+shift --threshold 0.3
  heedful align --model de-en/model.safetensors text.de text.en --gold text.talp --beside eflomal.fwd --beside eflomal.rev
  heedful align --hmm train.de train.en -o train.links && heedful train train.de train.en --links train.links -o de-en")]
pub struct Arguments {
    /// The parallel text: one TSV file, or a source file and a target file (.gz too)
    #[arg(num_args = 1..=2, required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The columns of source and target in a TSV file, counted from 1
    #[arg(long, value_name = "S,T", value_parser = columns, default_value = "1,2")]
    columns: Columns,
    #[command(flatten)]
    model: ModelArgument,
    /// A model that translates from target to source
    #[arg(long, value_name = "FILE", group = "directions")]
    both: Option<PathBuf>,
    #[command(flatten)]
    without_model: WithoutModel,
    /// How the two directions are combined: intersection, union, grow-diag, grow-diag-final or grow-diag-final-and
    #[arg(long, value_name = "METHOD", requires = "directions", default_value = "grow-diag-final-and")]
    symmetrise: Symmetrisation,
    /// Which attention is the alignment: see `heedful translate --help` [default: the model's; with --gold, each in turn]
    #[arg(long, value_name = "READING", conflicts_with = "hmm")]
    reading: Option<Reading>,
    /// The same for the model of --both [default: that of --reading, or its model's]
    #[arg(long, value_name = "READING", requires = "both")]
    reverse_reading: Option<Reading>,
    /// Link all source words that a target word looked at with at least this weight, not the one it looked at most. With --hmm, link the best if it is this
    /// probable [default: 0.3]
    #[arg(long, value_name = "WEIGHT")]
    threshold: Option<f32>,
    /// Links made by hand, a line a pair: `0-0 1-2` sure, `1p3` possible
    #[arg(long, value_name = "FILE")]
    gold: Option<PathBuf>,
    /// Measure links that another aligner printed too, `i-j`, a line a pair; of two files also what the two give symmetrised
    #[arg(long, value_name = "FILE", requires = "gold")]
    beside: Vec<PathBuf>,
    /// The words of --gold are counted from 1
    #[arg(long, requires = "gold")]
    gold_from_one: bool,
    /// The links of --gold are written target-source
    #[arg(long, requires = "gold")]
    gold_reversed: bool,
    /// Write to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print JSON
    #[arg(long, requires = "gold")]
    json: bool,
}

/// The hidden Markov model in place of a model file.
#[derive(Debug, Args)]
struct WithoutModel {
    /// Use no model: learn from this text, in both directions, which words belong together
    #[arg(long, group = "directions", conflicts_with = "model")]
    hmm: bool,
    /// Tell words apart by so many first letters (--hmm); 4 is better than whole words for little text and many endings
    #[arg(long, value_name = "LETTERS", requires = "hmm", value_parser = clap::value_parser!(u16).range(1..))]
    stem: Option<u16>,
    /// The probability that a word belongs to none (--hmm): the higher, the fewer and the surer the links [default: 0.4]
    #[arg(long, value_name = "PROBABILITY", requires = "hmm", value_parser = probability)]
    no_source: Option<f64>,
}

impl WithoutModel {
    fn options(&self, threshold: Option<f32>) -> AlignerOptions {
        let defaults = AlignerOptions::default();
        AlignerOptions {
            stem: self.stem.map(usize::from),
            no_source: self.no_source.unwrap_or(defaults.no_source),
            threshold: threshold.map_or(defaults.threshold, f64::from),
            ..defaults
        }
    }
}

fn probability(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "is not a number".to_owned())?;
    if number > 0.0 && number < 1.0 { Ok(number) } else { Err("must lie between 0 and 1".to_owned()) }
}

/// The links of each pair by one way of finding them, as source and target of the text.
struct Found {
    name: String,
    links: Vec<Links>,
}

/// A model, how it is used, and the pairs in its direction.
struct Direction<'a> {
    translator: Translator,
    options: TranslateOptions,
    pairs: Vec<(&'a str, &'a str)>,
}

impl Direction<'_> {
    fn default_reading(&self) -> Reading {
        self.options.reading.unwrap_or_default()
    }

    /// The links of each pair by each reading, `[reading][pair]`, as places in its own direction.
    fn links(&self, readings: &[Reading], threshold: Option<f32>) -> Result<Vec<Vec<Links>>> {
        let alignments = self.translator.align(&self.pairs, readings, &self.options)?;
        let of_pair = |(alignment, (source, target)): (&Alignment, &(&str, &str))| {
            let links = threshold.map_or_else(|| alignment.links(), |threshold| alignment.links_above(threshold));
            let [source, target] = [source, target].map(|text| places(text));
            links.iter().filter_map(|link| source.get(link.source).copied().zip(target.get(link.target).copied())).collect()
        };
        let of_reading = |reading: usize| alignments.iter().map(|found| &found[reading]).zip(&self.pairs).map(of_pair).collect();
        Ok((0..readings.len()).map(of_reading).collect())
    }
}

/// Where the words that normalisation leaves stand among those that white space separates.
fn places(text: &str) -> Vec<usize> {
    text.split_whitespace().enumerate().filter(|(_, word)| !normalise(word).is_empty()).map(|(place, _)| place).collect()
}

fn flipped(links: &[Links]) -> Vec<Links> {
    links.iter().map(|links| links.iter().map(|&(source, target)| (target, source)).collect()).collect()
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let pairs = every_pair(&self.files, self.columns, "line must stay by line in a text")?;
        let gold = self.gold.as_ref().map(|gold| gold_links(gold, self.gold_from_one, self.gold_reversed, pairs.len())).transpose()?;
        let beside = self.beside.iter().map(|path| found_links(path, pairs.len())).collect::<Result<Vec<_>>>()?;
        let mut output = Output::new(self.output.as_deref(), self.files.iter().chain(&self.gold).chain(&self.beside))?;
        let (forward, reverse) = if self.without_model.hmm { self.found_in_text(&pairs) } else { self.with_model(&pairs)? };
        output.write(match gold {
            Some(gold) => self.measured(&gold, &forward, reverse.as_deref(), &beside)?,
            None => self.lines(&forward, reverse.as_deref()),
        })
    }

    /// What is found from source to target and, with --both, from target to source: by one reading or, to be measured, by all.
    fn with_model(&self, pairs: &[Pair]) -> Result<(Vec<Found>, Option<Vec<Found>>)> {
        let (translator, options) = self.model.load()?.into_translator()?;
        let texts = pairs.iter().map(|pair| (pair.source.as_str(), pair.target.as_str())).collect();
        let forward = self.read(&Direction { translator, options, pairs: texts }, self.reading)?;
        let reverse = self.both.as_ref().map(|path| -> Result<Vec<Found>> {
            let (translator, options) = open(path)?.into_translator()?;
            let texts = pairs.iter().map(|pair| (pair.target.as_str(), pair.source.as_str())).collect();
            let found = self.read(&Direction { translator, options, pairs: texts }, self.reverse_reading.or(self.reading))?;
            Ok(found.into_iter().map(|found| Found { links: flipped(&found.links), ..found }).collect())
        });
        Ok((forward, reverse.transpose()?))
    }

    fn read(&self, direction: &Direction<'_>, named: Option<Reading>) -> Result<Vec<Found>> {
        let readings = match (named, &self.gold) {
            (Some(reading), _) => vec![reading],
            (None, Some(_)) => all_readings(direction),
            (None, None) => vec![direction.default_reading()],
        };
        let links = direction.links(&readings, self.threshold)?;
        Ok(readings.iter().zip(links).map(|(reading, links)| Found { name: reading.to_string(), links }).collect())
    }

    /// What a hidden Markov model finds in both directions.
    fn found_in_text(&self, pairs: &[Pair]) -> (Vec<Found>, Option<Vec<Found>>) {
        let options = self.without_model.options(self.threshold);
        let bar = if stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let template = "{bar:25} round {pos} of {len}, eta {eta}";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(500));
        let found = |texts: Vec<(&str, &str)>, before: usize| {
            align_words(&texts, &options, |round, of| {
                bar.set_length(2 * of as u64);
                bar.set_position((before * of + round) as u64);
            })
        };
        let forward = found(pairs.iter().map(|pair| (pair.source.as_str(), pair.target.as_str())).collect(), 0);
        let reverse = found(pairs.iter().map(|pair| (pair.target.as_str(), pair.source.as_str())).collect(), 1);
        bar.finish_and_clear();
        let named = |links| vec![Found { name: "hmm".to_owned(), links }];
        (named(forward), Some(named(flipped(&reverse))))
    }

    fn lines(&self, forward: &[Found], reverse: Option<&[Found]>) -> String {
        let links = match reverse {
            None => forward[0].links.clone(),
            Some(reverse) => combined(&forward[0].links, &reverse[0].links, self.symmetrise),
        };
        links.iter().map(|links| format_links(links) + "\n").collect()
    }

    fn measured(&self, gold: &[ReferenceLinks], forward: &[Found], reverse: Option<&[Found]>, beside: &[Vec<Links>]) -> Result<String> {
        let mut rows = Vec::new();
        let mut row = |name: String, links: &[Links]| -> Result<()> {
            let quality = AlignmentQuality::from_sums(&evaluate_alignments(links, gold)?.sums());
            rows.push((name, quality));
            Ok(())
        };
        for found in forward {
            row(found.name.clone(), &found.links)?;
        }
        for found in reverse.into_iter().flatten() {
            row(format!("reverse {}", found.name), &found.links)?;
        }
        // Like with like, or the one that was named on each side.
        for (one, other) in forward.iter().zip(reverse.into_iter().flatten()) {
            let name = if one.name == other.name { one.name.clone() } else { format!("{} & {}", one.name, other.name) };
            for (method, links) in self.symmetrised(&one.links, &other.links) {
                row(format!("{name}, {method}"), &links)?;
            }
        }
        for (path, links) in self.beside.iter().zip(beside) {
            row(path.display().to_string(), links)?;
        }
        if let [one, other] = beside {
            for (method, links) in self.symmetrised(one, other) {
                row(format!("both files, {method}"), &links)?;
            }
        }
        Ok(if self.json { format!("{:#}\n", as_json(&rows)) } else { as_text(&rows) })
    }

    /// Two directions combined in the ways that are worth a look.
    fn symmetrised(&self, one: &[Links], other: &[Links]) -> [(Symmetrisation, Vec<Links>); 3] {
        [Symmetrisation::Intersection, Symmetrisation::Union, self.symmetrise].map(|method| (method, combined(one, other, method)))
    }
}

fn combined(one: &[Links], other: &[Links], method: Symmetrisation) -> Vec<Links> {
    one.iter().zip(other).map(|(one, other)| symmetrise(one, other, method)).collect()
}

/// All readings that there are but for single heads.
fn all_readings(direction: &Direction<'_>) -> Vec<Reading> {
    let layers = direction.translator.model().cross_attention().map_or(0, |model| model.layers);
    std::iter::once(Layers::Mean)
        .chain((0..layers).map(Layers::Layer))
        .flat_map(|layers| [false, true].map(|shift| Reading { layers, shift }))
        .collect()
}

fn as_json(rows: &[(String, AlignmentQuality)]) -> Value {
    let row = |(reading, quality): &(String, AlignmentQuality)| {
        json!({
            "reading": reading, "aer": quality.error_rate, "precision": quality.precision, "recall": quality.recall, "links": quality.links,
        })
    };
    rows.iter().map(row).collect()
}

fn as_text(rows: &[(String, AlignmentQuality)]) -> String {
    let width = rows.iter().map(|(reading, _)| reading.len()).max().unwrap_or(0).max("reading".len());
    let mut text = format!("{:<width$}     AER  precision  recall    links\n", "reading");
    for (reading, AlignmentQuality { error_rate, precision, recall, links }) in rows {
        let percent = [error_rate, precision, recall].map(|share| 100.0 * share);
        let _ = writeln!(text, "{reading:<width$}  {:>6.1}  {:>9.1}  {:>6.1}  {links:>7}", percent[0], percent[1], percent[2]);
    }
    text
}
