//! `heedful align`: which words of given translations belong together, and how well that agrees with links made by hand.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use heedful_translate::corpus::Columns;
use heedful_translate::decode::{Alignment, Layers, Reading};
use heedful_translate::evaluate::{AlignmentQuality, Links, ReferenceLinks, Symmetrisation, evaluate_alignments, format_links, symmetrise};
use heedful_translate::text::normalise;
use heedful_translate::translator::{TranslateOptions, Translator};
use serde_json::{Value, json};

use crate::columns::columns;
use crate::model::{ModelArgument, open};
use crate::output::{self, Output};
use crate::parallel::{every_pair, found_links, gold_links};

/// Align the words of a parallel text, or measure alignments against links made by hand
///
/// The model is made to write the given translations, and its attention is read. Words are what white space separates. One line a pair is printed:
/// `i-j` for each source word and target word that belong together, counted from 0 (the Pharaoh format). With --both, a model of the other direction
/// aligns too, and the two are symmetrised. With --gold, alignment error rate, precision and recall are printed instead: of every reading, or of the one
/// that is named, in both directions and symmetrised.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  heedful align --model de-en/model.safetensors text.de text.en
  heedful align --model de-en/model.safetensors --both en-de/model.safetensors text.de text.en
  heedful align --model de-en/model.safetensors text.de text.en --gold text.talp
  heedful align --model de-en/model.safetensors text.de text.en --gold text.talp --reading layer:1+shift --threshold 0.3
  heedful align --model de-en/model.safetensors text.de text.en --gold text.talp --beside eflomal.fwd --beside eflomal.rev")]
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
    #[arg(long, value_name = "FILE")]
    both: Option<PathBuf>,
    /// How the two directions are combined: intersection, union, grow-diag, grow-diag-final or grow-diag-final-and
    #[arg(long, value_name = "METHOD", requires = "both", default_value = "grow-diag-final-and")]
    symmetrise: Symmetrisation,
    /// Which attention is the alignment: see `heedful translate --help` [default: the model's; with --gold, each in turn]
    #[arg(long, value_name = "READING")]
    reading: Option<Reading>,
    /// The same for the model of --both [default: that of --reading, or its model's]
    #[arg(long, value_name = "READING", requires = "both")]
    reverse_reading: Option<Reading>,
    /// Link all source words that a target word looked at with at least this weight, not the one it looked at most
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
        let (translator, options) = self.model.load()?.into_translator()?;
        let texts = pairs.iter().map(|pair| (pair.source.as_str(), pair.target.as_str())).collect();
        let forward = Direction { translator, options, pairs: texts };
        let reverse = match &self.both {
            Some(path) => {
                let (translator, options) = open(path)?.into_translator()?;
                let texts = pairs.iter().map(|pair| (pair.target.as_str(), pair.source.as_str())).collect();
                Some(Direction { translator, options, pairs: texts })
            }
            None => None,
        };
        match &self.gold {
            Some(gold) => self.measure(&gold_links(gold, self.gold_from_one, self.gold_reversed, pairs.len())?, &forward, reverse.as_ref()),
            None => self.print(&forward, reverse.as_ref()),
        }
    }

    fn print(&self, forward: &Direction<'_>, reverse: Option<&Direction<'_>>) -> Result<()> {
        let links = forward.links(&[self.reading.unwrap_or(forward.default_reading())], self.threshold)?.concat();
        let links = match reverse {
            None => links,
            Some(reverse) => {
                let reading = self.reverse_reading.or(self.reading).unwrap_or(reverse.default_reading());
                let other = flipped(&reverse.links(&[reading], self.threshold)?.concat());
                links.iter().zip(&other).map(|(one, other)| symmetrise(one, other, self.symmetrise)).collect()
            }
        };
        let lines: String = links.iter().map(|links| format_links(links) + "\n").collect();
        Output::new(self.output.as_deref())?.write(lines)
    }

    fn measure(&self, gold: &[ReferenceLinks], forward: &Direction<'_>, reverse: Option<&Direction<'_>>) -> Result<()> {
        let readings = readings_of(self.reading, forward);
        let mut rows = Vec::new();
        let mut row = |reading: String, links: &[Links]| -> Result<()> {
            let quality = AlignmentQuality::from_sums(&evaluate_alignments(links, gold)?.sums());
            rows.push((reading, quality));
            Ok(())
        };
        let one = forward.links(&readings, self.threshold)?;
        for (reading, links) in readings.iter().zip(&one) {
            row(reading.to_string(), links)?;
        }
        if let Some(reverse) = reverse {
            let others = readings_of(self.reverse_reading.or(self.reading), reverse);
            let other: Vec<Vec<Links>> = reverse.links(&others, self.threshold)?.iter().map(|links| flipped(links)).collect();
            for (reading, links) in others.iter().zip(&other) {
                row(format!("reverse {reading}"), links)?;
            }
            // Like with like, or the one that was named on each side.
            for ((reading, one), (other_reading, other)) in readings.iter().zip(&one).zip(others.iter().zip(&other)) {
                let name = if reading == other_reading { reading.to_string() } else { format!("{reading} & {other_reading}") };
                for (method, links) in self.symmetrised(one, other) {
                    row(format!("{name}, {method}"), &links)?;
                }
            }
        }
        let beside = self.beside.iter().map(|path| found_links(path, gold.len())).collect::<Result<Vec<_>>>()?;
        for (path, links) in self.beside.iter().zip(&beside) {
            row(path.display().to_string(), links)?;
        }
        if let [one, other] = &beside[..] {
            for (method, links) in self.symmetrised(one, other) {
                row(format!("both files, {method}"), &links)?;
            }
        }
        output::print(if self.json { format!("{:#}\n", as_json(&rows)) } else { as_text(&rows) })
    }

    /// Two directions combined in the ways that are worth a look.
    fn symmetrised(&self, one: &[Links], other: &[Links]) -> [(Symmetrisation, Vec<Links>); 3] {
        [Symmetrisation::Intersection, Symmetrisation::Union, self.symmetrise]
            .map(|method| (method, one.iter().zip(other).map(|(one, other)| symmetrise(one, other, method)).collect()))
    }
}

/// The reading that was named, or all that there are but for single heads.
fn readings_of(named: Option<Reading>, direction: &Direction<'_>) -> Vec<Reading> {
    let layers = direction.translator.model().cross_attention().map_or(0, |model| model.layers);
    match named {
        Some(reading) => vec![reading],
        None => std::iter::once(Layers::Mean)
            .chain((0..layers).map(Layers::Layer))
            .flat_map(|layers| [false, true].map(|shift| Reading { layers, shift }))
            .collect(),
    }
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
