//! What this crate makes of the recorded cases of translation scores, tokenizations and alignments.

use heedful_cases::{Case, Outputs, Runner, Stop, TextCase};
use heedful_translate::evaluate::{
    AlignmentQuality, Bleu, ChrF, Free, Links, Metric, ReferenceLinks, Smoothing, Symmetrisation, Ter, Tokenization, evaluate,
    evaluate_alignments, format_links, parse_links, symmetrise,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The runner for the crate's text suites.
pub struct Translation;

impl Runner for Translation {
    fn tensors(&self, case: &Case) -> Result<Outputs, Stop> {
        Err(Stop::skip(format!("{} is an operation of the engine or the layers", case.op)))
    }

    fn text(&self, case: &TextCase) -> Result<(), Stop> {
        let fields = Value::Object(case.fields.clone());
        match case.suite.as_str() {
            "sacrebleu" => score(&serde_json::from_value(fields)?),
            "sacrebleu_tokenizers" => tokenization(&serde_json::from_value(fields)?),
            "aer" => alignment_error_rate(&serde_json::from_value(fields)?),
            "symmetrization" => symmetrisation(&serde_json::from_value(fields)?),
            "bpe" => Err(Stop::skip(
                "the merges of subword-nmt mark the end of a word; those of this crate, learnt and applied by the tokenizers crate, its start",
            )),
            suite => Err(Stop::skip(format!("suite {suite} belongs to another crate"))),
        }
    }
}

#[derive(Deserialize)]
struct ScoreCase {
    metric: String,
    level: Option<String>,
    #[serde(default)]
    hypotheses: Vec<String>,
    #[serde(default)]
    references: Vec<Vec<Option<String>>>,
    #[serde(default)]
    correct: Vec<f64>,
    #[serde(default)]
    total: Vec<f64>,
    #[serde(default)]
    sys_len: f64,
    #[serde(default)]
    ref_len: f64,
    params: Map<String, Value>,
    expected: Map<String, Value>,
    signature: Option<String>,
    literal: Option<Literal>,
    tol: f64,
}

/// A number that is written in the other implementation's own test.
#[derive(Deserialize)]
struct Literal {
    score: f64,
    tol: f64,
}

fn score(case: &ScoreCase) -> Result<(), Stop> {
    match case.metric.as_str() {
        "bleu_from_stats" => {
            let score = bleu(&case.params, "none")?.score_counts(&case.correct, &case.total, case.sys_len, case.ref_len);
            near("score", score.score, &case.expected["score"], case.tol)
        }
        "bleu" => {
            let bleu = bleu(&case.params, "exp")?;
            check_score(case, &bleu, |name, sums| {
                let details = bleu.details(sums);
                Some(match name {
                    "counts" => details.counts.into(),
                    "totals" => details.totals.into(),
                    "precisions" => details.precisions.into(),
                    "bp" => details.brevity_penalty.into(),
                    "sys_len" => details.hypothesis_length.into(),
                    "ref_len" => details.reference_length.into(),
                    _ => return None,
                })
            })
        }
        "chrf" => check_score(case, &chrf(&case.params)?, |_, _| None),
        "ter" => check_score(case, &ter(&case.params)?, |name, sums| match name {
            "num_edits" => Some(sums[0].into()),
            "ref_length" => Some(sums[1].into()),
            _ => None,
        }),
        metric => Err(Stop::skip(format!("metric {metric} is not implemented"))),
    }
}

/// Compares the score, what else is recorded (`detail` computes it from the sums), and the signature.
fn check_score(case: &ScoreCase, metric: &dyn Metric, detail: impl Fn(&str, &[f64]) -> Option<Value>) -> Result<(), Stop> {
    let references: Vec<Vec<&str>> = (0..case.hypotheses.len())
        .map(|sentence| case.references.iter().filter_map(|stream| stream.get(sentence)?.as_deref()).collect())
        .collect();
    let segments = evaluate(metric, &case.hypotheses, &references)?;
    if case.level.as_deref() == Some("sentence") && segments.sentence_scores() != [segments.score()] {
        return Err(Stop::fail("the score of the only sentence is not that of the corpus"));
    }
    let sums = segments.sums();
    for (name, expected) in &case.expected {
        let got = if name == "score" { Some(segments.score().into()) } else { detail(name, &sums) };
        let got = got.ok_or_else(|| Stop::fail(format!("{name} is not known to this runner")))?;
        near_value(name, &got, expected, case.tol)?;
    }
    if let Some(literal) = &case.literal {
        near("score", segments.score(), &literal.score.into(), literal.tol)?;
    }
    let signature = metric.signature(segments.reference_count());
    match &case.signature {
        Some(expected) if *expected != signature => Err(Stop::fail(format!("the signature is {signature}, not {expected}"))),
        _ => Ok(()),
    }
}

fn near_value(name: &str, got: &Value, expected: &Value, tolerance: f64) -> Result<(), Stop> {
    match (got, expected) {
        (Value::Array(got), Value::Array(expected)) if got.len() == expected.len() => {
            got.iter().zip(expected).try_for_each(|(got, expected)| near_value(name, got, expected, tolerance))
        }
        (Value::Number(got), expected) => near(name, got.as_f64().unwrap_or(f64::NAN), expected, tolerance),
        _ => Err(Stop::fail(format!("{name} is {got}, not {expected}"))),
    }
}

fn near(name: &str, got: f64, expected: &Value, tolerance: f64) -> Result<(), Stop> {
    match expected.as_f64() {
        Some(expected) if (got - expected).abs() <= tolerance => Ok(()),
        _ => Err(Stop::fail(format!("{name} is {got}, not {expected}"))),
    }
}

/// The parameters of a case; one that is not read makes the case fail, as its result would mean nothing.
struct Parameters<'a>(Vec<(&'a str, &'a Value)>);

impl<'a> Parameters<'a> {
    fn new(map: &'a Map<String, Value>) -> Self {
        Self(map.iter().map(|(name, value)| (name.as_str(), value)).collect())
    }

    /// Reads one of them; `None` where it is absent or null.
    fn take<T: Deserialize<'a>>(&mut self, name: &str) -> Result<Option<T>, Stop> {
        match self.0.iter().position(|&(known, _)| known == name) {
            Some(at) => Ok(Option::deserialize(self.0.swap_remove(at).1)?),
            None => Ok(None),
        }
    }

    fn flag(&mut self, name: &str) -> Result<bool, Stop> {
        Ok(self.take(name)?.unwrap_or(false))
    }

    fn finish(self) -> Result<(), Stop> {
        match self.0.first() {
            Some((name, value)) => Err(Stop::fail(format!("parameter {name} = {value} is not known to this runner"))),
            None => Ok(()),
        }
    }
}

