//! Parallel text whose lines must stay in step, and the links that people made for it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use heedful_translate::corpus::{Columns, Files, Pair, Report, open_lines, read};
use heedful_translate::evaluate::{Links, ReferenceLinks, parse_links};

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

/// The links of `pairs` pairs that people made, one line each.
pub fn gold_links(path: &Path, from_one: bool, reversed: bool, pairs: usize) -> Result<Vec<ReferenceLinks>> {
    links_of_each(path, pairs, |line| {
        let links = ReferenceLinks::parse(line, from_one)?;
        Ok(if reversed { links.reversed() } else { links })
    })
}

/// The links of `pairs` pairs as an aligner prints them, one line each.
pub fn found_links(path: &Path, pairs: usize) -> Result<Vec<Links>> {
    links_of_each(path, pairs, |line| Ok(parse_links(line, false)?.0))
}

fn links_of_each<T>(path: &Path, pairs: usize, parse: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    let mut links = Vec::new();
    for line in open_lines(path)? {
        let line = line?;
        let text = line.text.map_err(|_| anyhow!("{}: line {} is not a line of text", path.display(), line.number))?;
        links.push(parse(&text).with_context(|| format!("{}, line {}", path.display(), line.number))?);
    }
    if links.len() != pairs {
        bail!("{} has {} lines, and the text {pairs} pairs; it must hold the links of each pair", path.display(), links.len());
    }
    Ok(links)
}
