//! Numbers with names for their rows and columns, as text.

use crate::heat_map::{align, shown};

use unicode_width::UnicodeWidthStr;

/// Longest name of a row or column.
const LONGEST_NAME: usize = 12;

/// A table of `[rows, columns]` numbers with four decimals; `-inf` is printed as such. Columns beyond the width are left out, and that is said.
pub fn table(columns: &[String], rows: &[String], numbers: &[f32], width: usize) -> String {
    let count = numbers.len() / rows.len().max(1);
    let names: Vec<String> = (0..count).map(|i| columns.get(i).map(|name| shown(name, LONGEST_NAME)).unwrap_or_default()).collect();
    let rows = align(rows.iter().map(|name| shown(name, LONGEST_NAME)));
    let left = 2 + rows.first().map_or(0, |name| name.width());
    let widths: Vec<usize> = names.iter().map(|name| name.width().max(7) + 2).collect();
    let mut fit = 0;
    let mut used = left;
    while fit < count && used + widths[fit] <= width {
        used += widths[fit];
        fit += 1;
    }
    let mut lines = Vec::new();
    if !columns.is_empty() {
        let header: Vec<String> = names[..fit].iter().zip(&widths).map(|(name, width)| " ".repeat(width - name.width()) + name).collect();
        lines.push(format!("{}{}", " ".repeat(left), header.concat()));
    }
    for (name, row) in rows.iter().zip(numbers.chunks(count.max(1))) {
        let cells: Vec<String> = row[..fit].iter().zip(&widths).map(|(number, width)| format!("{number:>width$.4}")).collect();
        let more = if fit < count { " …" } else { "" };
        lines.push(format!("  {name}{}{more}", cells.concat()));
    }
    if fit < count {
        lines.push(format!("  (… {} further numbers in each row; --json prints all)", count - fit));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn names_and_numbers_line_up() {
        let text = table(&names("a 猫 long-name-1"), &names("x yy"), &[0.5, -1.25, f32::NEG_INFINITY, 12.0, 0.0, 0.00004], 80);
        let expected = "            a       猫  long-name-1\n\
                        \x20 x    0.5000  -1.2500         -inf\n\
                        \x20 yy  12.0000   0.0000       0.0000\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_counted() {
        let text = table(&[], &names("x"), &[1.0; 20], 40);
        assert_eq!(text, "  x   1.0000   1.0000   1.0000   1.0000 …\n  (… 16 further numbers in each row; --json prints all)\n");
    }
}
