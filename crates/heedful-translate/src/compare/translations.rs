//! The test set as a rung translates it, kept in a file.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Instant;

use cpu_time::ProcessTime;
use serde::{Deserialize, Serialize};

use super::CompareError;
use super::plan::{self, Rung};
use super::report::Shown;
use crate::bundle::Bundle;
use crate::evaluate::TestSet;
use crate::translator::{Sentence, TranslateOptions};

/// The file's name in a rung's folder.
const TRANSLATIONS: &str = "translations.json";

/// What a rung made of the test set.
pub(super) struct Translated {
    pub translations: Vec<String>,
    pub seconds: f64,
    pub cpu_seconds: f64,
    /// The sentences that are shown, with their alignments.
    pub shown: Vec<Option<Sentence>>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    /// What the translations follow from.
    key: String,
    seconds: f64,
    cpu_seconds: f64,
    translations: Vec<String>,
}

/// Translates each line as a whole, as it was in training: a model that was shown several sentences in a line has to translate them together.
pub(super) fn translate(rung: &Rung, path: &Path, test: &TestSet, shown: &[Shown]) -> Result<Translated, CompareError> {
    let failed = |source| CompareError::Translate { rung: rung.name.clone(), source };
    let model = std::fs::read(path).map_err(|source| CompareError::Read { path: path.to_owned(), source })?;
    let bundle = Bundle::from_bytes(&model);
    let mut bundle = bundle.map_err(|source| CompareError::Bundle { rung: rung.name.clone(), source })?;
    // How to decode can be changed after the training.
    bundle.config.decoding = rung.config.decoding.clone();
    let (translator, options) = bundle.into_translator().map_err(failed)?;
    let options = TranslateOptions { split_sentences: false, alignment: false, ..options };
    let key = {
        let mut hasher = DefaultHasher::new();
        (model, &test.sources, format!("{options:?}")).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    };
    let file = rung.config.training.output.join(TRANSLATIONS);
    // A file that is missing, damaged or of other translations is made anew.
    let kept = std::fs::read(&file).ok().and_then(|json| serde_json::from_slice::<Kept>(&json).ok()).filter(|kept| kept.key == key);
    let kept = if let Some(kept) = kept {
        kept
    } else {
        let (start, processors) = (Instant::now(), ProcessTime::now());
        let translations = translator.translate(&test.sources, &options).map_err(failed)?;
        let translations = translations.into_iter().map(|translation| translation.text).collect();
        let (seconds, cpu_seconds) = (start.elapsed().as_secs_f64(), processors.elapsed().as_secs_f64());
        let kept = Kept { key, seconds, cpu_seconds, translations };
        plan::write(&file, &serde_json::to_vec(&kept).expect("strings and finite numbers"))?;
        kept
    };
    let sources: Vec<&str> = shown.iter().map(|shown| shown.source.as_str()).collect();
    let options = TranslateOptions { alignment: true, ..options };
    let sentences = translator.translate(&sources, &options).map_err(failed)?;
    Ok(Translated {
        translations: kept.translations,
        seconds: kept.seconds,
        cpu_seconds: kept.cpu_seconds,
        // A line without a word has no sentence.
        shown: sentences.into_iter().map(|translation| translation.sentences.into_iter().next()).collect(),
    })
}
