//! The report of `heedful compare` as a page.

use heedful_translate::compare::{Report, RungReport, ShownSentence, ShownTranslation};
use heedful_translate::evaluate::MetricScores;

use super::html::{Column, details, figure, heading, page, paragraph, quote, remark, scored, table};
use super::{by_length, curves, metrics};
use crate::picture::{HeatMap, Picture, Scale, with_end};

/// The page: what the numbers show, the table, both charts with their numbers, and the same sentences as all rungs translate them.
pub fn comparison(report: &Report) -> String {
    let names: Vec<&str> = report.rungs.iter().map(|rung| rung.name.as_str()).collect();
    let title = format!("Comparison of {}", names.join(", "));
    let mut body = heading(1, &title);
    body += &corpus(report);
    body += &heading(2, "What the numbers show, and what they do not");
    body += &report.findings.iter().map(|finding| paragraph(finding)).collect::<String>();
    body += &heading(2, "The rungs");
    body += &rungs(report);
    body += &heading(2, "Score by sentence length");
    body += "<div class=\"beside\">\n";
    for metric in metrics(report) {
        body += &figure(&by_length(report, &metric), "");
    }
    body += "</div>\n";
    body += &remark(
        "BLEU counts runs of up to four words: sentences of fewer words score low whatever they say, and chrF tells more about them.",
    );
    body += &details("The numbers as a table", &lengths(report));
    body += &details("Each rung against each other one, on the same sentences", &differences(report));
    body += &heading(2, "Learning curves");
    body += &figure(&curves(report), "The clock of each rung runs in its own turns only, validation included.");
    body += &details("The numbers as a table", &curve_numbers(report));
    body += &heading(2, "The same sentences");
    body += &report.sentences.iter().map(|shown| sentence(report, shown)).collect::<String>();
    body += &heading(2, "How it was done");
    body += &method(report);
    page(&title, &body)
}

fn corpus(report: &Report) -> String {
    let corpus = &report.corpus;
    let languages = match (corpus.source_language.as_str(), corpus.target_language.as_str()) {
        ("", _) | (_, "") => String::new(),
        (source, target) => format!("{source} to {target}. "),
    };
    let mut budget = Vec::new();
    if report.budget.minutes > 0.0 {
        budget.push(format!("{} minutes", report.budget.minutes));
    }
    if report.budget.updates > 0 {
        budget.push(format!("{} updates", report.budget.updates));
    }
    let test = if corpus.tested_on_validation { "the validation sentences, for want of a test set" } else { "held out of training" };
    paragraph(&format!(
        "{languages}Trained on {} sentence pairs with one tokenizer of {} tokens, {} for each rung, seed {}. Scored on {} sentences, {test}.",
        corpus.training_pairs,
        corpus.vocabulary,
        if budget.is_empty() { "no common limit".to_owned() } else { budget.join(" or ") },
        report.seed,
        corpus.test_sentences
    ))
}

fn rungs(report: &Report) -> String {
    let metrics = metrics(report);
    let mut columns = vec![
        Column::Text("rung"),
        Column::Number("weights"),
        Column::Number("updates"),
        Column::Number("epochs"),
        Column::Number("tokens/s"),
        Column::Number("minutes"),
        Column::Number("CPU minutes"),
    ];
    columns.extend(metrics.iter().map(|metric| Column::Number(metric)));
    columns.push(Column::Number("sentences/s"));
    let row = |rung: &RungReport| {
        let mut row = vec![
            rung.name.clone(),
            format!("{:.2} M", rung.parameters as f64 / 1e6),
            rung.updates.to_string(),
            format!("{:.1}", rung.epochs),
            format!("{:.0}", rung.time.tokens_per_second),
            format!("{:.1}", rung.time.minutes),
            format!("{:.1}", rung.time.cpu_minutes),
        ];
        row.extend(rung.scores.iter().map(|scores| scored(scores.score, scores.interval)));
        row.push(format!("{:.1}", report.corpus.test_sentences as f64 / rung.time.translation_seconds.max(1e-9)));
        row
    };
    let note = "Minutes are those of the rung's own turns, validation included; CPU minutes are over all threads, and hardly grow when the machine has \
                other work too. Tokens are target tokens in training; sentences are those of the test set, translated. Square brackets: where the score lies \
                in 95 of 100 test sets drawn anew.";
    table(&columns, &report.rungs.iter().map(row).collect::<Vec<_>>()) + &remark(note)
}

fn lengths(report: &Report) -> String {
    let of_metric = |metric: &String| {
        let scores: Vec<&MetricScores> = report.rungs.iter().filter_map(|rung| rung.metric(metric)).collect();
        let mut columns = vec![Column::Text("words"), Column::Number("sentences")];
        columns.extend(report.rungs.iter().map(|rung| Column::Number(&rung.name)));
        let buckets = scores.first().map(|scores| scores.by_source_length.as_slice()).unwrap_or_default();
        let row = |(i, bucket): (usize, &heedful_translate::evaluate::BucketScore)| {
            let mut row = vec![bucket.words.clone(), bucket.sentences.to_string()];
            row.extend(
                scores.iter().filter_map(|scores| scores.by_source_length.get(i)).map(|bucket| scored(bucket.score, bucket.interval)),
            );
            row
        };
        heading(3, metric) + &table(&columns, &buckets.iter().enumerate().map(row).collect::<Vec<_>>())
    };
    metrics(report).iter().map(of_metric).collect()
}

