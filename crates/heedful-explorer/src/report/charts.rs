//! The two charts of a comparison: score by sentence length, and score against minutes.

use heedful_translate::compare::Report;

use crate::picture::{Line, Lines, Picture, Point};

/// A metric by source length, with intervals.
pub fn by_length(report: &Report, metric: &str) -> Picture {
    // Each rung has the buckets that the test set has.
    let buckets: Vec<String> = report
        .rungs
        .first()
        .and_then(|rung| rung.metric(metric))
        .map(|scores| scores.by_source_length.iter().map(|bucket| bucket.words.clone()).collect())
        .unwrap_or_default();
    let lines: Vec<Line> = report
        .rungs
        .iter()
        .map(|rung| {
            let scores = rung.metric(metric).map(|scores| scores.by_source_length.as_slice()).unwrap_or_default();
            let point = |(i, bucket): (usize, &heedful_translate::evaluate::BucketScore)| Point {
                x: i as f64,
                y: bucket.score,
                interval: bucket.interval,
            };
            Line { name: rung.name.clone(), points: scores.iter().enumerate().map(point).collect() }
        })
        .collect();
    Lines {
        title: &format!("{metric} by sentence length"),
        across: "words in the source sentence",
        upwards: &format!("{metric}, with 95 % intervals"),
        categories: &buckets,
        lines: &lines,
    }
    .picture()
}

/// Validation BLEU against the minutes of each rung's own turns.
pub fn curves(report: &Report) -> Picture {
    let lines: Vec<Line> = report
        .rungs
        .iter()
        .map(|rung| {
            let points = rung.curve.iter().map(|point| Point { x: point.seconds / 60.0, y: point.bleu, interval: None });
            Line { name: rung.name.clone(), points: points.collect() }
        })
        .collect();
    Lines {
        title: "Learning curves",
        across: "minutes of training",
        upwards: "BLEU of the validation sentences, greedy",
        categories: &[],
        lines: &lines,
    }
    .picture()
}

/// Both charts, side by side.
pub fn overview(report: &Report) -> Picture {
    let names: Vec<&str> = report.rungs.iter().map(|rung| rung.name.as_str()).collect();
    Picture::beside(&format!("Comparison of {}", names.join(", ")), &[by_length(report, "BLEU"), curves(report)])
}
