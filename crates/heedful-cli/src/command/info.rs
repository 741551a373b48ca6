//! `heedful info`: what a model says about itself.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use heedful_translate::bundle::Bundle;
use serde_json::json;

use crate::{model, output};

/// Show a model's card: languages, architecture, data, licence, scores
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  heedful info                                 the built-in model
  heedful info built-in:rnn                    the one without attention
  heedful info model/model.safetensors         a model of your own
  heedful info --json model.safetensors        the same for programs")]
pub struct Arguments {
    /// A model file, or a built-in model: `built-in`, `built-in:rnn-attention` or `built-in:rnn`
    #[arg(default_value = model::BUILT_IN[0].0)]
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let bundle = model::open(&self.file)?;
        output::print(if self.json { as_json(&bundle) } else { as_text(&bundle) })
    }
}

fn as_json(bundle: &Bundle) -> String {
    let value = json!({
        "card": bundle.card,
        "config": bundle.config,
        "vocabulary": bundle.tokenizer.vocabulary_size(),
        "weights": bundle.model.parameters().values().len(),
    });
    format!("{value:#}\n")
}

fn as_text(bundle: &Bundle) -> String {
    let Bundle { config, tokenizer, model, card } = bundle;
    let weights = model.parameters().values().len();
    let sizes = serde_json::to_value(&config.model).ok().and_then(|value| {
        let sizes = value.as_object()?.iter().filter(|(key, _)| *key != "type");
        Some(sizes.map(|(key, value)| format!("{key} {}", value.to_string().trim_matches('"'))).collect::<Vec<_>>().join(", "))
    });
    let languages = [&card.source_language, &card.target_language].map(String::as_str).join(" to ");
    let mut lines = vec![
        ("name", card.name.clone()),
        ("languages", if languages == " to " { String::new() } else { languages }),
        ("architecture", format!("{} ({})", config.model.type_name(), sizes.unwrap_or_default())),
        ("weights", format!("{:.2} million", weights as f64 / 1e6)),
        ("vocabulary", format!("{} tokens", tokenizer.vocabulary_size())),
        ("decoding", format!("beam {}, length penalty {}", config.decoding.beam, config.decoding.length_penalty)),
        ("data", card.data.clone()),
        ("licence", card.licence.clone()),
        ("attribution", card.attribution.clone()),
        ("training", card.training.clone()),
    ];
    for score in &card.scores {
        lines.push(("score", format!("{} {:.2} on {} ({})", score.metric, score.value, score.test_set, score.signature)));
    }
    lines.retain(|(_, value)| !value.is_empty());
    lines.iter().fold(String::new(), |text, (key, value)| text + &format!("{key:<13} {value}\n"))
}
