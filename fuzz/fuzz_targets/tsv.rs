//! A corpus of any bytes gives pairs, lines that cannot be used, or an error.
#![no_main]

use std::io::Cursor;

use heedful_translate::corpus::{Cleaning, Columns, Entry, Report, clean, read_tsv};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u8, Vec<u8>)| {
    let (source, target, bytes) = input;
    let columns = Columns { source: usize::from(source % 4), target: usize::from(target % 4) };
    let Ok(entries) = read_tsv(Cursor::new(bytes), "fuzz", columns) else { return };
    let mut pairs = Vec::new();
    for entry in entries {
        match entry {
            Ok(Entry::Pair(pair)) => pairs.push(pair),
            Ok(Entry::Unusable { .. }) => {}
            Err(_) => break,
        }
    }
    let count = pairs.len();
    assert!(clean(pairs, &Cleaning::default(), &[], &mut Report::default()).len() <= count);
});
