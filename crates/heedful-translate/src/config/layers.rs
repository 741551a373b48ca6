//! Presets, files and single keys laid over one another, and the check of what comes out.

use thiserror::Error;
use toml::{Table, Value};

use super::{DataConfig, RunConfig, ScheduleConfig, TokenizerConfig, TrainingConfig};
use crate::model::config::ModelConfig;

/// The names that [`TrainingConfig::preset`] knows.
pub const PRESETS: [&str; 4] = ["tiny", "rnn", "rnn-attention", "transformer"];

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The text is not TOML.
    #[error("the configuration is not valid TOML: {0}")]
    Syntax(toml::de::Error),
    /// A key is unknown, or its value is of another type.
    #[error("the configuration cannot be used: {}; `heedful train --print-config` shows every key", .0.to_string().trim_end().replace('\n', " "))]
    Key(toml::de::Error),
    /// A key's value is outside its range.
    #[error("`{key}` is {value}; it must be {expected}")]
    Range {
        /// The key with its section.
        key: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        expected: String,
    },
    /// An override is not of the form `section.key=value`.
    #[error("`{0}` is not an assignment; write `section.key=value`, such as `training.dropout=0.2`")]
    Assignment(String),
    /// A preset is unknown.
    #[error("there is no preset `{0}`; the presets are {list}", list = PRESETS.join(", "))]
    Preset(String),
    /// The configuration holds a number that TOML cannot.
    #[error("the configuration cannot be written as TOML: {0}")]
    Write(#[from] toml::ser::Error),
}

impl TrainingConfig {
    /// A named starting point, one of [`PRESETS`]. `tiny` trains in seconds, on toy tasks and in tests; the others are the three architectures at
    /// a size for tens of thousands of sentence pairs.
    ///
    /// # Errors
    /// If the name is unknown.
    pub fn preset(name: &str) -> Result<Self, ConfigError> {
        let text = match name {
            "tiny" => include_str!("presets/tiny.toml"),
            "rnn" => include_str!("presets/rnn.toml"),
            "rnn-attention" => include_str!("presets/rnn-attention.toml"),
            "transformer" => include_str!("presets/transformer.toml"),
            _ => return Err(ConfigError::Preset(name.to_owned())),
        };
        Self::default().with_toml(text)
    }

    /// This configuration with the keys of a TOML text in place of its own. Where the text names another `model.type`, the sizes start from that
    /// type's defaults.
    ///
    /// # Errors
    /// If the text is not TOML, has an unknown key, or a value of the wrong type or range.
    pub fn with_toml(&self, text: &str) -> Result<Self, ConfigError> {
        let config = self.laid_under(toml::from_str(text).map_err(ConfigError::Syntax)?)?;
        config.check()?;
        Ok(config)
    }

    /// This configuration with keys changed, each written `section.key=value`; the later ones win. A value that is not TOML is taken as text, so that
    /// words need no quotes. Ranges are checked when all are changed.
    ///
    /// # Errors
    /// If there is no `=`, a key is unknown, or a value of the wrong type or range.
    pub fn with_overrides<S: AsRef<str>>(&self, assignments: &[S]) -> Result<Self, ConfigError> {
        let mut config = self.clone();
        for assignment in assignments {
            config = config.laid_under(table_of(assignment.as_ref())?)?;
        }
        config.check()?;
        Ok(config)
    }

    fn laid_under(&self, over: Table) -> Result<Self, ConfigError> {
        let mut base = self.clone();
        let model_type = over.get("model").and_then(|model| model.get("type")).and_then(Value::as_str);
        if let Some(other) = model_type.filter(|name| *name != self.model.type_name()).and_then(ModelConfig::of_type) {
            base.model = other;
        }
        let mut table = Table::try_from(&base)?;
        merge(&mut table, over);
        table.try_into().map_err(ConfigError::Key)
    }

    /// Whether every value lies in its range.
    ///
    /// # Errors
    /// Names the first key that does not, and what it may be.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Self { data, tokenizer, model, training, decoding, card: _ } = self;
        check_data(data)?;
        let TokenizerConfig { vocabulary } = *tokenizer;
        within("tokenizer.vocabulary", vocabulary, 300, 1_000_000)?;
        model.check()?;
        check_training(training)?;
        decoding.check()
    }
}

