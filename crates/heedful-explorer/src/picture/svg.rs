//! The SVG writer: elements, attributes and text, with everything escaped that has to be.

use std::fmt::Write as _;

use super::style::STYLE;

/// A finished picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) content: String,
}

impl Picture {
    /// As a file of its own, with its style and its background.
    pub fn to_svg(&self) -> String {
        let background = Element::new("rect").word("class", "page").number("width", self.width).number("height", self.height);
        self.written(&format!("<style>{STYLE}</style>{}", background.written()))
    }

    /// As a part of an HTML page that holds [`STYLE`] itself.
    pub fn to_inline_svg(&self) -> String {
        self.written("")
    }

    fn written(&self, before: &str) -> String {
        let (width, height) = (format_number(self.width), format_number(self.height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"picture\" role=\"img\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             aria-label=\"{}\"><title>{}</title><desc>{}</desc>{before}{}</svg>\n",
            escape(&self.title),
            escape(&self.title),
            escape(&self.description),
            self.content
        )
    }

    /// Pictures beside one another, the first of them at the left.
    pub fn beside(title: &str, pictures: &[Self]) -> Self {
        Self::together(title, pictures, |size, picture| ([size[0], 0.0], [size[0] + picture.width, size[1].max(picture.height)]))
    }

    /// Pictures below one another, the first of them at the top.
    pub fn below(title: &str, pictures: &[Self]) -> Self {
        Self::together(title, pictures, |size, picture| ([0.0, size[1]], [size[0].max(picture.width), size[1] + picture.height]))
    }

    /// `place` says, for the size so far and the next picture, where that goes and what the size then is.
    fn together(title: &str, pictures: &[Self], place: impl Fn([f64; 2], &Self) -> ([f64; 2], [f64; 2])) -> Self {
        let mut content = String::new();
        let mut size = [0.0, 0.0];
        for picture in pictures {
            let ([x, y], grown) = place(size, picture);
            let shift = format!("translate({},{})", format_number(x), format_number(y));
            content += &Element::new("g").word("transform", &shift).raw(&picture.content).written();
            size = grown;
        }
        let descriptions: Vec<&str> = pictures.iter().map(|picture| picture.description.as_str()).collect();
        Self { width: size[0], height: size[1], title: title.to_owned(), description: descriptions.join(" "), content }
    }

    /// The picture with its title in it, above.
    #[must_use]
    pub fn headed(self) -> Self {
        const HEADING: f64 = 32.0;
        let heading = label("head ink", "start", 12.0, 22.0, &self.title).written();
        let below = Element::new("g").word("transform", &format!("translate(0,{HEADING})")).raw(&self.content).written();
        let room = super::text::width(&self.title, 15.0) + 24.0;
        Self { width: self.width.max(room), height: self.height + HEADING, content: heading + &below, ..self }
    }
}

/// An element under construction.
pub(super) struct Element {
    name: &'static str,
    attributes: String,
    content: String,
}

impl Element {
    pub fn new(name: &'static str) -> Self {
        Self { name, attributes: String::new(), content: String::new() }
    }

    /// An attribute with a number, to two decimals.
    pub fn number(self, name: &str, value: f64) -> Self {
        let value = format_number(value);
        self.word(name, &value)
    }

    /// An attribute with text.
    pub fn word(mut self, name: &str, value: &str) -> Self {
        let _ = write!(self.attributes, " {name}=\"{}\"", escape(value));
        self
    }

    /// Text inside the element.
    pub fn text(mut self, text: &str) -> Self {
        self.content += &escape(text);
        self
    }

    /// What is read when the pointer rests on the element, or by who cannot see it.
    pub fn note(self, text: &str) -> Self {
        let note = Self::new("title").text(text);
        self.child(&note)
    }

    pub fn child(mut self, child: &Self) -> Self {
        self.content += &child.written();
        self
    }

    /// Content that is SVG already.
    pub fn raw(mut self, content: &str) -> Self {
        self.content += content;
        self
    }

    pub fn written(&self) -> String {
        let Self { name, attributes, content } = self;
        if content.is_empty() { format!("<{name}{attributes}/>") } else { format!("<{name}{attributes}>{content}</{name}>") }
    }
}

/// A line of text with its left end, its middle or its right end (`start`, `middle`, `end`) at a place.
pub(super) fn label(class: &str, anchor: &str, x: f64, y: f64, text: &str) -> Element {
    Element::new("text").word("class", class).word("text-anchor", anchor).number("x", x).number("y", y).text(text)
}

/// At most two decimals, and none where they are zero.
pub(super) fn format_number(value: f64) -> String {
    if !value.is_finite() {
        return "0".to_owned();
    }
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Text as it can stand in XML and HTML, inside of elements and of attributes in double quotes; characters that XML does not allow are replaced.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            '\t' | '\n' => out.push(c),
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
