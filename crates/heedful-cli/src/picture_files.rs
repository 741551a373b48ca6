//! Pictures as files: which were asked for, and writing them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use heedful_explorer::picture::{Picture, Scale, png};
use heedful_translate::files::write_atomically;

/// Pixels of a PNG for each unit of its SVG: sharp on screens with small pixels, and in print.
const PIXELS: f32 = 2.0;

/// Files to write pictures to, beside what is printed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pictures as files")]
pub struct PictureFiles {
    /// Write the picture as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the picture as PNG
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// Write a page with the pictures and their numbers, which needs nothing but itself
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// The colours of heat maps
    #[arg(long, value_enum, value_name = "NAME", default_value_t)]
    scale: Colours,
}

/// The colours of heat maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Colours {
    /// More weight is a stronger purple
    #[default]
    Purple,
    /// From dark blue over green to yellow
    Viridis,
    /// From dark blue over grey to yellow
    Cividis,
}

impl PictureFiles {
    /// Whether any file was asked for.
    pub fn any(&self) -> bool {
        self.svg.is_some() || self.png.is_some() || self.html.is_some()
    }

    /// How weights are coloured.
    pub fn scale(&self) -> Scale {
        match self.scale {
            Colours::Purple => Scale::Purple,
            Colours::Viridis => Scale::Viridis,
            Colours::Cividis => Scale::Cividis,
        }
    }

    /// Writes what was asked for.
    pub fn write(&self, picture: impl FnOnce() -> Result<Picture>, page: impl FnOnce() -> String) -> Result<()> {
        if self.svg.is_some() || self.png.is_some() {
            let svg = picture()?.to_svg();
            if let Some(path) = &self.svg {
                save(path, svg.as_bytes())?;
            }
            if let Some(path) = &self.png {
                save(path, &png(&svg, PIXELS)?)?;
            }
        }
        match &self.html {
            Some(path) => save(path, page().as_bytes()),
            None => Ok(()),
        }
    }
}

fn save(path: &Path, content: &[u8]) -> Result<()> {
    write_atomically(path, content).with_context(|| format!("writing {}", path.display()))
}
