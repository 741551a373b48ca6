//! Parallel text whose lines must stay in step, and the links that people made for it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use heedful_translate::corpus::{Columns, Files, Pair, Report, open_lines, read};
use heedful_translate::evaluate::ReferenceLinks;

/// All pairs of one TSV file, or of a source file and a target file; a line that cannot be used is an error, since `why`.
pub fn every_pair(files: &[PathBuf], columns: Columns, why: &str) -> Result<Vec<Pair>> {
    let files = match files {
        [source, target] => Files::paired(source, target),
        files => Files::tsv(&files[0], columns),
    };
    let mut report = Report::default();
    let pairs = read(&files, &mut report)?;
    if !report.dropped.is_empty() {
        bail!("{why}, and of this one lines cannot be used:\n{report}");
    }
    Ok(pairs)
}

/// The links of `pairs` pairs, one line each.
pub fn gold_links(gold: &Path, from_one: bool, reversed: bool, pairs: usize) -> Result<Vec<ReferenceLinks>> {
    let mut references = Vec::new();
    for line in open_lines(gold)? {
        let line = line?;
        let text = line.text.map_err(|_| anyhow!("{}: line {} is not a line of text", gold.display(), line.number))?;
        let links = ReferenceLinks::parse(&text, from_one).with_context(|| format!("{}, line {}", gold.display(), line.number))?;
        references.push(if reversed { links.reversed() } else { links });
    }
    if references.len() != pairs {
        bail!("{} has {} lines, and the text {pairs} pairs; it must hold the links of each pair", gold.display(), references.len());
    }
    Ok(references)
}
