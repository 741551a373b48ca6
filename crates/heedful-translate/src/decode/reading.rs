//! Which of a decoder's attention distributions is read as the alignment.

use std::fmt;
use std::str::FromStr;

use crate::model::CrossAttention;

/// A way to read one alignment from the attention of all layers and heads.
///
/// Written `last`, `mean`, `layer:2` or `layer:2,head:0`, and each of these with `+shift` at its end; layers and heads count from 0,
/// from the bottom of the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reading {
    /// Which distributions are averaged.
    pub layers: Layers,
    /// Whether the alignment of a target token is read one step later, when the token is the decoder's input and not yet to be guessed
    /// (Chen et al. 2020, section 3). The last token of a hypothesis that was cut has no later step and is read at its own.
    pub shift: bool,
}

/// Layers and heads of a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layers {
    /// The mean over the heads of the last layer.
    Last,
    /// The mean over all heads of all layers.
    Mean,
    /// The mean over the heads of a layer.
    Layer(usize),
    /// One head.
    Head {
        /// Its layer.
        layer: usize,
        /// Its place in the layer.
        head: usize,
    },
}

impl Reading {
    /// The last layer, unshifted: right for models with a single layer and head.
    pub const LAST: Self = Self { layers: Layers::Last, shift: false };
}

impl Default for Reading {
    fn default() -> Self {
        Self::LAST
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layers {
            Layers::Last => write!(f, "last"),
            Layers::Mean => write!(f, "mean"),
            Layers::Layer(layer) => write!(f, "layer:{layer}"),
            Layers::Head { layer, head } => write!(f, "layer:{layer},head:{head}"),
        }?;
        f.write_str(if self.shift { "+shift" } else { "" })
    }
}

/// Why attention cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadingError {
    /// A text names no reading.
    #[error("\"{0}\" is no way to read an alignment; write `last`, `mean`, `layer:K` or `layer:K,head:H`, each with or without `+shift`")]
    Unknown(String),
    /// Several layers cannot be guided at once.
    #[error("the mean over all layers cannot be guided; name a layer, such as `layer:0`, or one of its heads, `layer:0,head:1`")]
    Guided,
    /// The model has no such layer or head.
    #[error("reading `{reading}`: the decoder has layers 0 to {} with heads 0 to {} each", .model.layers - 1, .model.heads - 1)]
    Missing {
        /// What was asked for.
        reading: Reading,
        /// What there is.
        model: CrossAttention,
    },
}

impl FromStr for Reading {
    type Err = ReadingError;

    fn from_str(text: &str) -> Result<Self, ReadingError> {
        let unknown = || ReadingError::Unknown(text.to_owned());
        let (name, shift) = text.strip_suffix("+shift").map_or((text, false), |name| (name, true));
        let index = |text: &str| text.parse().map_err(|_| unknown());
        let layers = match name {
            "last" => Layers::Last,
            "mean" => Layers::Mean,
            _ => {
                let numbers = name.strip_prefix("layer:").ok_or_else(unknown)?;
                match numbers.split_once(",head:") {
                    None => Layers::Layer(index(numbers)?),
                    Some((layer, head)) => Layers::Head { layer: index(layer)?, head: index(head)? },
                }
            }
        };
        Ok(Self { layers, shift })
    }
}

impl serde::Serialize for Reading {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Reading {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Reading {
    /// Whether a model has what this reads.
    ///
    /// # Errors
    /// If it does not have that many layers or heads.
    pub fn check(&self, model: CrossAttention) -> Result<(), ReadingError> {
        let there = match self.layers {
            Layers::Last | Layers::Mean => true,
            Layers::Layer(layer) => layer < model.layers,
            Layers::Head { layer, head } => layer < model.layers && head < model.heads,
        };
        if there { Ok(()) } else { Err(ReadingError::Missing { reading: *self, model }) }
    }

