//! `heedful translate`: sentences in, sentences out, and a picture of where each word came from.

use std::fmt::Write as _;
use std::io::{IsTerminal, stderr, stdin, stdout};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use heedful_explorer::picture::Picture;
use heedful_explorer::report;
use heedful_translate::corpus::{Fault, LONGEST_LINE, Line, open_lines};
use heedful_translate::decode::{Reading, Sampling};
use heedful_translate::translator::{Search, Sentence, TranslateOptions, Translation};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::arguments;
use crate::model::ModelArgument;
use crate::output::{Output, tell};
use crate::picture;
use crate::picture_files::PictureFiles;
use crate::terminal::{Style, When};

/// Lines that are read, translated and written together: enough to fill batches of equal length.
const LINES_AT_ONCE: usize = 512;

/// Translate text and see which source words each word came from
///
/// Text given as arguments is translated and its alignment drawn below: source words across, target words down, shade = weight. Text from a
/// file or a pipe is translated line by line, one line out for each line in, without pictures unless --align asks for them. Lines come out in
/// order, some hundred at a time: what was written stays when the program is interrupted.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  heedful translate \"Kannst du mir helfen, diesen Satz zu übersetzen?\"
  heedful translate --nbest 3 \"Das ist gut.\"                    three translations with their scores
  heedful translate --sample --seed 7 \"Das ist gut.\"            one drawn at random
  heedful translate --input letter.de.txt -o letter.en.txt      a file, line by line
  cat letter.de.txt | heedful translate --alignments pharaoh    translations with word links, as `text ||| 0-0 1-2`
  heedful translate --svg alignment.svg \"Das ist gut.\"         its alignment as a picture; --png and --html too
  heedful translate --json \"Das ist gut.\" | jq .text            everything, for programs
  heedful translate --model model/model.safetensors \"Hallo!\"    a model of your own")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Arguments {
    /// The text; without it, --input or standard input is read
    text: Vec<String>,
    /// Read the lines of a file (.gz too)
    #[arg(short, long, value_name = "FILE", conflicts_with = "text")]
    input: Option<PathBuf>,
    /// Write to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgument,
    /// Draw the alignment of each sentence, also for files and pipes
    #[arg(long, conflicts_with_all = ["alignments", "json"])]
    align: bool,
    /// Print the translation only
    #[arg(long, conflicts_with_all = ["align", "alignments", "json"])]
    plain: bool,
    /// Print the alignment after each translation: word links, or all weights as JSON
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "json")]
    alignments: Option<Alignments>,
    /// Print one JSON object a line: words, probabilities, alignments, alternatives
    #[arg(long)]
    json: bool,
    /// Hypotheses kept at each step; 1 is greedy [default: the model's]
    #[arg(long, value_name = "N", value_parser = arguments::at_least_one())]
    beam: Option<usize>,
    /// Print the N best translations of each line with their scores
    #[arg(long, value_name = "N", value_parser = arguments::at_least_one(), conflicts_with_all = ["align", "alignments"])]
    nbest: Option<usize>,
    /// Draw each word at random by its probability
    #[arg(long, conflicts_with = "beam")]
    sample: bool,
    /// What --sample draws follows from this number
    #[arg(long, value_name = "N", default_value_t = 0, requires = "sample")]
    seed: u64,
    /// For --sample: below 1 prefers the probable, above 1 the improbable
    #[arg(long, value_name = "T", default_value_t = 1.0, requires = "sample")]
    temperature: f32,
    /// Which attention is the alignment: last, mean, layer:K or layer:K,head:H, with +shift to read one step later [default: the model's]
    #[arg(long, value_name = "READING")]
    reading: Option<Reading>,
    #[command(flatten)]
    pictures: PictureFiles,
    /// What --svg and --png show
    #[arg(long, value_enum, value_name = "WHAT", default_value_t, help_heading = "Pictures as files")]
    draw: Drawing,
    /// How much of each word's weight ribbons show, in per cent: the largest weights that make it up
    #[arg(long, value_name = "PERCENT", default_value_t = 90, value_parser = clap::value_parser!(u8).range(1..=100), help_heading = "Pictures as files")]
    share: u8,
}

