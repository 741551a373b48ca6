//! A table of weights, shade = weight.

use super::Scale;
use super::svg::{Element, Picture, label};
use super::text::{SIZE, cut, width};

/// The side of a cell, and of one in a large table.
const CELL: f64 = 36.0;
const SMALL_CELL: f64 = 17.0;
/// From this many columns on, cells are small.
const MANY: usize = 24;
/// Longer names are cut.
const LONGEST_NAME: f64 = 150.0;
/// Lighter cells are not drawn: they would look like the ground.
const FAINTEST: f32 = 0.005;
/// Cells with less weight have no number and no note.
const NOTED: f32 = 0.05;
/// How column names lean.
const ANGLE: f64 = -50.0;

/// Weights in `[0, 1]` with names for their rows and columns: target words down, source words across.
#[derive(Clone, Copy, Debug)]
pub struct HeatMap<'a> {
    /// What it shows.
    pub title: &'a str,
    /// Names across the top.
    pub columns: &'a [String],
    /// Names down the side.
    pub rows: &'a [String],
    /// `[rows, columns]`; what is missing counts as 0.
    pub weights: &'a [f32],
    /// How weights are coloured.
    pub scale: Scale,
}

impl HeatMap<'_> {
    /// The picture. Cells show their weight in hundredths where there is room, and tell it on a longer look.
    pub fn picture(&self) -> Picture {
        let cell = if self.columns.len().max(self.rows.len()) > MANY { SMALL_CELL } else { CELL };
        let names = |names: &[String]| names.iter().map(|name| cut(name, LONGEST_NAME, SIZE)).collect::<Vec<_>>();
        let (columns, rows) = (names(self.columns), names(self.rows));
        let longest = |names: &[String]| names.iter().map(|name| width(name, SIZE)).fold(0.0, f64::max);
        let left = longest(&rows) + 16.0;
        let lean = ANGLE.to_radians();
        let top = longest(&columns) * lean.sin().abs() + 20.0;
        let overhang = longest(&columns[columns.len().saturating_sub(4)..]) * lean.cos();
        let (wide, high) = (cell * columns.len() as f64, cell * rows.len() as f64);

        let mut content = Element::new("rect").number("x", left).number("y", top).number("width", wide).number("height", high);
        content = match self.scale.colour(0.0) {
            None => content.word("class", "empty"),
            Some(colour) => content.word("fill", &rgb(colour)),
        };
        let mut content = content.written();
        for (i, name) in columns.iter().enumerate() {
            let (x, y) = (left + (i as f64 + 0.55) * cell, top - 6.0);
            let turned = Element::new("text").word("class", "ink").word("transform", &format!("translate({x:.1},{y:.1}) rotate({ANGLE})"));
            content += &turned.text(name).written();
        }
        for (j, name) in rows.iter().enumerate() {
            content += &label("ink", "end", left - 8.0, top + (j as f64 + 0.5) * cell + 4.5, name).written();
            for (i, column) in self.columns.iter().enumerate() {
                let weight = self.weights.get(j * self.columns.len() + i).copied().unwrap_or(0.0);
                if weight >= FAINTEST {
                    let place = (left + i as f64 * cell, top + j as f64 * cell);
                    content += &self.cell(place, cell, weight, &format!("{} \u{2190} {column}: {weight:.2}", self.rows[j])).written();
                }
            }
        }
        Picture {
            width: left + wide + overhang.max(12.0),
            height: top + high + 12.0,
            title: self.title.to_owned(),
            description: self.description(),
            content,
        }
    }

    fn cell(&self, (x, y): (f64, f64), cell: f64, weight: f32, note: &str) -> Element {
        let colour = self.scale.colour(weight);
        let shape = Element::new("rect").number("x", x + 0.5).number("y", y + 0.5).number("width", cell - 1.0).number("height", cell - 1.0);
        let shape = match colour {
            None => shape.word("class", "weight").number("fill-opacity", f64::from(weight.min(1.0))),
            Some(colour) => shape.word("fill", &rgb(colour)),
        };
        if weight < NOTED {
            return shape;
        }
        let shape = shape.note(note);
        if cell < CELL {
            return shape;
        }
        // Numbers have the colour that stands out: the page's on a strong purple, black or white on a colour that the page does not change.
        let class = if colour.is_none() && weight > 0.45 {
            "small paper"
        } else if colour.is_none() {
            "small ink"
        } else {
            "small"
        };
        let number = label(class, "middle", x + cell / 2.0, y + cell / 2.0 + 4.0, &format!("{:.0}", 100.0 * weight));
        let number = match colour {
            None => number,
            Some([r, g, b]) => {
                let light = 0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b) > 128.0;
                number.word("fill", if light { "#000" } else { "#fff" })
            }
        };
        Element::new("g").child(&shape).child(&number)
    }

    /// The strongest column of each row, in words.
    fn description(&self) -> String {
        let strongest = |(j, row): (usize, &String)| {
            let weights = self.weights.get(j * self.columns.len()..(j + 1) * self.columns.len())?;
            let (i, weight) = weights.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
            Some(format!("{row} from {} {weight:.2}", self.columns[i]))
        };
        let strongest: Vec<String> = self.rows.iter().enumerate().filter_map(strongest).collect();
        format!("Rows are target words, columns source words, darkness is weight. The most for each row: {}.", strongest.join("; "))
    }
}

fn rgb([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}
