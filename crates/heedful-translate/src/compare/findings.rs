//! What the numbers of a comparison show, and what they do not, in words.

use super::{Difference, Report, RungReport};
use crate::evaluate::BucketScore;
use crate::model::config::ModelConfig;

/// Fewer sentences in a bucket or a test set than this are called few.
const FEW: usize = 100;
/// A BLEU below this is next to nothing: ratios of such scores mean nothing.
const NOTHING: f64 = 1.0;
/// A rung whose validation BLEU grew by more than this in the last quarter of its budget was still learning.
const STILL_LEARNING: f64 = 0.5;

/// One statement each.
pub(super) fn of(report: &Report) -> Vec<String> {
    let mut ranked: Vec<&RungReport> = report.rungs.iter().collect();
    ranked.sort_by(|a, b| bleu(b).total_cmp(&bleu(a)));
    let mut findings = vec![ranking(report, &ranked)];
    findings.extend(ranked.windows(2).filter_map(|pair| neighbours(report, pair[0], pair[1])));
    findings.extend(report.rungs.iter().filter_map(by_length));
    findings.extend(attention_on_long_sentences(report));
    findings.extend(report.rungs.iter().filter_map(still_learning));
    findings.extend(limits(report));
    findings
}

fn bleu(rung: &RungReport) -> f64 {
    rung.metric("BLEU").map_or(0.0, |scores| scores.score)
}

fn ranking(report: &Report, ranked: &[&RungReport]) -> String {
    let scores: Vec<String> = ranked
        .iter()
        .map(|rung| {
            let interval = rung.metric("BLEU").and_then(|scores| scores.interval);
            format!("{} {:.1}{}", rung.name, bleu(rung), interval.map(range).unwrap_or_default())
        })
        .collect();
    format!("BLEU on {} sentences, with the range of 95 of 100 test sets drawn anew: {}.", report.corpus.test_sentences, scores.join("; "))
}

/// How sure it is that a rung is better than the next.
fn neighbours(report: &Report, better: &RungReport, worse: &RungReport) -> Option<String> {
    let (found, sign) = difference(report, &worse.name, &better.name, None)?;
    let (low, high) = ordered(found.interval, sign);
    let by = sign * found.difference;
    Some(if low > 0.0 {
        format!(
            "{} is better than {} by {by:.1} BLEU [{low:.1}, {high:.1}] on the same sentences: more than the choice of sentences explains (p = {:.3}).",
            better.name, worse.name, found.p_value
        )
    } else {
        format!(
            "Which of {} and {} is better, these sentences do not tell: they differ by {by:.1} BLEU [{low:.1}, {high:.1}].",
            better.name, worse.name
        )
    })
}

/// The difference "second minus first", with -1 where it was stored the other way round.
fn difference<'r>(report: &'r Report, first: &str, second: &str, words: Option<&str>) -> Option<(&'r Difference, f64)> {
    report.differences.iter().filter(|d| d.metric == "BLEU" && d.words.as_deref() == words).find_map(|d| {
        if d.first == first && d.second == second {
            Some((d, 1.0))
        } else if d.first == second && d.second == first {
            Some((d, -1.0))
        } else {
            None
        }
    })
}

fn ordered([low, high]: [f64; 2], sign: f64) -> (f64, f64) {
    if sign > 0.0 { (low, high) } else { (-high, -low) }
}

/// How the score changes from sentences of middle length to the longest. The shortest bucket is passed over if there are more than two: very
/// short sentences score high or low for reasons of their own.
fn by_length(rung: &RungReport) -> Option<String> {
    let (from, to) = middle_and_longest(rung)?;
    if from.score.max(to.score) < NOTHING {
        return Some(format!("{} scores next to nothing, on sentences of {} words as on those of {}.", rung.name, from.words, to.words));
    }
    let change = match (from.interval, to.interval) {
        (Some([low, _]), Some([_, high])) if high < low => "falls",
        (Some([_, high]), Some([low, _])) if high < low => "rises",
        _ if to.score < from.score => "falls, by less than the intervals tell apart,",
        _ => "does not fall, as far as the intervals tell,",
    };
    let share = if from.score >= NOTHING { format!(", {:.0} % of it", 100.0 * to.score / from.score) } else { String::new() };
    let few = if to.sentences < FEW { format!("; there are only {} such sentences", to.sentences) } else { String::new() };
    Some(format!(
        "From sentences of {} words to those of {}, {} {change} from {:.1}{} to {:.1}{} BLEU{share}{few}.",
        from.words,
        to.words,
        rung.name,
        from.score,
        from.interval.map(range).unwrap_or_default(),
        to.score,
        to.interval.map(range).unwrap_or_default()
    ))
}