fn differences(report: &Report) -> String {
    let columns = [Column::Text("rungs"), Column::Text("metric"), Column::Text("words"), Column::Number("difference"), Column::Number("p")];
    let row = |found: &heedful_translate::compare::Difference| {
        let [low, high] = found.interval;
        vec![
            format!("{} minus {}", found.second, found.first),
            found.metric.clone(),
            found.words.clone().unwrap_or_else(|| "all".to_owned()),
            format!("{:+.1} [{low:+.1}, {high:+.1}]", found.difference),
            format!("{:.3}", found.p_value),
        ]
    };
    table(&columns, &report.differences.iter().map(row).collect::<Vec<_>>())
}

fn curve_numbers(report: &Report) -> String {
    let columns = [
        Column::Text("rung"),
        Column::Number("update"),
        Column::Number("minutes"),
        Column::Number("CPU minutes"),
        Column::Number("loss"),
        Column::Number("BLEU"),
        Column::Number("chrF"),
    ];
    let rows: Vec<Vec<String>> = report
        .rungs
        .iter()
        .flat_map(|rung| {
            rung.curve.iter().map(|point| {
                vec![
                    rung.name.clone(),
                    point.update.to_string(),
                    format!("{:.2}", point.seconds / 60.0),
                    format!("{:.2}", point.cpu_seconds / 60.0),
                    format!("{:.3}", point.loss),
                    format!("{:.2}", point.bleu),
                    format!("{:.2}", point.chrf),
                ]
            })
        })
        .collect();
    table(&columns, &rows)
}

fn sentence(report: &Report, shown: &ShownSentence) -> String {
    let mut out = heading(3, &format!("{} words: {}", shown.words, shown.origin)) + &quote(&shown.source);
    let mut rows: Vec<Vec<String>> = shown.translations.iter().map(|t| vec![t.rung.clone(), t.text.clone()]).collect();
    if let Some(reference) = &shown.reference {
        rows.push(vec!["reference".to_owned(), reference.clone()]);
    }
    out += &table(&[Column::Text("by"), Column::Text("translation")], &rows);
    let mut maps = String::new();
    for translation in &shown.translations {
        match heat_map(shown, translation) {
            Some(map) => maps += &figure(&map, &format!("{}: where each word was read", translation.rung)),
            None => maps += &remark(&why_no_map(report, translation)),
        }
    }
    out + &details("Alignments", &maps)
}

/// The alignment of a translation, if its model has attention and there are words.
pub(super) fn heat_map(shown: &ShownSentence, translation: &ShownTranslation) -> Option<Picture> {
    let alignment = translation.alignment.as_ref().filter(|alignment| alignment.target_words() > 0)?;
    let (columns, weights) = with_end(&shown.source_words, alignment);
    let title = format!("Which source words {} looked at", translation.rung);
    Some(HeatMap { title: &title, columns: &columns, rows: &translation.target_words, weights: &weights, scale: Scale::Purple }.picture())
}

fn why_no_map(report: &Report, translation: &ShownTranslation) -> String {
    let rung = &translation.rung;
    let attends = report
        .rungs
        .iter()
        .any(|other| other.name == *rung && !matches!(other.model, heedful_translate::model::config::ModelConfig::Rnn(_)));
    if attends {
        format!("{rung} wrote no word, so there is nothing to show.")
    } else {
        format!(
            "{rung} has no attention: its decoder is handed one hidden state of the encoder, not the words, so there are no weights to show."
        )
    }
}

fn method(report: &Report) -> String {
    let mut out = String::new();
    let files = |paths: &[std::path::PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    let corpus = &report.corpus;
    let mut rows =
        vec![vec!["training text".to_owned(), files(&corpus.training_files)], vec!["test set".to_owned(), files(&corpus.test_files)]];
    rows.retain(|row| !row[1].is_empty());
    for rung in &report.rungs {
        rows.push(vec![rung.name.clone(), serde_json::to_string(&rung.model).unwrap_or_default()]);
    }
    if let Some(rung) = report.rungs.first() {
        rows.extend(rung.scores.iter().map(|scores| vec![scores.metric.clone(), scores.signature.clone()]));
    }
    out += &table(&[Column::Text("what"), Column::Text("value")], &rows);
    out += &paragraph(
        "The rungs trained in turns of some seconds on one machine. Of each, the weights of the best validations were averaged; its model file translated \
         every test line as a whole, by beam search unless the configuration says otherwise. Intervals and p-values are from paired bootstrap resampling \
         (Koehn 2004). Sentences are chosen by their place in the test set, not by what became of them.",
    );
    out
}
