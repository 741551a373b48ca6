use roxmltree::Document;

use super::*;

/// What breaks out of XML, HTML, attributes, comments and CDATA, if it is let.
const HOSTILE: &str = "</text><script>alert(1)</script>]]>\"'&<!--\u{0}\u{1b}\u{7f}\u{ffff}";

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn hostile() -> Vec<String> {
    vec![HOSTILE.to_owned(), "x\" onload=\"alert(1)".to_owned(), "猫".to_owned()]
}

/// One of each kind, with hostile names.
fn pictures() -> Vec<Picture> {
    let names = hostile();
    let weights = [0.9, 0.1, 0.0, 0.2, 0.7, 0.1, 0.3, 0.3, 0.4];
    let point = |x: f64, y: f64| Point { x, y, interval: Some([y - 1.0, y + 2.0]) };
    let lines: Vec<Line> = names.iter().map(|name| Line { name: name.clone(), points: vec![point(0.0, 20.0), point(1.0, 12.5)] }).collect();
    let bars: Vec<Bar> = names.iter().map(|name| Bar { name: name.clone(), value: 3.25, interval: Some([3.0, 3.5]) }).collect();
    let mut pictures: Vec<Picture> = [Scale::Purple, Scale::Viridis, Scale::Cividis]
        .map(|scale| HeatMap { title: HOSTILE, columns: &names, rows: &names, weights: &weights, scale }.picture())
        .into();
    pictures.push(Ribbons { title: HOSTILE, source: &names, target: &names, weights: &weights, share: 0.8 }.picture());
    for categories in [&names[..], &[]] {
        pictures.push(Lines { title: HOSTILE, across: HOSTILE, upwards: HOSTILE, categories, lines: &lines }.picture());
    }
    pictures.push(Bars { title: HOSTILE, across: HOSTILE, bars: &bars }.picture());
    pictures.push(Picture::beside(HOSTILE, &pictures.clone()));
    pictures.push(Picture::below(HOSTILE, &pictures.clone()).headed());
    pictures
}

#[test]
fn every_picture_is_well_formed_whatever_its_words_are() {
    for picture in pictures() {
        for svg in [picture.to_svg(), picture.to_inline_svg()] {
            let document = Document::parse(&svg).unwrap_or_else(|error| panic!("{error}:\n{svg}"));
            for element in document.descendants().filter(roxmltree::Node::is_element) {
                assert_ne!(element.tag_name().name(), "script");
                assert!(element.attributes().all(|attribute| !attribute.name().starts_with("on")), "{svg}");
            }
        }
    }
}

#[test]
fn every_picture_has_a_title_and_says_in_words_what_it_shows() {
    for picture in pictures() {
        let svg = picture.to_svg();
        let document = Document::parse(&svg).expect("well-formed");
        let root = document.root_element();
        assert_eq!(root.attribute("role"), Some("img"));
        assert!(root.attribute("aria-label").is_some_and(|label| label.contains("alert(1)")));
        let description = root.children().find(|child| child.has_tag_name(("http://www.w3.org/2000/svg", "desc"))).and_then(|d| d.text());
        assert!(description.is_some_and(|text| text.contains("猫")), "{description:?}");
    }
}

#[test]
fn nothing_is_drawn_outside_of_a_picture() {
    for picture in pictures() {
        let svg = picture.to_svg();
        let document = Document::parse(&svg).expect("well-formed");
        let (width, height) = (picture.width, picture.height);
        for rect in document.descendants().filter(|node| node.tag_name().name() == "rect") {
            let number = |name: &str| rect.attribute(name).map_or(0.0, |value| value.parse::<f64>().expect("a number"));
            assert!(number("x") >= 0.0 && number("y") >= 0.0);
            assert!(number("x") + number("width") <= width + 0.1 && number("y") + number("height") <= height + 0.1, "{svg}");
        }
    }
}

#[test]
fn ribbons_are_as_wide_as_their_weights_and_leave_out_what_is_over_the_share() {
    let (source, target) = (words("Hilf mir bitte"), words("Help me"));
    let weights = [0.8, 0.15, 0.05, 0.1, 0.9, 0.0];
    let count = |share: f32| {
        let svg = Ribbons { title: "t", source: &source, target: &target, weights: &weights, share }.picture().to_svg();
        (svg.matches("class=\"weight\"").count(), svg)
    };
    let (most, svg) = count(0.7);
    assert_eq!(most, 2, "one ribbon of each word makes up 70 %");
    assert!(svg.contains("hidden: 15 %") && svg.contains("Help \u{2190} Hilf: 0.80") && svg.contains("h20.8"), "{svg}");
    assert_eq!(count(1.0).0, 5, "a weight of 0 is no ribbon");
}

#[test]
fn heat_maps_have_a_cell_for_each_visible_weight_with_its_number() {
    let map = HeatMap { title: "t", columns: &words("a b"), rows: &words("c d"), weights: &[0.97, 0.03, 0.004, 0.6], scale: Scale::Purple };
    let svg = map.picture().to_svg();
    assert_eq!(svg.matches("class=\"weight\"").count(), 3);
    assert!(svg.contains(">97</text>") && svg.contains(">60</text>") && svg.contains("c \u{2190} a: 0.97"), "{svg}");
    // Tables without rows or columns are empty pictures.
    for (columns, rows) in [(words("a"), vec![]), (vec![], words("a")), (vec![], vec![])] {
        let svg = HeatMap { title: "t", columns: &columns, rows: &rows, weights: &[], scale: Scale::Viridis }.picture().to_svg();
        Document::parse(&svg).expect("well-formed");
    }
}

#[test]
fn a_png_has_the_size_of_its_picture_and_its_words_in_it() {
    let with = |word: &str| {
        let map = HeatMap { title: "t", columns: &words(word), rows: &words("x"), weights: &[0.5], scale: Scale::Purple };
        png(&map.picture().to_svg(), 2.0)
    };
    let bytes = match with("Haus") {
        Err(PngError::NoFont) => return,
        bytes => bytes.expect("a picture"),
    };
    let pixels = resvg::tiny_skia::Pixmap::decode_png(&bytes).expect("a PNG");
    // The corner is the page of light pictures, and there is ink above the cell, where the name of the column is.
    assert_eq!(pixels.pixel(0, 0).map(|p| (p.red(), p.green(), p.blue(), p.alpha())), Some((255, 255, 255, 255)));
    let ink = |png: &[u8]| {
        let pixels = resvg::tiny_skia::Pixmap::decode_png(png).expect("a PNG");
        pixels.pixels().iter().filter(|pixel| pixel.red() < 90 && pixel.green() < 90 && pixel.blue() < 90).count()
    };
    assert!(ink(&bytes) > ink(&with("i").expect("a picture")) + 40, "longer words take more ink");
    assert!(matches!(png(&Picture { width: 1e6, height: 1e6, ..pictures().remove(0) }.to_svg(), 1.0), Err(PngError::TooLarge { .. })));
    assert!(matches!(png("no picture", 1.0), Err(PngError::Svg(_))));
}