/// From counts alone, nothing is smoothed by default; from text, exponentially.
fn bleu(parameters: &Map<String, Value>, smoothing: &str) -> Result<Bleu, Stop> {
    let mut parameters = Parameters::new(parameters);
    // `force` silences a warning, and the language chooses a tokenization where none is named.
    parameters.flag("force")?;
    let tokenization = match (parameters.take::<&str>("tokenize")?, parameters.take::<&str>("trg_lang")?) {
        (Some(name), _) => {
            name.parse::<Tokenization>().map_err(|error| Stop::skip(format!("{error}: the others need data or models of their own")))?
        }
        (None, Some("zh")) => Tokenization::Zh,
        (None, _) => Tokenization::V13a,
    };
    let value: Option<f64> = parameters.take("smooth_value")?;
    let smoothing = match parameters.take("smooth_method")?.unwrap_or(smoothing) {
        "none" => Smoothing::None,
        "floor" => value.map_or(Smoothing::FLOOR, Smoothing::Floor),
        "add-k" => value.map_or(Smoothing::ADD_K, Smoothing::AddK),
        "exp" => Smoothing::Exp,
        other => return Err(Stop::fail(format!("smoothing {other} is not known to this runner"))),
    };
    let bleu = Bleu {
        tokenization,
        smoothing,
        lowercase: parameters.flag("lowercase")?,
        effective_order: parameters.flag("effective_order")?,
        max_order: parameters.take("max_ngram_order")?.unwrap_or(4),
    };
    parameters.finish()?;
    Ok(bleu)
}

fn chrf(parameters: &Map<String, Value>) -> Result<ChrF, Stop> {
    let mut parameters = Parameters::new(parameters);
    let default = ChrF::default();
    let chrf = ChrF {
        char_order: parameters.take("char_order")?.unwrap_or(default.char_order),
        word_order: parameters.take("word_order")?.unwrap_or(default.word_order),
        beta: parameters.take("beta")?.unwrap_or(default.beta),
        lowercase: parameters.flag("lowercase")?,
        whitespace: parameters.flag("whitespace")?,
        eps_smoothing: parameters.flag("eps_smoothing")?,
    };
    parameters.finish()?;
    Ok(chrf)
}

fn ter(parameters: &Map<String, Value>) -> Result<Ter, Stop> {
    let mut parameters = Parameters::new(parameters);
    let ter = Ter {
        normalized: parameters.flag("normalized")?,
        no_punctuation: parameters.flag("no_punct")?,
        asian_support: parameters.flag("asian_support")?,
        case_sensitive: parameters.flag("case_sensitive")?,
    };
    parameters.finish()?;
    Ok(ter)
}