/// `section.key=value` as a table in a table.
fn table_of(assignment: &str) -> Result<Table, ConfigError> {
    let wrong = || ConfigError::Assignment(assignment.to_owned());
    let (key, value) = assignment.split_once('=').ok_or_else(wrong)?;
    let value = value.trim();
    let parsed = toml::from_str::<Table>(&format!("value = {value}")).ok().and_then(|mut table| match table.len() {
        1 => table.remove("value"),
        _ => None,
    });
    let mut path = key.trim().split('.').rev();
    let last = path.next().filter(|key| !key.is_empty()).ok_or_else(wrong)?;
    let leaf = Table::from_iter([(last.to_owned(), parsed.unwrap_or_else(|| Value::String(value.to_owned())))]);
    Ok(path.fold(leaf, |inner, key| Table::from_iter([(key.to_owned(), Value::Table(inner))])))
}

fn check_data(data: &DataConfig) -> Result<(), ConfigError> {
    for (key, files) in [("data.train", &data.train), ("data.valid", &data.valid), ("data.test", &data.test)] {
        if files.len() > 2 {
            let value = format!("a list of {} files", files.len());
            return Err(ConfigError::Range { key, value, expected: "one TSV file, or a source file and a target file".to_owned() });
        }
    }
    within("data.source_column", data.source_column, 1, 1000)?;
    within("data.target_column", data.target_column, 1, 1000)?;
    if data.source_column == data.target_column {
        let value = data.target_column.to_string();
        return Err(ConfigError::Range {
            key: "data.target_column",
            value,
            expected: "another column than `data.source_column`".to_owned(),
        });
    }
    within("data.held_out", data.held_out, 0, 10_000_000)?;
    within("data.max_words", data.max_words, 1, 10_000)?;
    within("data.max_ratio", data.max_ratio, 0.0, 1e6)
}

fn check_training(training: &RunConfig) -> Result<(), ConfigError> {
    within("training.batch_tokens", training.batch_tokens, 1, 10_000_000)?;
    within("training.shards", training.shards, 1, 256)?;
    within("training.label_smoothing", training.label_smoothing, 0.0, 0.99)?;
    within("training.dropout", training.dropout, 0.0, 0.99)?;
    within("training.concatenate", training.concatenate, 0.0, 1.0)?;
    within("training.bpe_dropout", training.bpe_dropout, 0.0, 1.0)?;
    within("training.guide_weight", training.guide_weight, 0.0, 1000.0)?;
    within("training.learning_rate", training.learning_rate, 1e-9, 100.0)?;
    within("training.weight_decay", training.weight_decay, 0.0, 100.0)?;
    within("training.clip", training.clip, 0.0, 1e9)?;
    within("training.minutes", training.minutes, 0.0, 1e9)?;
    within("training.validate_minutes", training.validate_minutes, 0.0, 1e9)?;
    within("training.checkpoint_every", training.checkpoint_every, 1, u64::MAX)?;
    within("training.average", training.average, 1, 100)?;
    if training.schedule == ScheduleConfig::Linear && training.updates == 0 && training.minutes == 0.0 {
        return Err(ConfigError::Range {
            key: "training.updates",
            value: "0".to_owned(),
            expected: "above 0 for the linear schedule, or `training.minutes` must be".to_owned(),
        });
    }
    Ok(())
}

/// Whether `minimum <= value <= maximum`, which NaN is not.
pub(crate) fn within<T: PartialOrd + Copy + std::fmt::Display>(
    key: &'static str,
    value: T,
    minimum: T,
    maximum: T,
) -> Result<(), ConfigError> {
    if (minimum..=maximum).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::Range { key, value: value.to_string(), expected: format!("at least {minimum} and at most {maximum}") })
}

