//! Sentence pairs from files.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::{Error, Fault, LONGEST_LINE, Lines, Pair, Reason, Report, Result};

/// Which columns of a TSV file hold the two sides, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// The column of the source.
    pub source: usize,
    /// The column of the target.
    pub target: usize,
}

/// Where a corpus is. Every file may be compressed with gzip, which is told by its first bytes; the path `-` is standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Files {
    /// Two files; line k of the one belongs to line k of the other.
    Paired {
        /// One source sentence a line.
        source: PathBuf,
        /// One target sentence a line.
        target: PathBuf,
    },
    /// One file with columns that are separated by tabs; there is no quoting.
    Tsv {
        /// The file.
        path: PathBuf,
        /// Its columns.
        columns: Columns,
    },
}

impl Files {
    /// Two files that belong together line by line.
    pub fn paired(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self::Paired { source: source.into(), target: target.into() }
    }

    /// One file with columns.
    pub fn tsv(path: impl Into<PathBuf>, columns: Columns) -> Self {
        Self::Tsv { path: path.into(), columns }
    }
}

/// What a line of a corpus holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A pair; a side may be blank.
    Pair(Pair),
    /// Nothing that could be used.
    Unusable {
        /// The line, counted from 1.
        line: u64,
        /// Why.
        reason: Reason,
        /// What there is to say about it.
        detail: String,
    },
}

/// The lines of a file, decompressed if need be; `-` is standard input.
///
/// # Errors
///
/// [`Error::Open`] at once, [`Error::Read`] from the iterator.
pub fn open_lines(path: &Path) -> Result<Lines> {
    let open = |error| Error::Open { path: path.to_owned(), error };
    let (input, name): (Box<dyn Read + Send>, String) = if path == Path::new("-") {
        (Box::new(stdin()), "standard input".into())
    } else {
        (Box::new(File::open(path).map_err(open)?), path.display().to_string())
    };
    Ok(Lines::new(decompressed(BufReader::with_capacity(1 << 16, input)).map_err(open)?, name, LONGEST_LINE))
}

fn decompressed(mut reader: impl BufRead + Send + 'static) -> std::io::Result<Box<dyn BufRead + Send>> {
    // Two bytes are enough to tell, and a file gives them in its first read.
    Ok(if reader.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(reader)))
    } else {
        Box::new(reader)
    })
}

/// The pairs of a corpus, one line at a time.
///
/// # Errors
///
/// [`Error::Open`] and [`Error::Columns`] at once; [`Error::Read`], [`Error::LineCounts`] and [`Error::Empty`] from the iterator, which
/// then ends.
pub fn open_pairs(files: &Files) -> Result<Box<dyn Iterator<Item = Result<Entry>> + Send>> {
    Ok(match files {
        Files::Paired { source, target } => Box::new(Paired { source: open_lines(source)?, target: open_lines(target)?, ended: false }),
        Files::Tsv { path, columns } => Box::new(Tsv::new(open_lines(path)?, *columns)?),
    })
}

/// The pairs of TSV text that is read from anything, such as bytes in memory.
///
/// # Errors
///
/// As [`open_pairs`], except that nothing is opened.
pub fn read_tsv(input: impl Read + Send + 'static, name: &str, columns: Columns) -> Result<impl Iterator<Item = Result<Entry>>> {
    let failed = |error| Error::Read { name: name.to_owned(), line: 0, error };
    Tsv::new(Lines::new(decompressed(BufReader::new(input)).map_err(failed)?, name, LONGEST_LINE), columns)
}

/// All usable pairs of a corpus; what was left out is added to `report`.
///
/// # Errors
///
/// As [`open_pairs`].
pub fn read(files: &Files, report: &mut Report) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for entry in open_pairs(files)? {
        report.read += 1;
        match entry? {
            Entry::Pair(pair) => {
                report.kept += 1;
                pairs.push(pair);
            }
            Entry::Unusable { line, reason, detail } => report.unusable(reason, line, detail),
        }
    }
    Ok(pairs)
}