    /// One distribution over the source for each step: `[steps, source_len]` from `attention`, `[steps, layers, heads, source_len]`.
    ///
    /// # Errors
    /// If the model does not have what this reads.
    ///
    /// # Panics
    /// If `attention` is no whole number of steps.
    pub fn read(&self, attention: &[f32], model: CrossAttention, source_len: usize) -> Result<Vec<f32>, ReadingError> {
        self.check(model)?;
        let step_len = model.layers * model.heads * source_len;
        assert!(
            source_len > 0 && attention.len().is_multiple_of(step_len),
            "attention of {} numbers is no [steps, {}, {}, {source_len}]",
            attention.len(),
            model.layers,
            model.heads
        );
        let heads = match self.layers {
            Layers::Last => (model.layers - 1) * model.heads..model.layers * model.heads,
            Layers::Mean => 0..model.layers * model.heads,
            Layers::Layer(layer) => layer * model.heads..(layer + 1) * model.heads,
            Layers::Head { layer, head } => layer * model.heads + head..layer * model.heads + head + 1,
        };
        let steps = attention.len() / step_len;
        let mut out = vec![0.0; steps * source_len];
        for (step, mean) in out.chunks_exact_mut(source_len).enumerate() {
            let step = if self.shift { (step + 1).min(steps - 1) } else { step };
            let distributions = &attention[step * step_len..][heads.start * source_len..heads.end * source_len];
            for distribution in distributions.chunks_exact(source_len) {
                mean.iter_mut().zip(distribution).for_each(|(m, &d)| *m += d);
            }
            for m in mean {
                *m /= heads.len() as f32;
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: CrossAttention = CrossAttention { layers: 2, heads: 3 };

    /// `[steps, 2, 3, 2]`: head `h` of layer `l` puts `(10 step + 3 l + h) / 100` on the first token and the rest on the second.
    fn attention(steps: usize) -> Vec<f32> {
        let first = |step, head| (10 * step + head) as f32 / 100.0;
        (0..steps).flat_map(|step| (0..6).flat_map(move |head| [first(step, head), 1.0 - first(step, head)])).collect()
    }

    #[test]
    fn readings_average_the_heads_they_name() {
        for (name, first_column) in [
            ("last", [0.04, 0.14, 0.24]),
            ("layer:1", [0.04, 0.14, 0.24]),
            ("layer:0", [0.01, 0.11, 0.21]),
            ("mean", [0.025, 0.125, 0.225]),
            ("layer:1,head:2", [0.05, 0.15, 0.25]),
            ("layer:0,head:1+shift", [0.11, 0.21, 0.21]),
            ("mean+shift", [0.125, 0.225, 0.225]),
        ] {
            let reading: Reading = name.parse().unwrap();
            let read = reading.read(&attention(3), MODEL, 2).unwrap();
            assert_eq!(read.len(), 6);
            for (row, expected) in read.chunks(2).zip(first_column) {
                assert!((row[0] - expected).abs() < 1e-6 && (row[0] + row[1] - 1.0).abs() < 1e-6, "{name}: {read:?}");
            }
            assert_eq!(reading.to_string(), name);
            let json = serde_json::to_string(&reading).unwrap();
            assert_eq!(json, format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<Reading>(&json).unwrap(), reading);
        }
        assert!(Reading::LAST.read(&[], MODEL, 2).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_reading_is_an_error() {
        for text in
            ["", "first", "layer", "layer:", "layer:x", "layer:-1", "layer:1,head:", "layer:1,2", "+shift", "last+shift+shift", "LAST"]
        {
            assert_eq!(text.parse::<Reading>(), Err(ReadingError::Unknown(text.into())));
        }
        for text in ["layer:2", "layer:2,head:0", "layer:0,head:3+shift"] {
            let reading: Reading = text.parse().unwrap();
            let error = reading.read(&attention(1), MODEL, 2).unwrap_err();
            assert_eq!(error.to_string(), format!("reading `{text}`: the decoder has layers 0 to 1 with heads 0 to 2 each"));
        }
    }
}