#[derive(Deserialize)]
struct TokenizationCase {
    tokenizer: String,
    params: Map<String, Value>,
    input: String,
    expected: String,
}

fn tokenization(case: &TokenizationCase) -> Result<(), Stop> {
    let got = if case.tokenizer == "tercom" {
        ter(&case.params)?.words(&case.input)
    } else {
        Parameters::new(&case.params).finish()?;
        let tokenization: Tokenization = case.tokenizer.parse().map_err(|error| Stop::skip(format!("{error}")))?;
        tokenization.apply(&case.input)
    };
    if got == case.expected { Ok(()) } else { Err(Stop::fail(format!("{:?} became {got:?}, not {:?}", case.input, case.expected))) }
}

#[derive(Deserialize)]
struct AerCase {
    reference: Vec<String>,
    hypothesis: Vec<String>,
    params: Map<String, Value>,
    expected: Map<String, Value>,
    tol: f64,
}

fn alignment_error_rate(case: &AerCase) -> Result<(), Stop> {
    let mut parameters = Parameters::new(&case.params);
    let [from_one_reference, from_one_hypothesis] = [parameters.flag("one_indexed_reference")?, parameters.flag("one_indexed_hypothesis")?];
    let [reverse_reference, reverse_hypothesis] = [parameters.flag("reverse_reference")?, parameters.flag("reverse_hypothesis")?];
    let [ignore_possible, all_sure] = [parameters.flag("ignore_possible")?, parameters.flag("all_sure")?];
    parameters.finish()?;

    let references = case
        .reference
        .iter()
        .map(|line| {
            let mut links = ReferenceLinks::parse(line, from_one_reference)?;
            if ignore_possible {
                links = links.only_sure();
            }
            if all_sure {
                links = links.all_sure();
            }
            Ok(if reverse_reference { links.reversed() } else { links })
        })
        .collect::<Result<Vec<_>, Stop>>()?;
    let found = case
        .hypothesis
        .iter()
        .map(|line| {
            let links = parse_links(line, from_one_hypothesis)?.0;
            Ok(if reverse_hypothesis { links.iter().map(|&(source, target)| (target, source)).collect() } else { links })
        })
        .collect::<Result<Vec<Links>, Stop>>()?;

    let quality = AlignmentQuality::from_sums(&evaluate_alignments(&found, &references)?.sums());
    for (name, expected) in &case.expected {
        let got = match name.as_str() {
            "aer" => quality.error_rate,
            "precision" => quality.precision,
            "recall" => quality.recall,
            "f_measure_alpha_0_5" => quality.f_measure(0.5),
            "links" => quality.links as f64,
            _ => return Err(Stop::fail(format!("{name} is not known to this runner"))),
        };
        near(name, got, expected, case.tol)?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct SymmetrisationCase {
    forward: Vec<String>,
    reverse_in_forward_order: Vec<String>,
    expected: Map<String, Value>,
}

fn symmetrisation(case: &SymmetrisationCase) -> Result<(), Stop> {
    for (name, expected) in &case.expected {
        // The script that the results are from grows by links whose words are both free, and ends with such links too.
        let grow = |finally| Symmetrisation::Grow { neighbours: Free::Both, finally };
        let method = match name.as_str() {
            "intersection" => Symmetrisation::Intersection,
            "union" => Symmetrisation::Union,
            "grow_diagonal" => grow(None),
            "grow_diagonal_final" => grow(Some(Free::Both)),
            _ => return Err(Stop::fail(format!("{name} is not known to this runner"))),
        };
        // A sentence without a result is one where the script's own result depends on chance.
        let expected: Vec<Option<String>> = Vec::deserialize(expected)?;
        if expected.len() != case.forward.len() || expected.len() != case.reverse_in_forward_order.len() {
            return Err(Stop::fail(format!("{name}: {} results for {} sentences", expected.len(), case.forward.len())));
        }
        let lines = case.forward.iter().zip(&case.reverse_in_forward_order).zip(&expected);
        for (sentence, ((forward, reverse), expected)) in lines.enumerate() {
            let got = symmetrise(&parse_links(forward, false)?.0, &parse_links(reverse, false)?.0, method);
            if let Some(expected) = expected {
                let expected = parse_links(expected, false)?.0;
                if got != expected {
                    return Err(Stop::fail(format!(
                        "{name} of sentence {sentence} is {}, not {}",
                        format_links(&got),
                        format_links(&expected)
                    )));
                }
            }
        }
    }
    Ok(())
}
