//! The translator as a library: corpora, tokenizer, models, training, decoding, evaluation, comparison, the model file.

pub mod aligner;
pub mod bundle;
pub mod compare;
pub mod config;
pub mod corpus;
pub mod decode;
pub mod evaluate;
pub mod files;
pub mod model;
pub mod text;
pub mod train;
pub mod translator;

mod random;