fn middle_and_longest(rung: &RungReport) -> Option<(&BucketScore, &BucketScore)> {
    let buckets = &rung.metric("BLEU")?.by_source_length;
    let from = buckets.get(usize::from(buckets.len() > 2))?;
    let to = buckets.last()?;
    (from.words != to.words).then_some((from, to))
}

/// The longest sentences with and without attention.
fn attention_on_long_sentences(report: &Report) -> Vec<String> {
    let without = report.rungs.iter().filter(|rung| matches!(rung.model, ModelConfig::Rnn(_)));
    let with: Vec<&RungReport> = report.rungs.iter().filter(|rung| !matches!(rung.model, ModelConfig::Rnn(_))).collect();
    let longest = |rung: &RungReport| middle_and_longest(rung).map(|(_, to)| to.clone());
    let mut findings = Vec::new();
    for blind in without {
        for seeing in &with {
            let (Some(a), Some(b)) = (longest(blind), longest(seeing)) else { continue };
            let Some((found, sign)) = difference(report, &blind.name, &seeing.name, Some(&b.words)) else { continue };
            let (low, high) = ordered(found.interval, sign);
            let times = if a.score >= NOTHING { format!(" ({:.1} times)", b.score / a.score) } else { String::new() };
            findings.push(format!(
                "On the longest sentences ({} words), {} scores {:.1} and {}, without attention, {:.1}{times}; the difference is {:.1} BLEU [{low:.1}, {high:.1}].",
                b.words, seeing.name, b.score, blind.name, a.score, sign * found.difference
            ));
        }
    }
    findings
}

/// Whether the budget ended before the learning did.
fn still_learning(rung: &RungReport) -> Option<String> {
    let last = rung.curve.last()?;
    let best = |until: f64| rung.curve.iter().filter(|p| p.seconds <= until).map(|point| point.bleu).fold(0.0, f64::max);
    let gain = best(last.seconds) - best(0.75 * last.seconds);
    (rung.curve.len() > 3 && gain > STILL_LEARNING).then(|| {
        format!("{} was still learning: the last quarter of its time brought {gain:.1} BLEU on the validation sentences. With a larger budget the order may be another.", rung.name)
    })
}

/// What cannot be concluded.
fn limits(report: &Report) -> Vec<String> {
    let mut limits = Vec::new();
    if report.corpus.tested_on_validation {
        limits.push(
            "No test set was given: these are the validation sentences, which also chose the weights, so all scores are somewhat too high."
                .to_owned(),
        );
    }
    if report.corpus.test_sentences < FEW {
        limits.push(format!(
            "{} sentences are few: the intervals are wide, and they are themselves uncertain.",
            report.corpus.test_sentences
        ));
    }
    if report.rungs.len() > 1 {
        limits.push(format!(
            "Each rung was trained once, with seed {}. The intervals are about the choice of test sentences; another seed would move the scores too, by how much this does not say.",
            report.seed
        ));
        let sizes: Vec<usize> = report.rungs.iter().map(|rung| rung.parameters).collect();
        let (smallest, largest) = (sizes.iter().min().copied().unwrap_or(1).max(1), sizes.iter().max().copied().unwrap_or(1));
        if largest as f64 / smallest as f64 > 1.1 {
            limits.push(format!(
                "The rungs differ in size, from {:.2} to {:.2} million weights, and have the settings of their configurations, not the best ones that a search would find.",
                smallest as f64 / 1e6,
                largest as f64 / 1e6
            ));
        }
    }
    limits
        .push("Scores are of this corpus and this budget; and an alignment tells where a model read, not why it wrote a word.".to_owned());
    limits
}

fn range([low, high]: [f64; 2]) -> String {
    format!(" [{low:.1}, {high:.1}]")
}

#[cfg(test)]
mod tests {
    use super::super::report::{Corpus, Time};
    use super::super::{Budget, CurvePoint};
    use super::*;
    use crate::evaluate::MetricScores;

