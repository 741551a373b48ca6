use heedful_translate::compare::{Budget, Corpus, CurvePoint, Difference, Report, RungReport, ShownSentence, ShownTranslation, Time};
use heedful_translate::decode::Alignment;
use heedful_translate::evaluate::{BucketScore, MetricScores};
use heedful_translate::model::config::ModelConfig;

use super::*;

const HOSTILE: &str = "<script>alert(1)</script>]]>\"'&";

fn rung(name: &str, model: &str, score: f64) -> RungReport {
    let bucket =
        |words: &str, score: f64| BucketScore { words: words.to_owned(), sentences: 40, score, interval: Some([score - 2.0, score + 2.0]) };
    let metric = |name: &str| MetricScores {
        metric: name.to_owned(),
        score,
        interval: Some([score - 1.0, score + 1.0]),
        signature: "nrefs:1|case:mixed".to_owned(),
        by_source_length: vec![bucket("1-10", score + 1.0), bucket("11+", score - 1.0)],
    };
    let point = |update: u64| CurvePoint {
        update,
        seconds: update as f64,
        cpu_seconds: 2.0 * update as f64,
        loss: 3.0,
        bleu: score / 2.0,
        chrf: score,
    };
    RungReport {
        name: name.to_owned(),
        model: ModelConfig::of_type(model).expect("known"),
        parameters: 1_234_567,
        updates: 200,
        epochs: 1.5,
        tokens: 1000,
        time: Time { minutes: 2.0, cpu_minutes: 3.5, tokens_per_second: 321.0, translation_seconds: 4.0, ..Time::default() },
        curve: vec![point(100), point(200)],
        scores: vec![metric("BLEU"), metric("chrF2")],
    }
}

fn report() -> Report {
    let alignment = Alignment::new(&[0.7, 0.2, 0.1, 0.1, 0.1, 0.8], 3, &[0..1, 1..2], &[0..1, 1..2]);
    let translation = |rung: &str, alignment: Option<Alignment>| ShownTranslation {
        rung: rung.to_owned(),
        text: HOSTILE.to_owned(),
        target_words: vec![HOSTILE.to_owned(), "b".to_owned()],
        alignment,
    };
    Report {
        corpus: Corpus {
            training_files: vec![HOSTILE.into()],
            training_pairs: 100,
            validation_pairs: 10,
            test_files: vec!["test.tsv".into()],
            test_sentences: 80,
            tested_on_validation: false,
            vocabulary: 500,
            source_language: HOSTILE.to_owned(),
            target_language: "English".to_owned(),
        },
        budget: Budget { minutes: 2.0, updates: 0 },
        seed: 7,
        rungs: vec![rung("blind", "rnn", 10.0), rung("seeing", "transformer", 20.0)],
        differences: vec![Difference {
            first: "blind".to_owned(),
            second: "seeing".to_owned(),
            metric: "BLEU".to_owned(),
            words: None,
            difference: 10.0,
            interval: [9.0, 11.0],
            p_value: 0.001,
        }],
        sentences: vec![ShownSentence {
            source: HOSTILE.to_owned(),
            reference: Some(HOSTILE.to_owned()),
            words: 2,
            origin: HOSTILE.to_owned(),
            source_words: vec![HOSTILE.to_owned(), "a".to_owned()],
            translations: vec![translation("blind", None), translation("seeing", Some(alignment))],
        }],
        findings: vec![HOSTILE.to_owned()],
    }
}

#[test]
fn the_page_shows_all_numbers_and_says_why_there_is_no_map() {
    let page = comparison(&report());
    for text in [
        "1.23 M",
        "321",
        "10.0 [9.0, 11.0]",
        "20.0 [19.0, 21.0]",
        "+10.0 [+9.0, +11.0]",
        "nrefs:1|case:mixed",
        "blind has no attention",
        "seed 7",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert_eq!(page.matches("<svg ").count(), 4, "two metrics by length, the curves, one heat map");
}

#[test]
fn the_page_needs_nothing_and_runs_nothing() {
    let page = comparison(&report());
    assert!(!page.contains("<script"), "hostile text became an element");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    for forbidden in ["src=", "href=", "url(", "@import", "<link", "<iframe", " onclick", " onload", "javascript:"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    let addresses: Vec<&str> = page.match_indices("http").map(|(at, _)| &page[at..at + 26]).collect();
    let known = |address: &&str| address.starts_with("http://www.w3.org/2000/svg") || address.starts_with("http-equiv");
    assert!(addresses.iter().all(known), "{addresses:?}");
}

#[test]
fn the_same_report_gives_the_same_page_and_pictures() {
    assert_eq!(comparison(&report()), comparison(&report()));
    let names: Vec<String> = pictures(&report()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["bleu-by-length", "chrf2-by-length", "learning-curves", "sentence-1-seeing"]);
    for (name, picture) in pictures(&report()) {
        roxmltree::Document::parse(&picture.to_svg()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    roxmltree::Document::parse(&overview(&report()).to_svg()).expect("well-formed");
}

#[test]
fn a_report_without_rungs_or_sentences_is_a_page_all_the_same() {
    let empty = Report { rungs: vec![], sentences: vec![], differences: vec![], ..report() };
    assert!(comparison(&empty).contains("</html>"));
    roxmltree::Document::parse(&overview(&empty).to_svg()).expect("well-formed");
}