/// Puts the values of `over` into `base`, table by table.
fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => merge(inner, value),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Criterion;
    use crate::model::config::{RnnConfig, TransformerConfig};

    fn error(text: &str) -> String {
        TrainingConfig::default().with_toml(text).expect_err(text).to_string()
    }

    #[test]
    fn every_preset_can_be_used() {
        for name in PRESETS {
            TrainingConfig::preset(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        assert!(TrainingConfig::preset("big").unwrap_err().to_string().contains("tiny, rnn, rnn-attention, transformer"));
    }

    #[test]
    fn a_file_changes_what_it_names_and_nothing_else() {
        let base = TrainingConfig::default();
        let config = base.with_toml("[training]\nkeep_best = \"loss\"\ndropout = 0\n[model]\nheads = 8").expect("valid");
        assert_eq!(config.training.keep_best, Criterion::Loss);
        assert_eq!(config.model, ModelConfig::Transformer(TransformerConfig { heads: 8, ..Default::default() }));
        let training = RunConfig { keep_best: Criterion::Loss, dropout: 0.0, ..base.training.clone() };
        assert_eq!(config, TrainingConfig { training, model: config.model.clone(), ..base });
    }

    #[test]
    fn another_model_type_starts_from_its_own_sizes() {
        let config = TrainingConfig::default().with_overrides(&["model.type=rnn"]).expect("valid");
        assert_eq!(config.model, ModelConfig::Rnn(RnnConfig::default()));
        let config = config.with_overrides(&["model.hidden = 64"]).expect("valid");
        assert_eq!(config.model, ModelConfig::Rnn(RnnConfig { hidden: 64, ..Default::default() }));
    }

    #[test]
    fn overrides_take_numbers_lists_and_bare_words() {
        let config = TrainingConfig::default();
        assert_eq!(config.with_overrides(&["training.learning_rate=5e-4"]).expect("valid").training.learning_rate, 5e-4);
        assert_eq!(config.with_overrides(&["data.train=[\"a.de\", \"a.en\"]"]).expect("valid").data.train.len(), 2);
        assert_eq!(config.with_overrides(&["card.name = German to English"]).expect("valid").card.name, "German to English");
        let turned = config.with_overrides(&["data.source_column=2", "data.target_column=1"]).expect("valid together");
        assert_eq!((turned.data.source_column, turned.data.target_column), (2, 1));
        for wrong in ["dropout", "=1", "training.=1", "training.dropout=high", "training.drop=0.1", "training.dropout=1\nfoo=2"] {
            assert!(config.with_overrides(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn errors_name_the_key_and_what_it_may_be() {
        assert!(error("[training]\ndropuot = 0.1").contains("unknown field `dropuot`"), "{}", error("[training]\ndropuot = 0.1"));
        assert!(error("[training]\ndropout = 1.5").contains("`training.dropout` is 1.5; it must be at least 0 and at most 0.99"));
        assert!(error("[training]\ndropout = nan").contains("`training.dropout` is NaN"));
        assert!(error("[model]\ntype = \"cnn\"").contains("cnn"));
        assert!(error("[model]\nheads = 3").contains("`model.heads` is 3"));
        assert!(
            error("[model]\ntype = \"rnn_attention\"\nscore = \"dot\"\nhidden = 255").contains("`model.hidden` is 255; it must be even")
        );
        assert!(error("[training]\nschedule = \"linear\"").contains("`training.updates` is 0"));
        assert!(error("[data]\ntrain = [\"a\", \"b\", \"c\"]").contains("`data.train` is a list of 3 files"));
        assert!(error("[data").contains("not valid TOML"));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_prints_and_reads_back(
            parts in prop::collection::vec(prop_oneof![
                Just("[training]\n".to_owned()), Just("[card]\n".to_owned()), Just("[model]\ntype = \"rnn\"\n".to_owned()),
                Just("dropout = ".to_owned()), Just("name = ".to_owned()), Just("hidden = ".to_owned()),
                "[0-9.e-]{1,6}\n", "\"[^\"\\\\]{0,6}\"\n", "\\PC{0,8}",
            ], 0..8),
        ) {
            let text = parts.concat();
            let default = TrainingConfig::default();
            for config in [default.with_toml(&text), default.with_overrides(&[&text])].into_iter().flatten() {
                let printed = config.to_commented_toml().expect("in range");
                prop_assert_eq!(&TrainingConfig::default().with_toml(&printed).expect("what was printed"), &config);
            }
        }
    }
}
