//! A table of weights as a picture made of text: columns across, rows down, shade = weight.
//!
//! If the column names fit beside one another, each column is as wide as its name and, in colour, shows the weight
//! in per cent. If they do not, columns are
//! narrow and the names stand in steps above them, each joined to its column by a line. What is still too wide goes into further blocks below.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::palette;
use crate::terminal::{Colours, Style};

/// Longer names are cut.
const LONGEST_NAME: usize = 24;
/// Columns of text for one narrow column of the picture.
const NARROW: usize = 2;

/// Weights in `[0, 1]` with names for their rows and columns.
#[derive(Clone, Debug)]
pub struct HeatMap<'a> {
    /// Names across the top.
    pub columns: &'a [String],
    /// Names down the side.
    pub rows: &'a [String],
    /// `[rows, columns]`.
    pub weights: &'a [f32],
}

impl HeatMap<'_> {
    /// The picture, every line ended.
    pub fn render(&self, style: Style) -> String {
        let rows = align(self.rows.iter().map(|name| shown(name, LONGEST_NAME.min(style.width / 3))));
        let left = rows.first().map_or(0, |name| name.width()) + 1;
        let room = style.width.saturating_sub(left).max(NARROW);
        let names: Vec<String> = self.columns.iter().map(|name| shown(name, LONGEST_NAME.min(room))).collect();
        let wide: Vec<usize> = names.iter().map(|name| name.width().max(3) + 1).collect();
        let widths = if wide.iter().sum::<usize>() <= room { wide } else { vec![NARROW; names.len()] };

        let mut out = String::new();
        let mut start = 0;
        while start < names.len() {
            let end = block_end(&widths, &names, start, room);
            if start > 0 {
                out.push('\n');
            }
            for line in header(&names[start..end], &widths[start..end]) {
                out.push_str(&" ".repeat(left));
                out.push_str(&line);
                out.push('\n');
            }
            for (name, weights) in rows.iter().zip(self.weights.chunks(self.columns.len())) {
                let cells: String =
                    weights[start..end].iter().zip(&widths[start..end]).map(|(&w, &width)| cell(w, width, style.colours)).collect();
                out.push_str(format!("{name} {cells}").trim_end());
                out.push('\n');
            }
            start = end;
        }
        out
    }

    /// For each row, the column of its largest weight with that weight: one line a row.
    pub fn strongest(&self) -> String {
        let rows = align(self.rows.iter().map(|name| shown(name, LONGEST_NAME)));
        let best: Vec<(usize, f32)> = self
            .weights
            .chunks(self.columns.len().max(1))
            .map(|row| row.iter().copied().enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best }).unwrap_or((0, 0.0)))
            .collect();
        let names =
            align(best.iter().map(|&(column, _)| self.columns.get(column).map(|name| shown(name, LONGEST_NAME)).unwrap_or_default()));
        let lines: Vec<String> =
            rows.iter().zip(names).zip(best).map(|((row, column), (_, weight))| format!("{row}  {column}  {weight:.2}\n")).collect();
        lines.concat()
    }
}

/// What the shades mean, in one line.
pub fn legend(style: Style) -> String {
    let steps = (0..10).map(|i| (i as f32 + 0.5) / 10.0);
    match style.colours {
        Colours::Plain => format!("weight: 0 |{}| 1\n", steps.map(palette::character).collect::<String>()),
        colours => format!("weight: 0 {} 1\n", steps.map(|weight| palette::paint("  ", weight, colours)).collect::<String>()),
    }
}

/// Where the block that starts at a column ends: as many columns as have room, but at least one.
fn block_end(widths: &[usize], names: &[String], start: usize, room: usize) -> usize {
    let mut place = 0;
    for column in start..widths.len() {
        // A name may be longer than what is below it; it must end within the line too.
        if column > start && place + widths[column].max(names[column].width()) > room {
            return column;
        }
        place += widths[column];
    }
    widths.len()
}

/// The lines with the column names. A name stands higher than all those to the right of it that it would run into.
fn header(names: &[String], widths: &[usize]) -> Vec<String> {
    let places: Vec<usize> = widths
        .iter()
        .scan(0, |place, width| {
            let start = *place;
            *place += width;
            Some(start)
        })
        .collect();
    let mut heights = vec![0; names.len()];
    for column in (0..names.len()).rev() {
        let end = places[column] + names[column].width() + 1;
        heights[column] =
            (column + 1..names.len()).take_while(|&other| places[other] < end).map(|other| heights[other] + 1).max().unwrap_or(0);
    }
    let top = heights.iter().max().map_or(0, |height| height + 1);
    (0..top)
        .rev()
        .map(|height| {
            let mut line = String::new();
            let mut at = 0;
            for column in 0..names.len() {
                let text = match heights[column].cmp(&height) {
                    std::cmp::Ordering::Less => continue,
                    std::cmp::Ordering::Equal => names[column].as_str(),
                    std::cmp::Ordering::Greater => "|",
                };
                line.push_str(&" ".repeat(places[column].saturating_sub(at)));
                line.push_str(text);
                at = places[column] + text.width();
            }
            line
        })
        .collect()
}

