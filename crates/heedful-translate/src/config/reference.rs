//! The configuration as text in which every key is explained.

use toml::{Table, Value};

use super::{ConfigError, TrainingConfig};

/// What each section and key means. Keys of `[model]` carry the name of their type.
const MEANING: &[(&str, &str)] = &[
    ("data", "Where the text comes from and what is left out of it"),
    ("data.train", "training pairs: one TSV file, or a source file and a target file with one sentence a line; .gz is unpacked"),
    ("data.valid", "validation pairs in the same form; [] sets pairs of the training data aside"),
    ("data.test", "test pairs in the same form: what has a sentence in common with them is left out of training"),
    ("data.links", "word links `i-j` of the training pairs, line for line, words counted from 0, which guide the attention; \"\" is none"),
    ("data.held_out", "how many pairs are set aside for validation where `valid` is empty"),
    ("data.source_column", "the TSV column of the source, counted from 1"),
    ("data.target_column", "the TSV column of the target, counted from 1"),
    ("data.source_language", "for the model card"),
    ("data.target_language", "for the model card"),
    ("data.max_words", "pairs with more words on either side are left out"),
    ("data.max_ratio", "pairs where one side has more than this many times the words of the other are left out; 0 keeps all"),
    ("data.drop_duplicates", "leave repeated pairs out"),
    ("tokenizer", "How text becomes tokens: byte-pair encoding, learnt on both languages together"),
    ("tokenizer.vocabulary", "tokens at most"),
    ("model", "The architecture (rnn, rnn_attention or transformer) and its sizes"),
    ("model.rnn.type", "encoder and decoder joined by one hidden state"),
    ("model.rnn.cell", "gru or lstm"),
    ("model.rnn.embedding", "numbers per token embedding"),
    ("model.rnn.hidden", "numbers per hidden state"),
    ("model.rnn.layers", "recurrent layers of the encoder and of the decoder"),
    ("model.rnn.reverse_source", "read the source from its end"),
    ("model.rnn.context_everywhere", "show the encoder's last state to every step of the decoder, not only to the first"),
    ("model.rnn.tied", "one table of embeddings for source, target and output"),
    ("model.rnn_attention.type", "a decoder that looks back at every state of the encoder"),
    ("model.rnn_attention.cell", "gru or lstm"),
    ("model.rnn_attention.score", "how states are compared: additive (Bahdanau), dot, general or concat (Luong)"),
    ("model.rnn_attention.embedding", "numbers per token embedding"),
    ("model.rnn_attention.hidden", "numbers per hidden state of the decoder and of each direction of the encoder (dot: half of it)"),
    ("model.rnn_attention.layers", "recurrent layers of the encoder"),
    ("model.rnn_attention.tied", "one table of embeddings for source, target and output"),
    ("model.transformer.type", "attention only"),
    ("model.transformer.dim", "numbers per token in every layer"),
    ("model.transformer.feed_forward", "numbers inside each feed-forward layer"),
    ("model.transformer.heads", "attention heads; they divide dim"),
    ("model.transformer.encoder_layers", "layers that read the source"),
    ("model.transformer.decoder_layers", "layers that write the target"),
    ("training", "How the weights are found"),
    ("training.output", "folder for checkpoints, metrics.jsonl and the model file"),
    ("training.seed", "all randomness follows from it"),
    ("training.batch_tokens", "tokens of either side in one update, about"),
    ("training.shards", "parts of a batch that run at the same time; the result depends on it, but not on the number of threads"),
    ("training.label_smoothing", "probability mass of each target that is spread over the vocabulary"),
    ("training.dropout", "probability with which an activation is dropped"),
    ("training.concatenate", "share of the pairs that another pair is joined to, so that several sentences in a row are learnt too"),
    ("training.bpe_dropout", "probability with which a merge is left out when a training sentence is segmented (0.1 is usual)"),
    ("training.guide_reading", "the attention that data.links guide: last, layer:K or layer:K,head:H, and +shift"),
    ("training.guide_weight", "how much the guide counts beside the translation"),
    ("training.learning_rate", "the highest, reached at the end of the warm-up"),
    ("training.schedule", "after the warm-up: constant, inverse_sqrt or linear (down to zero at the limit of updates or minutes)"),
    ("training.warmup", "updates over which the learning rate grows from zero"),
    ("training.weight_decay", "AdamW's, times the learning rate"),
    ("training.clip", "gradients with a longer norm are shortened to it; 0 leaves them"),
    ("training.epochs", "stop after this many passes over the data; 0 is no limit"),
    ("training.updates", "stop after this many updates; 0 is no limit"),
    ("training.minutes", "stop after this many minutes; 0 is no limit"),
    ("training.validate_every", "updates between validations; 0 leaves it to validate_minutes"),
    ("training.validate_minutes", "minutes between validations; 0 leaves it to validate_every"),
    ("training.patience", "stop after this many validations without a new best; 0 is never"),
    ("training.keep_best", "what the best is judged by: bleu or loss"),
    ("training.average", "how many of the best checkpoints are averaged for the model file"),
    ("training.checkpoint_every", "updates between checkpoints"),
    ("training.storage", "the weights in the model file: f32, f16 or i8"),
    ("decoding", "How sentences are translated by default with the model file; validation is greedy"),
    ("decoding.beam", "hypotheses kept at each step; 1 is greedy"),
    ("decoding.length_penalty", "log-probabilities are divided by ((5 + length) / 6)^length_penalty"),
    ("decoding.max_length_factor", "a translation has at most this many tokens for each source token,"),
    ("decoding.max_length_constant", "and this many more"),
    ("decoding.reading", "the attention that is read as alignment: last, mean, layer:K or layer:K,head:H, and +shift after any of them"),
    ("card", "What the model file says about itself"),
    ("card.name", "the model's name"),
    ("card.started_from", "the model whose weights training began with; \"\" is none"),
    ("card.data", "what it was trained on, and where that can be had"),
    ("card.licence", "of the weights"),
    ("card.attribution", "whom the data's licence asks to be named"),
];

