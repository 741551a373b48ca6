//! From SVG to PNG.

use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb::Database};

/// The most pixels of a picture.
const LARGEST: f32 = 100e6;
/// Fonts that are looked for first, by what systems commonly have.
const FAMILIES: [&str; 8] = ["DejaVu Sans", "Noto Sans", "Liberation Sans", "Segoe UI", "Helvetica Neue", "Helvetica", "Arial", "Roboto"];

/// Why a picture cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PngError {
    /// There is nothing to draw text with.
    #[error(
        "png: no font is installed, so the words of the picture would be missing; install one, such as DejaVu Sans, or save the picture as SVG"
    )]
    NoFont,
    /// The SVG cannot be read.
    #[error("png: the picture is no SVG that can be drawn: {0}")]
    Svg(#[from] resvg::usvg::Error),
    /// There would be too many pixels.
    #[error("png: the picture of {width:.0} x {height:.0} pixels is too large; save it as SVG, or shorten the text")]
    TooLarge {
        /// Across.
        width: f32,
        /// Down.
        height: f32,
    },
    /// The pixels cannot be encoded.
    #[error("png: {0}")]
    Encode(String),
}

/// The system's fonts, found once.
static FONTS: LazyLock<Arc<Database>> = LazyLock::new(|| {
    let mut fonts = Database::new();
    fonts.load_system_fonts();
    let exists = |family: &str| fonts.faces().any(|face| face.families.iter().any(|(name, _)| name == family));
    let first = || fonts.faces().next().and_then(|face| face.families.first()).map(|(name, _)| name.clone());
    let chosen = FAMILIES.into_iter().find(|family| exists(family)).map(str::to_owned).or_else(first);
    if let Some(family) = chosen {
        fonts.set_sans_serif_family(family);
    }
    Arc::new(fonts)
});

/// An SVG picture as PNG, on its light page, with `scale` pixels for each of its units. Text is drawn with the system's fonts.
///
/// # Errors
/// If no font is installed, the SVG cannot be read, or the picture would be too large.
pub fn png(svg: &str, scale: f32) -> Result<Vec<u8>, PngError> {
    if FONTS.is_empty() {
        return Err(PngError::NoFont);
    }
    let options = Options { fontdb: Arc::clone(&FONTS), ..Options::default() };
    let tree = Tree::from_str(svg, &options)?;
    let (width, height) = (tree.size().width() * scale, tree.size().height() * scale);
    let too_large = PngError::TooLarge { width, height };
    if width * height > LARGEST {
        return Err(too_large);
    }
    let mut pixels = Pixmap::new(width.ceil() as u32, height.ceil() as u32).ok_or(too_large)?;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| PngError::Encode(error.to_string()))
}