struct Tsv {
    lines: Lines,
    columns: Columns,
    ended: bool,
}

impl Tsv {
    fn new(lines: Lines, columns: Columns) -> Result<Self> {
        let Columns { source, target } = columns;
        if source == 0 || target == 0 || source == target {
            return Err(Error::Columns { name: lines.name().to_owned(), source_column: source, target_column: target });
        }
        Ok(Self { lines, columns, ended: false })
    }
}

impl Iterator for Tsv {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        if self.ended {
            return None;
        }
        let line = match self.lines.next() {
            Some(Ok(line)) => line,
            Some(Err(error)) => {
                self.ended = true;
                return Some(Err(error));
            }
            None => {
                self.ended = true;
                return empty(&self.lines);
            }
        };
        let number = line.number;
        Some(Ok(match line.text {
            Err(fault) => unusable(number, fault, ""),
            Ok(text) => {
                let column = |index: usize| text.split('\t').nth(index - 1);
                match (column(self.columns.source), column(self.columns.target)) {
                    (Some(source), Some(target)) => {
                        Entry::Pair(Pair { line: number, source: source.to_owned(), target: target.to_owned() })
                    }
                    _ => Entry::Unusable {
                        line: number,
                        reason: Reason::MissingColumn,
                        detail: format!(
                            "{} columns, but column {} is asked for",
                            text.split('\t').count(),
                            self.columns.source.max(self.columns.target)
                        ),
                    },
                }
            }
        }))
    }
}

struct Paired {
    source: Lines,
    target: Lines,
    ended: bool,
}

impl Iterator for Paired {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        if self.ended {
            return None;
        }
        let (source, target) = match (self.source.next(), self.target.next()) {
            (Some(Ok(source)), Some(Ok(target))) => (source, target),
            (source, target) => {
                self.ended = true;
                let error = match (source, target) {
                    (Some(Err(error)), _) | (_, Some(Err(error))) => error,
                    (None, None) => return empty(&self.source),
                    (source, _) => {
                        let (longer, shorter) = if source.is_some() { (&self.source, &self.target) } else { (&self.target, &self.source) };
                        Error::LineCounts {
                            source_name: self.source.name().to_owned(),
                            target_name: self.target.name().to_owned(),
                            longer: longer.name().to_owned(),
                            lines: shorter.number(),
                        }
                    }
                };
                return Some(Err(error));
            }
        };
        let line = source.number;
        Some(Ok(match (source.text, target.text) {
            (Ok(source), Ok(target)) => Entry::Pair(Pair { line, source, target }),
            (Err(fault), _) => unusable(line, fault, "source: "),
            (_, Err(fault)) => unusable(line, fault, "target: "),
        }))
    }
}

/// The error of a file that ended without a line.
fn empty<T>(lines: &Lines) -> Option<Result<T>> {
    (lines.number() == 0).then(|| Err(Error::Empty(lines.name().to_owned())))
}

