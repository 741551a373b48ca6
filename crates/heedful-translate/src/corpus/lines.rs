//! Lines of bounded length from anything that can be read.

use std::io::BufRead;

use super::{Error, Result};

/// A line of more bytes than this is not kept in memory: 64 KiB, some hundred times the longest sentence that is worth training on.
pub const LONGEST_LINE: usize = 1 << 16;

/// A line of text, or why it cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number, counted from 1.
    pub number: u64,
    /// Its text without the line break.
    pub text: std::result::Result<String, Fault>,
}

/// Why a line cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It has this many bytes, which is more than the limit.
    TooLong(u64),
    /// It is no UTF-8 after this many bytes.
    NotUtf8(usize),
}

/// The lines of a reader, one at a time: memory stays below the limit whatever is read.
pub struct Lines {
    reader: Box<dyn BufRead + Send>,
    name: String,
    limit: usize,
    number: u64,
    failed: bool,
}

impl Lines {
    /// The lines of `reader`; `name` is what messages call it, `limit` the most bytes of a line.
    pub fn new(reader: Box<dyn BufRead + Send>, name: impl Into<String>, limit: usize) -> Self {
        Self { reader, name: name.into(), limit, number: 0, failed: false }
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many lines were read so far.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The bytes of the next line, at most `limit + 1` of them, and how many there are; `None` at the end.
    fn next_bytes(&mut self) -> std::io::Result<Option<(Vec<u8>, u64)>> {
        let mut kept = Vec::new();
        let mut length = 0u64;
        loop {
            let available = match self.reader.fill_buf() {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if available.is_empty() {
                return Ok((length > 0).then_some((kept, length)));
            }
            let end = available.iter().position(|&byte| byte == b'\n');
            let part = &available[..end.unwrap_or(available.len())];
            kept.extend_from_slice(&part[..part.len().min((self.limit + 1).saturating_sub(kept.len()))]);
            length += part.len() as u64;
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                return Ok(Some((kept, length)));
            }
        }
    }
}

impl Iterator for Lines {
    type Item = Result<Line>;

    fn next(&mut self) -> Option<Result<Line>> {
        if self.failed {
            return None;
        }
        match self.next_bytes() {
            Err(error) => {
                self.failed = true;
                Some(Err(Error::Read { name: self.name.clone(), line: self.number, error }))
            }
            Ok(None) => None,
            Ok(Some((mut bytes, length))) => {
                self.number += 1;
                let text = if length > self.limit as u64 {
                    Err(Fault::TooLong(length))
                } else {
                    if bytes.last() == Some(&b'\r') {
                        bytes.pop();
                    }
                    String::from_utf8(bytes).map_err(|error| Fault::NotUtf8(error.utf8_error().valid_up_to()))
                };
                Some(Ok(Line { number: self.number, text }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor, Read};

    use proptest::prelude::*;

    use super::{Fault, Lines};

    fn lines(bytes: &[u8], limit: usize) -> Vec<Result<String, Fault>> {
        // A tiny buffer, so that lines cross its end.
        let reader = BufReader::with_capacity(3, Cursor::new(bytes.to_vec()));
        Lines::new(Box::new(reader), "test", limit).map(|line| line.unwrap().text).collect()
    }

    #[test]
    fn breaks_lines_and_flags_bad_ones() {
        assert_eq!(lines(b"ab\r\n\nc", 8), [Ok("ab".into()), Ok(String::new()), Ok("c".into())]);
        assert_eq!(lines(b"12345\n123456\n1", 5), [Ok("12345".into()), Err(Fault::TooLong(6)), Ok("1".into())]);
        assert_eq!(lines(b"a\xffb\nc\n", 8), [Err(Fault::NotUtf8(1)), Ok("c".into())]);
        assert!(lines(b"", 8).is_empty());
    }

    #[test]
    fn an_endless_line_takes_no_memory() {
        let endless = BufReader::new(std::io::repeat(b'a').take(1 << 28));
        let line = Lines::new(Box::new(endless), "endless", 1000).next().unwrap().unwrap();
        assert_eq!(line.text, Err(Fault::TooLong(1 << 28)));
    }

    proptest! {
        #[test]
        fn agrees_with_splitting_in_memory(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), any::<u8>()], 0..60), limit in 1usize..8) {
            let mut expected: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
            if expected.last().is_some_and(|last| last.is_empty()) {
                expected.pop();
            }
            let read = lines(&bytes, limit);
            prop_assert_eq!(read.len(), expected.len());
            for (read, expected) in read.iter().zip(expected) {
                match read {
                    Ok(text) => prop_assert_eq!(text.as_bytes(), expected.strip_suffix(b"\r").unwrap_or(expected)),
                    Err(Fault::TooLong(length)) => prop_assert!(*length == expected.len() as u64 && expected.len() > limit),
                    Err(Fault::NotUtf8(valid)) => {
                        prop_assert!(str::from_utf8(&expected[..*valid]).is_ok() && str::from_utf8(expected).is_err());
                    }
                }
            }
        }
    }
}
