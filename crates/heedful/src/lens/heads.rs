//! Which heads a look is taken at.

use std::ops::{Range, RangeFull};

use crate::{Error, Result};

/// One head, or several of whose weights the mean is taken.
///
/// ```
/// use heedful::lens::Heads;
/// let (one, some, all): (Heads, Heads, Heads) = (3.into(), (0..4).into(), (..).into());
/// assert_ne!(one, some);
/// # let _ = all;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads(Option<Range<usize>>);

impl From<usize> for Heads {
    /// This head.
    fn from(head: usize) -> Self {
        Self(Some(head..head.saturating_add(1)))
    }
}

impl From<Range<usize>> for Heads {
    /// The mean of these heads.
    fn from(heads: Range<usize>) -> Self {
        Self(Some(heads))
    }
}

impl From<RangeFull> for Heads {
    /// The mean of all heads.
    fn from(_: RangeFull) -> Self {
        Self(None)
    }
}

impl Heads {
    /// The heads meant, of `count` that there are: at least one.
    pub(super) fn among(self, operation: &'static str, count: usize) -> Result<Range<usize>> {
        let heads = self.0.unwrap_or(0..count);
        if heads.is_empty() || heads.end > count {
            let value = if heads.len() == 1 { heads.start.to_string() } else { format!("{heads:?}") };
            return Err(Error::Option { operation, option: "heads", value, fix: format!("there are {count}: name at least one of them") });
        }
        Ok(heads)
    }
}