fn unusable(line: u64, fault: Fault, side: &str) -> Entry {
    let (reason, detail) = match fault {
        Fault::TooLong(bytes) => (Reason::LineTooLong, format!("{side}{bytes} bytes; at most {LONGEST_LINE} are read")),
        Fault::NotUtf8(valid) => (Reason::NotUtf8, format!("{side}no UTF-8 after byte {valid}")),
    };
    Entry::Unusable { line, reason, detail }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: Columns = Columns { source: 2, target: 1 };

    fn tsv(bytes: &[u8]) -> Vec<Result<Entry>> {
        read_tsv(Cursor::new(bytes.to_vec()), "test", COLUMNS).unwrap().collect()
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn pair(line: u64, source: &str, target: &str) -> Entry {
        Entry::Pair(Pair { line, source: source.into(), target: target.into() })
    }

    #[test]
    fn picks_columns_and_reports_lines_that_lack_them() {
        let entries: Vec<Entry> = tsv(b"Hi.\tHallo!\tx\r\nRun!\n\tb\n\xff\ta\n").into_iter().map(Result::unwrap).collect();
        assert_eq!(entries[0], pair(1, "Hallo!", "Hi."));
        assert!(matches!(&entries[1], Entry::Unusable { line: 2, reason: Reason::MissingColumn, detail } if detail.contains("1 columns")));
        assert_eq!(entries[2], pair(3, "b", ""));
        assert!(matches!(&entries[3], Entry::Unusable { line: 4, reason: Reason::NotUtf8, .. }));
    }

    #[test]
    fn gzip_is_told_by_its_bytes_and_may_have_several_members() {
        let mut bytes = gz(b"a\tb\n");
        bytes.extend(gz(b"c\td\n"));
        let entries: Vec<Entry> = tsv(&bytes).into_iter().map(Result::unwrap).collect();
        assert_eq!(entries, [pair(1, "b", "a"), pair(2, "d", "c")]);
        let cut = tsv(&gz(b"a\tb\n")[..15]);
        assert!(cut.last().unwrap().as_ref().unwrap_err().to_string().contains("cut off"));
    }

    #[test]
    fn nothing_at_all_is_an_error() {
        assert!(tsv(b"")[0].as_ref().unwrap_err().to_string().contains("is empty"));
        assert!(tsv(&gz(b""))[0].as_ref().unwrap_err().to_string().contains("is empty"));
        let columns = read_tsv(Cursor::new(b"a\tb"), "test", Columns { source: 0, target: 1 });
        assert!(columns.err().unwrap().to_string().contains("counted from 1"));
        let missing = read(&Files::tsv("/nowhere/x.tsv", COLUMNS), &mut Report::default()).unwrap_err();
        assert!(missing.to_string().contains("/nowhere/x.tsv"));
    }

    #[test]
    fn paired_files_belong_together_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let (three, two) = (path("three.gz", &gz(b"a\nb\n\xff")), path("two", b"c\nd\n"));
        let mut report = Report::default();
        let pairs = read(&Files::paired(&three, path("long", format!("x\n{}\nz\n", "y".repeat(LONGEST_LINE + 1)).as_bytes())), &mut report)
            .unwrap();
        assert_eq!(pairs.iter().map(|pair| (pair.line, pair.target.as_str())).collect::<Vec<_>>(), [(1, "x")]);
        assert_eq!((report.read, report.kept), (3, 1));
        let message = report.to_string();
        assert!(message.contains("line 2") && message.contains("65537 bytes") && message.contains("line 3"), "{message}");

        for (files, longer) in [(Files::paired(&three, &two), "three.gz"), (Files::paired(&two, &three), "three.gz")] {
            let message = read(&files, &mut Report::default()).unwrap_err().to_string();
            assert!(message.contains(&format!("{longer} goes on after line 2")), "{message}");
        }
        let empty = path("empty", b"");
        assert!(read(&Files::paired(&empty, &empty), &mut Report::default()).unwrap_err().to_string().contains("is empty"));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\t'), Just(b'\r'), any::<u8>()], 1..80), zip: bool) {
            let breaks = bytes.split(|&byte| byte == b'\n').count() - 1;
            let lines = breaks + usize::from(bytes.last() != Some(&b'\n'));
            let entries = tsv(&if zip { gz(&bytes) } else { bytes.clone() });
            if zip || !bytes.starts_with(&[0x1f, 0x8b]) {
                prop_assert_eq!(entries.len(), lines);
                for (entry, number) in entries.into_iter().zip(1..) {
                    let (Entry::Pair(Pair { line, .. }) | Entry::Unusable { line, .. }) = entry.unwrap();
                    prop_assert_eq!(line, number);
                }
            }
        }
    }
}