/// A cell; where it is wide, with its weight in per cent if there are colours to show the shade, and a gap after it.
fn cell(weight: f32, width: usize, colours: Colours) -> String {
    let gap = if width > NARROW { " " } else { "" };
    let inner = width - gap.len();
    let percent = (weight.clamp(0.0, 1.0) * 100.0).round();
    let text = match colours {
        Colours::Plain => palette::character(weight).to_string().repeat(inner),
        _ if gap.is_empty() || percent < 1.0 => " ".repeat(inner),
        _ => format!("{percent:^inner$}"),
    };
    palette::paint(&text, weight, colours) + gap
}

/// A name as it can stand in a line of a terminal: no control characters, and at most `longest` columns wide.
pub fn shown(name: &str, longest: usize) -> String {
    let mut text: String = name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.width() > longest {
        let mut width = 1;
        let end = text.char_indices().find(|(_, c)| {
            width += c.width().unwrap_or(0);
            width > longest
        });
        text.truncate(end.map_or(text.len(), |(end, _)| end));
        text.push('…');
    }
    text
}

/// The names, each filled with spaces to the width of the widest.
pub fn align(names: impl Iterator<Item = String>) -> Vec<String> {
    let names: Vec<String> = names.collect();
    let widest = names.iter().map(|name| name.width()).max().unwrap_or(0);
    names.iter().map(|name| format!("{name}{}", " ".repeat(widest - name.width()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { width: 60, colours: Colours::Plain };

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn map(columns: &str, rows: &str, weights: &[f32], style: Style) -> String {
        HeatMap { columns: &words(columns), rows: &words(rows), weights }.render(style)
    }

    #[test]
    fn short_names_stand_side_by_side_with_the_weight_in_each_cell() {
        let picture = map("Hilf mir bitte", "Please help", &[0.0, 0.02, 0.98, 0.9, 0.1, 0.004], PLAIN);
        let expected = "       Hilf mir bitte\n\
                        Please          @@@@@\n\
                        help   @@@@ ...\n";
        assert_eq!(picture, expected);
    }

    #[test]
    fn long_names_stand_in_steps_above_narrow_columns() {
        let style = Style { width: 20, ..PLAIN };
        let picture = map("Donaudampf schiff a fahrt", "x y", &[1.0, 0.0, 0.5, 0.0, 0.0, 0.3, 0.0, 0.7], style);
        let expected = "  Donaudampf\n\
                        \x20 | schiff\n\
                        \x20 | | a fahrt\n\
                        x @@  ++\n\
                        y   --  ##\n";
        assert_eq!(picture, expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_every_column_is_shown_once() {
        for count in [1, 2, 7, 30, 101] {
            for width in [20, 33, 80] {
                let columns: Vec<String> = (0..count).map(|i| format!("{}{i}", "wörter".repeat(1 + i % 4))).collect();
                let rows = words("eins zwei");
                let weights: Vec<f32> = (0..2 * count).map(|i| (i % 11) as f32 / 10.0).collect();
                let picture =
                    HeatMap { columns: &columns, rows: &rows, weights: &weights }.render(Style { width, colours: Colours::Plain });
                for line in picture.lines() {
                    assert!(line.width() <= width, "{count} {width}: {line}");
                }
                let named = picture.split([' ', '\n']).filter(|word| word.starts_with("wörter")).count();
                assert_eq!(named, count, "{picture}");
            }
        }
    }

    #[test]
    fn wide_characters_and_combining_marks_keep_the_columns_aligned() {
        let picture = map("猫 e\u{301}", "犬が x", &[1.0, 0.0, 0.0, 1.0], PLAIN);
        let expected = "     猫  e\u{301}\n\
                        犬が @@@\n\
                        x        @@@\n";
        assert_eq!(picture, expected);
    }

    #[test]
    fn colours_are_reset_after_each_cell() {
        for colours in [Colours::Indexed, Colours::True] {
            let picture = map("a b", "x", &[0.25, 0.75], Style { width: 40, colours });
            assert_eq!(picture.matches("\x1b[48;").count(), 2);
            assert_eq!(picture.matches("\x1b[0m").count(), 2);
        }
    }

    #[test]
    fn control_characters_of_a_text_do_not_reach_the_terminal() {
        let picture = map("\x1b[31mred b", "x", &[0.25, 0.75], PLAIN);
        assert!(!picture.contains('\x1b'));
    }

    #[test]
    fn the_strongest_column_of_each_row_is_named() {
        let columns = words("Hilf mir");
        let rows = words("help me");
        let map = HeatMap { columns: &columns, rows: &rows, weights: &[0.9, 0.1, 0.254, 0.746] };
        assert_eq!(map.strongest(), "help  Hilf  0.90\nme    mir   0.75\n");
    }
}
