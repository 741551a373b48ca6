//! Two columns of a TSV file as an argument: `2,1`.

use heedful_translate::corpus::Columns;

/// The columns of source and target, counted from 1, with a comma between them.
pub fn columns(text: &str) -> Result<Columns, String> {
    let wrong = || format!("write the columns of source and target as two different numbers from 1, such as `2,1`, not `{text}`");
    let (source, target) = text.split_once(',').ok_or_else(wrong)?;
    let number = |digits: &str| digits.trim().parse().ok().filter(|&column: &usize| column > 0).ok_or_else(wrong);
    let columns = Columns { source: number(source)?, target: number(target)? };
    if columns.source == columns.target { Err(wrong()) } else { Ok(columns) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_different_numbers_from_one() {
        assert_eq!(columns("2,1"), Ok(Columns { source: 2, target: 1 }));
        for wrong in ["", "1", "1,", "1,1", "0,1", "a,b", "1,2,3", "-1,2"] {
            assert!(columns(wrong).is_err(), "{wrong}");
        }
    }
}