    /// A rung whose score is `at` on each of three buckets, with intervals of 1 to either side.
    fn rung(name: &str, model: &str, at: [f64; 3], curve: &[f64]) -> RungReport {
        let bucket = |(words, score): (&str, f64)| BucketScore {
            words: words.to_owned(),
            sentences: if words == "21+" { 30 } else { 300 },
            score,
            interval: Some([score - 1.0, score + 1.0]),
        };
        let scores = MetricScores {
            metric: "BLEU".to_owned(),
            score: at.iter().sum::<f64>() / 3.0,
            interval: None,
            signature: String::new(),
            by_source_length: ["1-10", "11-20", "21+"].into_iter().zip(at).map(bucket).collect(),
        };
        let point = |(i, &bleu): (usize, &f64)| {
            let seconds = 60.0 * (i + 1) as f64;
            CurvePoint { update: i as u64, seconds, cpu_seconds: seconds, loss: 1.0, bleu, chrf: bleu }
        };
        RungReport {
            name: name.to_owned(),
            model: ModelConfig::of_type(model).expect("known"),
            parameters: 1_000_000,
            updates: 10,
            epochs: 1.0,
            tokens: 1,
            time: Time::default(),
            curve: curve.iter().enumerate().map(point).collect(),
            scores: vec![scores],
        }
    }

    fn report(rungs: Vec<RungReport>, differences: Vec<Difference>, test_sentences: usize) -> Report {
        let corpus = Corpus {
            training_files: vec![],
            training_pairs: 1,
            validation_pairs: 1,
            test_files: vec![],
            test_sentences,
            tested_on_validation: false,
            vocabulary: 1,
            source_language: String::new(),
            target_language: String::new(),
        };
        Report { corpus, budget: Budget::default(), seed: 3, rungs, differences, sentences: vec![], findings: vec![] }
    }

    fn difference(words: Option<&str>, difference: f64, interval: [f64; 2]) -> Difference {
        let (first, second, metric) = ("blind".to_owned(), "seeing".to_owned(), "BLEU".to_owned());
        Difference { first, second, metric, words: words.map(str::to_owned), difference, interval, p_value: 0.001 }
    }

    fn found(report: &Report, part: &str) -> bool {
        of(report).iter().any(|finding| finding.contains(part))
    }

    #[test]
    fn what_the_intervals_tell_apart_is_told_apart() {
        let rungs = || vec![rung("blind", "rnn", [12.0, 10.0, 4.0], &[]), rung("seeing", "rnn_attention", [21.0, 20.0, 19.5], &[])];
        let sure = report(rungs(), vec![difference(None, 11.0, [10.0, 12.0]), difference(Some("21+"), 15.5, [13.0, 18.0])], 630);
        assert!(found(&sure, "seeing is better than blind by 11.0 BLEU [10.0, 12.0]"), "{:#?}", of(&sure));
        assert!(found(
            &sure,
            "From sentences of 11-20 words to those of 21+, blind falls from 10.0 [9.0, 11.0] to 4.0 [3.0, 5.0] BLEU, 40 % of it"
        ));
        assert!(found(&sure, "there are only 30 such sentences"));
        assert!(found(&sure, "seeing falls, by less than the intervals tell apart, from 20.0"));
        assert!(found(&sure, "seeing scores 19.5 and blind, without attention, 4.0 (4.9 times); the difference is 15.5 BLEU [13.0, 18.0]"));
        assert!(found(&sure, "with seed 3") && !found(&sure, "sentences are few"));
        let unsure = report(rungs(), vec![difference(None, 0.4, [-0.2, 1.0])], 50);
        assert!(found(&unsure, "Which of seeing and blind is better, these sentences do not tell"));
        assert!(found(&unsure, "50 sentences are few"));
    }

    #[test]
    fn a_difference_is_found_whichever_way_round_it_is_stored() {
        let rungs = vec![rung("seeing", "transformer", [1.0, 2.0, 1.5], &[]), rung("blind", "rnn", [12.0, 10.0, 14.0], &[])];
        let turned = report(rungs, vec![difference(None, -10.0, [-11.0, -9.0])], 500);
        assert!(found(&turned, "blind is better than seeing by 10.0 BLEU [9.0, 11.0]"), "{:#?}", of(&turned));
        assert!(found(&turned, "blind rises from 10.0"));
    }

    #[test]
    fn unfinished_learning_and_scores_of_nothing_are_said() {
        let learning = report(vec![rung("slow", "rnn", [0.1, 0.2, 0.0], &[1.0, 2.0, 3.0, 4.0])], vec![], 500);
        assert!(found(&learning, "slow was still learning: the last quarter of its time brought 1.0 BLEU"), "{:#?}", of(&learning));
        assert!(found(&learning, "slow scores next to nothing"));
        let done = report(vec![rung("done", "rnn", [9.0, 9.0, 9.0], &[1.0, 9.0, 9.2, 9.1])], vec![], 500);
        assert!(!found(&done, "still learning"));
    }
}