/// What a picture of an alignment shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Drawing {
    /// Words above one another, joined by ribbons as wide as their weights
    #[default]
    Ribbons,
    /// A table of the weights
    HeatMap,
}

/// How alignments are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Alignments {
    /// `translation ||| 0-0 1-2`: source-target links from 0
    Pharaoh,
    /// Words and all weights
    Json,
}

impl Arguments {
    pub fn run(self, color: When) -> Result<()> {
        let (translator, options) = self.model.load()?.into_translator()?;
        let options = self.options(options);
        let style = Style::of_stdout(if self.output.is_some() { When::Never } else { color });
        if !self.text.is_empty() {
            let mut output = Output::new(self.output.as_deref(), &self.input)?;
            let text = self.text.join(" ");
            let translation = translator.translate(&[&text], &options)?.swap_remove(0);
            if self.pictures.any() {
                self.draw(&text, &translation)?;
            }
            return output.write(&self.shown(&translation, 1, style)?);
        }
        if self.pictures.any() {
            bail!("pictures are drawn of a text that is given as an argument: heedful translate --svg picture.svg \"...\"");
        }
        let path = self.input.clone().unwrap_or_else(|| PathBuf::from("-"));
        // Who types wants each line translated when it is ended.
        let at_once = if self.input.is_none() && stdin().is_terminal() { 1 } else { LINES_AT_ONCE };
        let mut lines = open_lines(&path)?;
        let mut output = Output::new(self.output.as_deref(), &self.input)?;
        output.write("")?;
        let progress = self.progress()?;
        loop {
            let before = lines.number();
            let batch = lines.by_ref().take(at_once).map(|line| text_of(line?)).collect::<Result<Vec<String>>>();
            let batch = batch.with_context(|| format!("reading {}", lines.name()))?;
            if batch.is_empty() {
                progress.finish_and_clear();
                return Ok(());
            }
            let translations = translator
                .translate(&batch, &drawn_after(before, options))
                .with_context(|| format!("translating {}, of which text 1 is line {}", lines.name(), before + 1))?;
            let mut text = String::new();
            for (translation, number) in translations.iter().zip(before + 1..) {
                text += &progress.suspend(|| self.shown(translation, number, style))?;
            }
            output.write(&text)?;
            progress.inc(batch.len() as u64);
        }
    }

