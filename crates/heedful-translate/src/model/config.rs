//! Which architecture a model has and how large it is; the size of the vocabulary comes from the tokenizer.

use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, within};

/// The most numbers in one vector.
const LARGEST: usize = 16_384;
/// The most layers.
const DEEPEST: usize = 64;

/// The architecture and sizes of a model, as `[model]` in a training configuration and in a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ModelConfig {
    /// The encoder hands one hidden state to the decoder.
    Rnn(RnnConfig),
    /// The decoder looks back at every state of the encoder.
    RnnAttention(RnnAttentionConfig),
    /// Attention only.
    Transformer(TransformerConfig),
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self::Transformer(TransformerConfig::default())
    }
}

impl ModelConfig {
    /// The names that `type` knows.
    pub const TYPES: [&str; 3] = ["rnn", "rnn_attention", "transformer"];

    /// The default sizes of an architecture, or `None` if the name is unknown.
    pub fn of_type(name: &str) -> Option<Self> {
        match name {
            "rnn" => Some(Self::Rnn(RnnConfig::default())),
            "rnn_attention" => Some(Self::RnnAttention(RnnAttentionConfig::default())),
            "transformer" => Some(Self::Transformer(TransformerConfig::default())),
            _ => None,
        }
    }

    /// Whether every size lies in its range.
    ///
    /// # Errors
    /// Names the first key that does not, and what it may be.
    pub fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self::Rnn(config) => {
                within("model.embedding", config.embedding, 1, LARGEST)?;
                within("model.hidden", config.hidden, 1, LARGEST)?;
                within("model.layers", config.layers, 1, DEEPEST)
            }
            Self::RnnAttention(config) => {
                within("model.embedding", config.embedding, 1, LARGEST)?;
                within("model.hidden", config.hidden, 1, LARGEST)?;
                if config.score == Score::Dot && config.hidden % 2 == 1 {
                    let expected = "even for `model.score = \"dot\"`: each direction of the encoder has half of it".to_owned();
                    return Err(ConfigError::Range { key: "model.hidden", value: config.hidden.to_string(), expected });
                }
                within("model.layers", config.layers, 1, DEEPEST)
            }
            Self::Transformer(config) => {
                within("model.dim", config.dim, 1, LARGEST)?;
                within("model.feed_forward", config.feed_forward, 1, LARGEST)?;
                within("model.heads", config.heads, 1, config.dim)?;
                within("model.encoder_layers", config.encoder_layers, 1, DEEPEST)?;
                within("model.decoder_layers", config.decoder_layers, 1, DEEPEST)?;
                if config.dim % config.heads == 0 {
                    return Ok(());
                }
                let expected = format!("a divisor of `model.dim`, which is {}", config.dim);
                Err(ConfigError::Range { key: "model.heads", value: config.heads.to_string(), expected })
            }
        }
    }

    /// A number of weights that the model has at least: its embeddings and its largest matrices.
    pub fn least_weights(&self, vocabulary: usize) -> u128 {
        let [vocabulary, embedding, per_layer, layers] = match self {
            Self::Rnn(c) => [vocabulary, c.embedding, c.hidden * c.hidden, c.layers],
            Self::RnnAttention(c) => [vocabulary, c.embedding, c.hidden * c.hidden, c.layers],
            Self::Transformer(c) => {
                [vocabulary, c.dim, 4 * c.dim * c.dim + 2 * c.dim * c.feed_forward, c.encoder_layers + c.decoder_layers]
            }
        }
        .map(|size| size as u128);
        vocabulary * embedding + per_layer * layers
    }

    /// The architecture's name, one of [`Self::TYPES`].
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Rnn(_) => "rnn",
            Self::RnnAttention(_) => "rnn_attention",
            Self::Transformer(_) => "transformer",
        }
    }
}

/// The recurrent unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// Gated recurrent unit (Cho et al. 2014).
    #[default]
    Gru,
    /// Long short-term memory (Hochreiter and Schmidhuber 1997).
    Lstm,
}

impl From<Cell> for heedful_nn::Cell {
    fn from(cell: Cell) -> Self {
        match cell {
            Cell::Gru => Self::Gru,
            Cell::Lstm => Self::Lstm,
        }
    }
}

/// How a decoder state and an encoder state are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Score {
    /// `v . tanh(W s + U h)` (Bahdanau et al. 2015, appendix A.1.2).
    #[default]
    Additive,
    /// `s . h` (Luong et al. 2015, section 3.1).
    Dot,
    /// `s . W h` (Luong et al. 2015, section 3.1).
    General,
    /// `v . tanh(W [s; h])` (Luong et al. 2015, section 3.1).
    Concat,
}

impl From<Score> for heedful_nn::Score {
    fn from(score: Score) -> Self {
        match score {
            Score::Additive => Self::Additive,
            Score::Dot => Self::Dot,
            Score::General => Self::General,
            Score::Concat => Self::Concat,
        }
    }
}

/// Sizes of the encoder-decoder without attention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RnnConfig {
    /// The recurrent unit of encoder and decoder.
    pub cell: Cell,
    /// Numbers per token embedding.
    pub embedding: usize,
    /// Numbers per hidden state.
    pub hidden: usize,
    /// Recurrent layers of the encoder and of the decoder.
    pub layers: usize,
    /// Whether the encoder reads the source from its end.
    pub reverse_source: bool,
    /// Whether every step of the decoder sees the encoder's last state, and not only the first.
    pub context_everywhere: bool,
    /// Whether source, target and output share one table of embeddings.
    pub tied: bool,
}

impl Default for RnnConfig {
    fn default() -> Self {
        Self { cell: Cell::Gru, embedding: 256, hidden: 512, layers: 1, reverse_source: true, context_everywhere: true, tied: true }
    }
}

/// Sizes of the encoder-decoder whose decoder looks back at the source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RnnAttentionConfig {
    /// The recurrent unit of encoder and decoder.
    pub cell: Cell,
    /// How decoder and encoder states are compared.
    pub score: Score,
    /// Numbers per token embedding.
    pub embedding: usize,
    /// Numbers per hidden state of the decoder, and of each direction of the encoder unless the score is `dot`: then half of it, so that the
    /// encoder's states are as wide as the decoder's.
    pub hidden: usize,
    /// Recurrent layers of the encoder.
    pub layers: usize,
    /// Whether source, target and output share one table of embeddings.
    pub tied: bool,
}

impl Default for RnnAttentionConfig {
    fn default() -> Self {
        Self { cell: Cell::Gru, score: Score::Additive, embedding: 256, hidden: 256, layers: 1, tied: true }
    }
}

/// Sizes of the Transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransformerConfig {
    /// Numbers per token in every layer, `d_model`.
    pub dim: usize,
    /// Numbers inside each feed-forward layer.
    pub feed_forward: usize,
    /// Attention heads; they divide `dim`.
    pub heads: usize,
    /// Encoder layers.
    pub encoder_layers: usize,
    /// Decoder layers.
    pub decoder_layers: usize,
}

impl Default for TransformerConfig {
    fn default() -> Self {
        Self { dim: 256, feed_forward: 1024, heads: 4, encoder_layers: 3, decoder_layers: 3 }
    }
}
