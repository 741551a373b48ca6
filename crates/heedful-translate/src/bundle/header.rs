//! The header of a `.safetensors` file: eight bytes with its length, then JSON that says which tensor lies where.
//!
//! The `safetensors` crate reads such headers too, but takes the last of two equal keys, does not say which tensor is at fault, and writes the
//! metadata in random order; a bundle must be refused by name, and must be the same file for the same weights.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::ops::Range;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::BundleError;

/// The bytes before the JSON.
pub const LENGTH_BYTES: usize = 8;
/// No header of a translation model comes near it; without a limit, eight damaged bytes ask for all the memory there is.
const LONGEST: u64 = 100_000_000;

/// How a tensor's numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dtype {
    /// 32 bits.
    F32,
    /// 16 bits, IEEE 754 binary16.
    F16,
    /// 8 bits, with a companion tensor of scales.
    I8,
}

impl Dtype {
    /// Bytes per number.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::I8 => 1,
        }
    }
}

/// What the header says about one tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Info {
    /// How its numbers are stored.
    pub dtype: Dtype,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// First byte and end, counted from the end of the header.
    pub data_offsets: [usize; 2],
}

impl Info {
    /// Where the numbers lie, counted from the end of the header.
    pub fn range(&self) -> Range<usize> {
        self.data_offsets[0]..self.data_offsets[1]
    }

    /// How many numbers there are; `None` if that is beyond counting.
    pub fn elements(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size))
    }
}

/// The header as a whole. It is valid: the tensors follow one another without gap or overlap, each as long as its shape and dtype ask.
#[derive(Debug, Default)]
pub struct Header {
    /// Free text by key.
    pub metadata: BTreeMap<String, String>,
    /// The tensors by name.
    pub tensors: BTreeMap<String, Info>,
}

/// The header's length from the first bytes of a file.
///
/// # Errors
/// If it is longer than any header may be.
pub fn length(first: [u8; LENGTH_BYTES]) -> Result<usize, BundleError> {
    let length = u64::from_le_bytes(first);
    if length > LONGEST {
        return Err(BundleError::Damaged(format!("its header claims to be {length} bytes long, more than the {LONGEST} that are allowed")));
    }
    Ok(length as usize)
}

impl Header {
    /// Reads the JSON.
    ///
    /// # Errors
    /// If it is no such JSON, a key occurs twice, or a tensor's place contradicts its shape or another tensor's place.
    pub fn parse(json: &[u8]) -> Result<Self, BundleError> {
        let header: Self = serde_json::from_slice(json).map_err(BundleError::Header)?;
        let mut by_place: Vec<_> = header.tensors.iter().collect();
        by_place.sort_by_key(|(_, info)| info.data_offsets);
        let mut end = 0;
        for (name, info) in by_place {
            let bytes = info.elements().and_then(|elements| elements.checked_mul(info.dtype.size()));
            let [start, stop] = info.data_offsets;
            if stop.checked_sub(start) != bytes || bytes.is_none() {
                let what =
                    format!("{:?} numbers of shape {:?} do not fill bytes {start} to {stop}; the file is damaged", info.dtype, info.shape);
                return Err(BundleError::tensor(name, what));
            }
            if start != end {
                let how = if start < end {
                    "overlaps the tensor before it, which ends"
                } else {
                    "leaves a gap after the tensor before it, which ends"
                };
                return Err(BundleError::tensor(name, format!("it starts at byte {start} and {how} at byte {end}; the file is damaged")));
            }
            end = stop;
        }
        Ok(header)
    }

    /// How many bytes of numbers follow the header.
    pub fn data_len(&self) -> usize {
        self.tensors.values().map(|info| info.data_offsets[1]).max().unwrap_or(0)
    }

    /// The bytes before the numbers: length, JSON, and spaces that bring the numbers to a multiple of eight.
    pub fn to_bytes(&self) -> Vec<u8> {
        let entries: BTreeMap<&str, &Info> = self.tensors.iter().map(|(name, info)| (name.as_str(), info)).collect();
        let json =
            serde_json::to_string(&Written { metadata: &self.metadata, tensors: entries }).expect("strings and numbers have a JSON form");
        let length = json.len().next_multiple_of(LENGTH_BYTES);
        let mut bytes = (length as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(json.as_bytes());
        bytes.resize(LENGTH_BYTES + length, b' ');
        bytes
    }
}

#[derive(Serialize)]
struct Written<'a> {
    #[serde(rename = "__metadata__")]
    metadata: &'a BTreeMap<String, String>,
    #[serde(flatten)]
    tensors: BTreeMap<&'a str, &'a Info>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Header, M::Error> {
                let mut header = Header::default();
                let mut has_metadata = false;
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        if std::mem::replace(&mut has_metadata, true) {
                            return Err(M::Error::custom("`__metadata__` occurs twice"));
                        }
                        header.metadata = map.next_value::<Unique>()?.0;
                        continue;
                    }
                    match header.tensors.entry(name) {
                        Entry::Occupied(entry) => return Err(M::Error::custom(format!("tensor `{}` occurs twice", entry.key()))),
                        Entry::Vacant(entry) => {
                            let info = map.next_value().map_err(|error| M::Error::custom(format!("tensor `{}`: {error}", entry.key())))?;
                            entry.insert(info);
                        }
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// A map of strings in which no key occurs twice.
struct Unique(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Unique;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Unique, M::Error> {
                let mut entries = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if entries.contains_key(&key) {
                        return Err(M::Error::custom(format!("metadata `{key}` occurs twice")));
                    }
                    entries.insert(key, value);
                }
                Ok(Unique(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
