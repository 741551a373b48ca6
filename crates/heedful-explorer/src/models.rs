//! The models that are loaded.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use heedful_translate::bundle::{Bundle, BundleConfig, Card};
use heedful_translate::decode::Reading;
use heedful_translate::model::config::ModelConfig;
use heedful_translate::translator::{Search, TranslateError, TranslateOptions, Translator};
use serde_json::{Value, json};

use crate::language::Language;
use crate::refusal::Refusal;

/// Why models cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// There is none.
    #[error("there is no model to show; name a model file")]
    None,
    /// A model cannot translate.
    #[error("the model {name} cannot translate")]
    Translator {
        /// Its name.
        name: String,
        /// Why.
        source: TranslateError,
    },
}

/// The models, at least one.
pub struct Models(Vec<Arc<Loaded>>);

/// A model that is loaded.
pub struct Loaded {
    pub id: String,
    pub translator: Translator,
    pub config: BundleConfig,
    pub card: Card,
    pub source: Option<Language>,
    pub target: Option<Language>,
    options: TranslateOptions,
}

/// What a request says about how to translate.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    pub reading: Option<Reading>,
    pub n_best: Option<usize>,
    pub beam: Option<usize>,
    pub split_sentences: Option<bool>,
}

impl Models {
    pub fn new(bundles: Vec<Bundle>) -> Result<Self, ModelError> {
        let mut models: Vec<Arc<Loaded>> = Vec::with_capacity(bundles.len());
        for bundle in bundles {
            let (card, config) = (bundle.card.clone(), bundle.config.clone());
            let name = if card.name.is_empty() { config.model.type_name().to_owned() } else { card.name.clone() };
            let (translator, options) = bundle.into_translator().map_err(|source| ModelError::Translator { name: name.clone(), source })?;
            let plain = slug(&name);
            let taken = |id: &str| models.iter().any(|model| model.id == id);
            let mut id = plain.clone();
            let mut next = 2;
            while taken(&id) {
                id = format!("{plain}-{next}");
                next += 1;
            }
            let [source, target] = [&card.source_language, &card.target_language].map(|text| Language::of_card(text));
            models.push(Arc::new(Loaded { id, translator, config, card, source, target, options }));
        }
        if models.is_empty() { Err(ModelError::None) } else { Ok(Self(models)) }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Loaded>> {
        self.0.iter()
    }

    pub fn default(&self) -> &Arc<Loaded> {
        &self.0[0]
    }

    /// The model of this id; the default model if there is none.
    pub fn get(&self, id: Option<&str>) -> Result<&Arc<Loaded>, Refusal> {
        let Some(id) = id else { return Ok(self.default()) };
        self.0.iter().find(|model| model.id == id).ok_or_else(|| {
            let ids: Vec<&str> = self.0.iter().map(|model| &model.id[..]).collect();
            Refusal::missing(format!("there is no model `{id}`; there are {}", ids.join(", ")))
        })
    }
}

/// A name as a part of an address.
fn slug(name: &str) -> String {
    let parts: Vec<String> = name.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).map(str::to_lowercase).collect();
    if parts.is_empty() { "model".to_owned() } else { parts.join("-") }
}

impl Loaded {
    /// A translator that stops when nobody waits for it.
    pub fn translator(&self, stop: &Arc<AtomicBool>) -> Translator {
        self.translator.clone().with_stop(Arc::clone(stop))
    }

    /// The model's options with a request's wishes.
    pub fn options(&self, wishes: &Wishes) -> TranslateOptions {
        let n_best = wishes.n_best.unwrap_or(1);
        let width = match (wishes.beam, self.options.search) {
            (Some(width), _) | (None, Search::Beam { width }) => width,
            _ => 1,
        };
        let width = width.max(n_best);
        TranslateOptions {
            search: if width == 1 { Search::Greedy } else { Search::Beam { width } },
            n_best,
            reading: wishes.reading.or(self.options.reading),
            alignment: true,
            split_sentences: wishes.split_sentences.unwrap_or(true),
            // Each request has a share of the memory; there are many at once.
            batch_tokens: self.options.batch_tokens.min(1024),
            ..self.options
        }
    }

    /// How the alignment is read with these options, or `None` if there is none.
    pub fn reading(&self, options: &TranslateOptions) -> Option<Reading> {
        self.translator.model().cross_attention()?;
        Some(options.reading.unwrap_or(self.translator.reading()))
    }

    /// What the page is told about it.
    pub fn description(&self) -> Value {
        let model = self.translator.model();
        let cross = model.cross_attention();
        let shape = |layers: usize, heads: usize| json!({ "layers": layers, "heads": heads });
        let (encoder, decoder) = match &self.config.model {
            ModelConfig::Transformer(config) => (shape(config.encoder_layers, config.heads), shape(config.decoder_layers, config.heads)),
            _ => (Value::Null, Value::Null),
        };
        let readings: Vec<String> = cross
            .iter()
            .flat_map(|cross| {
                let layers = (0..cross.layers).map(|layer| format!("layer:{layer}"));
                let heads = (0..cross.layers).flat_map(|layer| (0..cross.heads).map(move |head| format!("layer:{layer},head:{head}")));
                ["last".to_owned(), "mean".to_owned()].into_iter().chain(layers).chain(heads)
            })
            .collect();
        let mut sizes = serde_json::to_value(&self.config.model).unwrap_or_default();
        if let Some(sizes) = sizes.as_object_mut() {
            sizes.remove("type");
        }
        let Card { data, licence, attribution, training, scores, .. } = &self.card;
        json!({
            "id": self.id,
            "name": if self.card.name.is_empty() { &self.id } else { &self.card.name },
            "architecture": self.config.model.type_name(),
            "source": self.source,
            "target": self.target,
            "sizes": sizes,
            "attention": { "encoder": encoder, "decoder": decoder, "cross": cross.map(|cross| shape(cross.layers, cross.heads)) },
            "reading": cross.map(|_| self.translator.reading()),
            "readings": readings,
            "vocabulary": model.vocabulary(),
            "weights": model.parameters().values().len(),
            "sentence_tokens": self.translator.longest(),
            "card": { "data": data, "licence": licence, "attribution": attribution, "training": training, "scores": scores },
        })
    }
}
