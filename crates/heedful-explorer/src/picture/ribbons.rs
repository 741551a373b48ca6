//! An alignment as ribbons between source words and target words.

use super::svg::{Element, Picture, label};
use super::text::{SIZE, width};

/// The width of a ribbon of weight 1.
const THICKEST: f64 = 26.0;
/// Room between words, and inside of their boxes.
const GAP: f64 = 10.0;
const PADDING: f64 = 8.0;
const BOX: f64 = 28.0;
/// The height of the ribbons.
const RISE: f64 = 120.0;
const MARGIN: f64 = 12.0;

/// Source words above, target words below; the width of a ribbon is the weight between its ends.
///
/// Ribbons stand side by side where they leave a word, so that a source word that was hardly used is seen to be untouched (as in Strobelt et
/// al. 2018, Seq2Seq-Vis). Of each target word the largest weights are drawn, until they make up the share that is asked for; the picture says how
/// much that leaves out.
#[derive(Clone, Copy, Debug)]
pub struct Ribbons<'a> {
    /// What it shows.
    pub title: &'a str,
    /// The words above.
    pub source: &'a [String],
    /// The words below.
    pub target: &'a [String],
    /// `[target, source]`; what is missing counts as 0.
    pub weights: &'a [f32],
    /// How much of each target word's weight is drawn, in `[0, 1]`.
    pub share: f32,
}

/// A word's box.
#[derive(Clone, Copy)]
struct Place {
    left: f64,
    width: f64,
}

impl Ribbons<'_> {
    /// The picture.
    pub fn picture(&self) -> Picture {
        let drawn = self.drawn();
        let used =
            |of: &dyn Fn(&(usize, usize, f32)) -> bool| drawn.iter().filter(|ribbon| of(ribbon)).map(|r| f64::from(r.2)).sum::<f64>();
        let source: Vec<f64> = (0..self.source.len()).map(|word| used(&|r| r.1 == word)).collect();
        let target: Vec<f64> = (0..self.target.len()).map(|word| used(&|r| r.0 == word)).collect();
        let (upper, upper_width) = places(self.source, &source);
        let (lower, lower_width) = places(self.target, &target);
        let inner = upper_width.max(lower_width);
        // The shorter row is centred.
        let (upper_shift, lower_shift) = (MARGIN + (inner - upper_width) / 2.0, MARGIN + (inner - lower_width) / 2.0);
        let (top, bottom) = (MARGIN + BOX, MARGIN + BOX + RISE);

        let mut content = String::new();
        let start = |place: &Place, shift: f64, used: f64| shift + place.left + place.width / 2.0 - THICKEST * used / 2.0;
        let mut from: Vec<f64> = upper.iter().zip(&source).map(|(place, &used)| start(place, upper_shift, used)).collect();
        let mut to: Vec<f64> = lower.iter().zip(&target).map(|(place, &used)| start(place, lower_shift, used)).collect();
        for &(t, s, weight) in &drawn {
            let thickness = THICKEST * f64::from(weight);
            let note = format!("{} \u{2190} {}: {weight:.2}", self.target[t], self.source[s]);
            let (a, b, middle) = (from[s], to[t], f64::midpoint(top, bottom));
            let path = format!(
                "M{a:.1},{top}C{a:.1},{middle} {b:.1},{middle} {b:.1},{bottom}h{thickness:.2}C{:.1},{middle} {:.1},{middle} {:.1},{top}z",
                b + thickness,
                a + thickness,
                a + thickness
            );
            let ribbon = Element::new("path").word("class", "weight").number("fill-opacity", 0.35 + 0.5 * f64::from(weight.min(1.0)));
            content += &ribbon.word("d", &path).note(&note).written();
            from[s] += thickness;
            to[t] += thickness;
        }
        let row = |words: &[String], places: &[Place], shift: f64, y: f64, class: &str| -> String {
            words.iter().zip(places).map(|(word, place)| boxed(word, *place, shift, y, class)).collect()
        };
        content += &row(self.source, &upper, upper_shift, MARGIN, "source");
        content += &row(self.target, &lower, lower_shift, bottom, "target");
        let total: f32 = self.weights.iter().sum();
        let kept: f32 = drawn.iter().map(|ribbon| ribbon.2).sum();
        let hidden = if total > 0.0 { 100.0 * (1.0 - kept / total).max(0.0) } else { 0.0 };
        let legend = format!("ribbon width = weight; hidden: {hidden:.0} % of the weight, in thin ribbons");
        content += &label("quiet small", "start", MARGIN, bottom + BOX + 18.0, &legend).written();
        Picture {
            width: (inner + 2.0 * MARGIN).max(width(&legend, 11.0) + 2.0 * MARGIN),
            height: bottom + BOX + 28.0,
            title: self.title.to_owned(),
            description: self.description(&drawn),
            content,
        }
    }

    /// `(target, source, weight)` of the largest weights of each target word, in the order in which they leave their words.
    fn drawn(&self) -> Vec<(usize, usize, f32)> {
        let mut drawn = Vec::new();
        for (t, row) in self.weights.chunks(self.source.len().max(1)).enumerate().take(self.target.len()) {
            let mut order: Vec<usize> = (0..row.len()).filter(|&s| row[s] > 0.0).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            let wanted = self.share * row.iter().sum::<f32>();
            let mut sum = 0.0;
            let mut kept: Vec<usize> = order
                .into_iter()
                .take_while(|&s| {
                    let goes_on = sum < wanted;
                    sum += row[s];
                    goes_on
                })
                .collect();
            kept.sort_unstable();
            drawn.extend(kept.into_iter().map(|s| (t, s, row[s])));
        }
        drawn
    }

    fn description(&self, drawn: &[(usize, usize, f32)]) -> String {
        let words: Vec<String> = drawn.iter().map(|&(t, s, w)| format!("{} from {} {w:.2}", self.target[t], self.source[s])).collect();
        format!("Source words above, target words below. {}.", words.join("; "))
    }
}

/// Boxes side by side, each wide enough for its word and for its ribbons; and their whole width.
fn places(words: &[String], used: &[f64]) -> (Vec<Place>, f64) {
    let mut left = 0.0;
    let place = |(word, &used): (&String, &f64)| {
        let width = (width(word, SIZE) + 2.0 * PADDING).max(THICKEST * used);
        let place = Place { left, width };
        left += width + GAP;
        place
    };
    let places: Vec<Place> = words.iter().zip(used).map(place).collect();
    (places, (left - GAP).max(0.0))
}

fn boxed(word: &str, place: Place, shift: f64, y: f64, class: &str) -> String {
    let x = shift + place.left;
    let shape = Element::new("rect").word("class", class).number("x", x).number("y", y).number("width", place.width).number("height", BOX);
    shape.number("rx", 5.0).written() + &label("ink", "middle", x + place.width / 2.0, y + BOX / 2.0 + 4.5, word).written()
}
