//! The translator as a library: corpora, tokenizer, models, training, decoding, evaluation, the model file.

pub mod config;
pub mod model;
pub mod text;
