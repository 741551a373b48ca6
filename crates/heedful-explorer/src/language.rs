//! Names and codes of languages.

use serde::Serialize;

/// A language: its ISO 639-1 code, where there is one, and its English name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Language {
    pub code: String,
    pub name: String,
}

/// Languages that models are likely to be made for, by code.
const KNOWN: [(&str, &str); 48] = [
    ("ar", "Arabic"),
    ("bg", "Bulgarian"),
    ("bn", "Bengali"),
    ("ca", "Catalan"),
    ("cs", "Czech"),
    ("da", "Danish"),
    ("de", "German"),
    ("el", "Greek"),
    ("en", "English"),
    ("eo", "Esperanto"),
    ("es", "Spanish"),
    ("et", "Estonian"),
    ("eu", "Basque"),
    ("fa", "Persian"),
    ("fi", "Finnish"),
    ("fr", "French"),
    ("ga", "Irish"),
    ("gl", "Galician"),
    ("grc", "Ancient Greek"),
    ("he", "Hebrew"),
    ("hi", "Hindi"),
    ("hr", "Croatian"),
    ("hu", "Hungarian"),
    ("id", "Indonesian"),
    ("is", "Icelandic"),
    ("it", "Italian"),
    ("ja", "Japanese"),
    ("ko", "Korean"),
    ("la", "Latin"),
    ("lt", "Lithuanian"),
    ("lv", "Latvian"),
    ("ms", "Malay"),
    ("nb", "Norwegian"),
    ("nl", "Dutch"),
    ("pl", "Polish"),
    ("pt", "Portuguese"),
    ("ro", "Romanian"),
    ("ru", "Russian"),
    ("sk", "Slovak"),
    ("sl", "Slovenian"),
    ("sr", "Serbian"),
    ("sv", "Swedish"),
    ("th", "Thai"),
    ("tr", "Turkish"),
    ("uk", "Ukrainian"),
    ("ur", "Urdu"),
    ("vi", "Vietnamese"),
    ("zh", "Chinese"),
];

impl Language {
    /// From what a model's card says: a name or a code; `None` if it says nothing. A language that is not known by name is its own code.
    pub fn of_card(text: &str) -> Option<Self> {
        let text = text.trim();
        let known = KNOWN.iter().find(|(code, name)| code.eq_ignore_ascii_case(text) || name.eq_ignore_ascii_case(text));
        match known {
            _ if text.is_empty() => None,
            Some((code, name)) => Some(Self { code: (*code).to_owned(), name: (*name).to_owned() }),
            None => Some(Self { code: text.to_lowercase().replace(' ', "-"), name: text.to_owned() }),
        }
    }
}

/// A language that a text may be in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detected {
    pub language: String,
    /// In percent.
    pub confidence: f64,
}

/// The language of a text by its script and its trigrams, if it is one of `among`; none if the text has no letters, or is in none of them.
pub fn detect(text: &str, among: &[Language]) -> Vec<Detected> {
    let known: Vec<(whatlang::Lang, &Language)> = whatlang::Lang::all()
        .iter()
        .filter_map(|lang| {
            let name = lang.eng_name();
            let name = if *lang == whatlang::Lang::Cmn { "Chinese" } else { name };
            Some((*lang, among.iter().find(|language| language.name.starts_with(name) || name.starts_with(&language.name))?))
        })
        .collect();
    if known.is_empty() {
        return Vec::new();
    }
    let detector = whatlang::Detector::with_allowlist(known.iter().map(|(lang, _)| *lang).collect());
    let Some(info) = detector.detect(text) else { return Vec::new() };
    let found = known.iter().find(|(lang, _)| *lang == info.lang());
    found
        .map(|(_, language)| Detected { language: language.code.clone(), confidence: (1000.0 * info.confidence()).round() / 10.0 })
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_name_languages_as_they_like() {
        let of = |text| Language::of_card(text).map(|language| (language.code, language.name));
        assert_eq!(of("German"), Some(("de".to_owned(), "German".to_owned())));
        assert_eq!(of(" EN "), Some(("en".to_owned(), "English".to_owned())));
        assert_eq!(of("Old Norse"), Some(("old-norse".to_owned(), "Old Norse".to_owned())));
        assert_eq!(of(""), None);
    }

    #[test]
    fn a_text_is_in_one_of_the_languages_that_there_are() {
        let among = ["German", "English"].map(|name| Language::of_card(name).unwrap());
        let code = |text| detect(text, &among).into_iter().map(|found| found.language).collect::<Vec<_>>();
        assert_eq!(code("Kannst du mir helfen, diesen Satz zu \u{fc}bersetzen?"), ["de"]);
        assert_eq!(code("Could you help me to translate this sentence?"), ["en"]);
        assert!(code("123 ...").is_empty() && code("\u{6211}\u{7231}\u{4f60}").is_empty());
        assert!(detect("Kannst du mir helfen?", &[]).is_empty());
    }
}
