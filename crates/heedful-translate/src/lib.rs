//! The translator as a library: corpora, tokenizer, models, training, decoding, evaluation, the model file.

pub mod config;
pub mod corpus;
pub mod decode;
pub mod model;
pub mod text;
pub mod translator;

mod random;
