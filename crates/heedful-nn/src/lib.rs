//! The layers that sequence models are made of, each with an explicit forward and backward.
//!
//! A layer is a small struct of [`Parameter`] handles. Its `forward` says in its return type what the `backward` needs; there is no tape: the
//! backward pass of a model is written like its forward pass, upwards. Every function runs on the calling thread; a training step
//! runs several of them side by side, one for each part of the batch (see [`parameters`] for how they share weights).

pub mod additive_decoder;
pub mod attention;
pub mod bidirectional;
pub mod columns;
pub mod cross_entropy;
pub mod dropout;
pub mod eight_bits;
pub mod elman;
pub mod embedding;
pub mod feed_forward;
pub mod gru;
pub mod guide;
pub mod incremental;
pub mod layer_norm;
pub mod linear;
pub mod lstm;
pub mod optimiser;
pub mod packed;
pub mod parameters;
pub mod product;
pub mod recurrent;
pub mod reference;
pub mod schedule;
pub mod workspace;

mod attention_step;
#[cfg(test)]
mod check;
mod reduce;

pub use additive_decoder::{AdditiveDecoder, Score};
pub use attention::{CrossAttention, SelfAttention};
pub use bidirectional::Bidirectional;
pub use cross_entropy::CrossEntropy;
pub use dropout::Dropout;
pub use eight_bits::EightBits;
pub use feed_forward::FeedForward;
pub use guide::Guide;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use packed::TimeMajor;
pub use parameters::{Entry, Gradients, Init, Parameter, Parameters};
pub use product::Matrix;
pub use recurrent::{Cell, Direction, Recurrent, State};
pub use schedule::Schedule;
pub use workspace::Workspace;
