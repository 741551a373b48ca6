//! The translator as a library: corpora, tokenizer, models, training, decoding, evaluation, the model file.

pub mod model;
pub mod text;