impl TrainingConfig {
    /// This configuration as TOML with a comment for every key: the reference of all settings, and a file to start from.
    ///
    /// # Errors
    /// If a number is beyond what TOML can hold.
    pub fn to_commented_toml(&self) -> Result<String, ConfigError> {
        let table = Table::try_from(self)?;
        let mut lines = Vec::new();
        for (path, meaning) in MEANING {
            let Some((section, key)) = path.split_once('.') else {
                let gap = if lines.is_empty() { "" } else { "\n" };
                lines.push(format!("{gap}# {meaning}\n[{path}]\n"));
                continue;
            };
            let key = match key.split_once('.') {
                Some((model, key)) if model == self.model.type_name() => key,
                Some(_) => continue,
                None => key,
            };
            if let Some(value) = table.get(section).and_then(|section| section.get(key)) {
                // The comments line up unless a value is very long.
                lines.push(format!("{:<30} # {meaning}\n", format!("{key} = {}", on_one_line(value))));
            }
        }
        Ok(lines.concat())
    }
}

/// A value as TOML without line breaks, whatever its texts hold.
fn on_one_line(value: &Value) -> String {
    match value {
        // Most settings are f32: their shortest form is that of the f32, not of the f64 that a table holds.
        Value::Float(number) if f64::from(*number as f32) == *number => format!("{:?}", *number as f32),
        Value::Float(number) => format!("{number:?}"),
        // JSON and TOML escape alike, but for one character that JSON leaves as it is.
        Value::String(text) => serde_json::Value::from(text.as_str()).to_string().replace('\u{7f}', "\\u007f"),
        Value::Array(items) => format!("[{}]", items.iter().map(on_one_line).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::config::ModelConfig;

    #[test]
    fn the_printed_configuration_reads_back() {
        for name in crate::config::PRESETS {
            let config = TrainingConfig::preset(name).expect("valid");
            let text = config.to_commented_toml().expect("writable");
            assert_eq!(TrainingConfig::default().with_toml(&text).expect(name), config);
        }
        let text = TrainingConfig::default().to_commented_toml().expect("writable");
        assert_eq!(toml::from_str::<TrainingConfig>(&text).expect("valid"), TrainingConfig::default());
    }

    #[test]
    fn texts_of_several_lines_read_back() {
        let mut config = TrainingConfig::default();
        config.card.data = "one\n[two]\nthree = 3\n\u{1}\u{7f}\"'\\".to_owned();
        config.training.output = "a = b".into();
        let text = config.to_commented_toml().expect("writable");
        assert_eq!(TrainingConfig::default().with_toml(&text).expect(&text), config);
    }

    #[test]
    fn every_key_is_explained_and_nothing_else_is() {
        let mut printed = BTreeSet::new();
        for name in ModelConfig::TYPES {
            let config = TrainingConfig { model: ModelConfig::of_type(name).expect("known"), ..Default::default() };
            for (section, values) in toml::Table::try_from(&config).expect("writable") {
                let prefix = if section == "model" { format!("model.{name}") } else { section.clone() };
                printed.extend(values.as_table().expect("a section").keys().map(|key| format!("{prefix}.{key}")));
                printed.insert(section);
            }
        }
        let explained: BTreeSet<_> = MEANING.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(printed, explained);
    }
}
