//! Ranges of sentence lengths.

use std::fmt;
use std::str::FromStr;

use super::Error;

/// Where sentences are told apart by their length: ranges without gaps, from the shortest sentence to the longest.
///
/// Written and read as `1-10,11-20,21+`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    bounds: Vec<usize>,
}

impl Buckets {
    /// One bucket up to each of the rising `bounds`, and one beyond the last.
    ///
    /// # Errors
    /// If they do not rise.
    pub fn new(bounds: Vec<usize>) -> Result<Self, Error> {
        let rise = bounds.first().is_none_or(|&first| first > 0) && bounds.windows(2).all(|pair| pair[0] < pair[1]);
        if rise { Ok(Self { bounds }) } else { Err(Error::Buckets(format!("{bounds:?}"))) }
    }

    /// The longest length of each bucket but the last, which has no end.
    pub fn bounds(&self) -> &[usize] {
        &self.bounds
    }

    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.bounds.len() + 1
    }

    /// Which bucket a length lies in.
    pub fn of(&self, length: usize) -> usize {
        self.bounds.partition_point(|&bound| bound < length)
    }

    /// What a bucket is called, such as `11-20` or `41+`.
    pub fn name(&self, bucket: usize) -> String {
        let from = if bucket == 0 { 1 } else { self.bounds[bucket - 1] + 1 };
        match self.bounds.get(bucket) {
            Some(to) => format!("{from}-{to}"),
            None => format!("{from}+"),
        }
    }
}

impl fmt::Display for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = (0..self.len()).map(|bucket| self.name(bucket)).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for Buckets {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Buckets(text.to_owned());
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let (last, ranges) = parts.split_last().ok_or_else(wrong)?;
        let mut bounds = Vec::new();
        for range in ranges {
            let (_, to) = range.split_once('-').ok_or_else(wrong)?;
            bounds.push(to.parse().map_err(|_| wrong())?);
        }
        let buckets = Self::new(bounds).map_err(|_| wrong())?;
        // The ranges say more than their ends do: all of it has to agree.
        let agrees = parts.iter().enumerate().all(|(bucket, &part)| part == buckets.name(bucket)) && last.ends_with('+');
        if agrees { Ok(buckets) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_what_is_written() {
        for text in ["1-10,11-20,21-30,31-40,41+", "1+", "1-1,2-2,3+"] {
            let buckets: Buckets = text.parse().unwrap();
            assert_eq!(buckets.to_string(), text);
            assert_eq!(buckets.len(), text.split(',').count());
        }
        for wrong in ["", "1-10", "1-10,12+", "1-10,11-5,6+", "0-10,11+", "a-b,c+", "1-10,11-20", "5+", "1-10,,11+"] {
            let message = wrong.parse::<Buckets>().unwrap_err().to_string();
            assert!(message.contains("1-10,11-20,21+"), "{message}");
        }
    }

    #[test]
    fn each_length_has_its_bucket() {
        let buckets: Buckets = "1-10,11-20,21+".parse().unwrap();
        assert_eq!([0, 1, 10, 11, 20, 21, 999].map(|length| buckets.of(length)), [0, 0, 0, 1, 1, 2, 2]);
    }
}