    /// What standard error shows of the way through a file or a pipe, if it is a terminal that no translations are written to.
    fn progress(&self) -> Result<ProgressBar> {
        if !stderr().is_terminal() || self.output.is_none() && stdout().is_terminal() {
            return Ok(ProgressBar::hidden());
        }
        let (bar, template) = match &self.input {
            // Only a regular file can be read a second time.
            Some(path) if path.is_file() => {
                (ProgressBar::new(open_lines(path)?.count() as u64), "{bar:25} {pos} of {len} lines, {per_sec}, eta {eta}")
            }
            _ => (ProgressBar::new_spinner(), "{spinner} {pos} lines, {per_sec}"),
        };
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(500));
        Ok(bar)
    }

    /// The model's options with those of the command line.
    fn options(&self, defaults: TranslateOptions) -> TranslateOptions {
        let n_best = self.nbest.unwrap_or(1);
        let search = match (self.sample, self.beam) {
            (true, _) => Search::Sample(Sampling { temperature: self.temperature, seed: self.seed, ..Sampling::default() }),
            (false, Some(1)) if n_best == 1 => Search::Greedy,
            (false, Some(width)) => Search::Beam { width: width.max(n_best) },
            (false, None) => match defaults.search {
                Search::Beam { width } => Search::Beam { width: width.max(n_best) },
                Search::Greedy if n_best > 1 => Search::Beam { width: n_best },
                search => search,
            },
        };
        let text_is_typed = !self.text.is_empty() && !self.plain;
        TranslateOptions {
            search,
            n_best,
            reading: self.reading.or(defaults.reading),
            alignment: self.align || self.json || self.alignments.is_some() || self.pictures.any() || text_is_typed,
            // Sentences of a line would each have candidates of their own.
            split_sentences: self.nbest.is_none(),
            ..defaults
        }
    }

    /// The pictures that were asked for as files.
    fn draw(&self, text: &str, translation: &Translation) -> Result<()> {
        let (scale, share) = (self.pictures.scale(), f32::from(self.share) / 100.0);
        let picture = |sentence: &Sentence| match self.draw {
            Drawing::Ribbons => report::sentence_ribbons(sentence, &sentence.best, share),
            Drawing::HeatMap => report::sentence_heat_map(sentence, &sentence.best, scale),
        };
        let all = || {
            let pictures: Option<Vec<Picture>> = translation.sentences.iter().map(picture).collect();
            let pictures = pictures.context("this model has no attention, so there is no alignment to draw")?;
            Ok(Picture::below("Which source words each target word looked at", &pictures))
        };
        self.pictures.write(all, || report::translation(text, translation, scale, share))
    }

    /// One line's translation in the form that was asked for.
    fn shown(&self, translation: &Translation, number: u64, style: Style) -> Result<String> {
        let mut out = String::new();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(translation)?)?;
        } else if self.nbest.is_some() {
            for candidate in translation.sentences.iter().flat_map(|sentence| std::iter::once(&sentence.best).chain(&sentence.alternatives))
            {
                writeln!(out, "{number} ||| {} ||| {:.4}", candidate.text, candidate.score)?;
            }
        } else if let Some(format) = self.alignments {
            match format {
                Alignments::Pharaoh => writeln!(out, "{} ||| {}", translation.text, links(translation))?,
                Alignments::Json => writeln!(out, "{}", weights(translation))?,
            }
        } else {
            writeln!(out, "{}", translation.text)?;
            if self.align || !self.text.is_empty() && !self.plain {
                out += &picture::of_sentences(&translation.sentences, style);
            }
        }
        for candidate in translation.sentences.iter().map(|sentence| &sentence.best).filter(|candidate| !candidate.finished) {
            tell(format_args!("warning: line {number}: the translation was still going on at its largest length: {}", candidate.text));
        }
        Ok(out)
    }
}

/// The options for what follows `lines` lines: what is drawn at random does not repeat what was drawn for those.
fn drawn_after(lines: u64, mut options: TranslateOptions) -> TranslateOptions {
    if let Search::Sample(sampling) = &mut options.search {
        sampling.seed = sampling.seed.wrapping_add(lines.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
    options
}

/// The text of a line, or an error that says which line has none.
fn text_of(line: Line) -> Result<String> {
    let number = line.number;
    line.text.map_err(|fault| match fault {
        Fault::TooLong(bytes) => {
            anyhow!("line {number} has {bytes} bytes, more than the {LONGEST_LINE} that a line may have; break it into lines")
        }
        Fault::NotUtf8(valid) => anyhow!("line {number} is not UTF-8 after byte {valid}; convert the text to UTF-8"),
    })
}

/// The links of all sentences, with words counted through the line.
fn links(translation: &Translation) -> String {
    let mut links = Vec::new();
    let (mut sources, mut targets) = (0, 0);
    for sentence in &translation.sentences {
        if let Some(alignment) = &sentence.best.alignment {
            links.extend(alignment.links().iter().map(|link| format!("{}-{}", sources + link.source, targets + link.target)));
        }
        sources += sentence.source_words.len();
        targets += sentence.best.target_words.len();
    }
    links.join(" ")
}

/// Words and weights of each sentence, without what is not about alignment.
fn weights(translation: &Translation) -> serde_json::Value {
    let sentence = |sentence: &Sentence| json!({ "source_words": sentence.source_words, "target_words": sentence.best.target_words, "alignment": sentence.best.alignment });
    json!({ "text": translation.text, "sentences": translation.sentences.iter().map(sentence).collect::<Vec<_>>() })
}
