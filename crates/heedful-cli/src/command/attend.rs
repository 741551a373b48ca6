//! `heedful attend`: the lecture's four attention mechanisms step by step, with the numbers.

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use heedful::mechanism::causal::Dropout;
use heedful::mechanism::{Steps, simplified};
use heedful_explorer::picture::Picture;
use heedful_explorer::report;
use heedful_translate::model::config::ModelConfig;
use heedful_translate::model::first_attention::FirstAttention;
use serde_json::{Value, json};

use crate::heat_map::{HeatMap, legend};
use crate::lecture::Lecture;
use crate::model::ModelArgument;
use crate::output;
use crate::picture_files::PictureFiles;
use crate::table::table;
use crate::terminal::{Style, When};

/// Follow attention step by step, with the numbers: scores, scaling, mask, softmax, dropout, context
///
/// Without a text, this is the lecture's sentence, each word three numbers long, through its four mechanisms. With a text, the numbers are those of
/// the first encoder layer of the built-in model, or of the one named by --model: what its tokens are, and what they look at. For a single query all
/// steps are shown; then the weights of all queries as a heat map.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  heedful attend                                          the lecture's four mechanisms
  heedful attend --mechanism causal --query starts        one of them, seen from another word
  heedful attend \"Der Hund schläft.\"                      your own text, with the built-in model's weights
  heedful attend --mechanism multi-head --head 2 \"Der Hund schläft.\"
  heedful attend --html attend.html                       a page with all pictures and numbers
  heedful attend --json > steps.json                      all numbers")]
pub struct Arguments {
    /// A text of your own [default: the lecture's sentence]
    text: Vec<String>,
    /// One mechanism instead of all
    #[arg(long, value_enum, value_name = "NAME")]
    mechanism: Option<Mechanism>,
    /// The token whose steps are shown: a word, or its place from 1 [default: the second token]
    #[arg(long, value_name = "WORD")]
    query: Option<String>,
    /// The head that is shown for your own text, from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    head: u32,
    #[command(flatten)]
    model: ModelArgument,
    /// Print all numbers as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pictures: PictureFiles,
}

/// Of more tokens, weights are shown as a picture only.
const MOST_NUMBERS: usize = 12;

/// The mechanisms in the lecture's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mechanism {
    /// Without trainable weights
    Simplified,
    /// With trainable queries, keys and values
    SelfAttention,
    /// Looking back only, with dropout
    Causal,
    /// Several heads: stacked, and split
    MultiHead,
}

/// One mechanism's numbers, with what is needed to explain them.
struct Part {
    mechanism: Mechanism,
    title: &'static str,
    formula: &'static str,
    /// By what scores are divided.
    divisor: f32,
    steps: Steps,
    /// Weights after dropout, if there is any.
    dropped: Option<Dropped>,
    /// What comes after the context: side by side with other heads, or projected.
    result: Option<(&'static str, Vec<f32>)>,
}

/// Weights of which some are 0, and the contexts they give.
struct Dropped {
    weights: Vec<f32>,
    context: Vec<f32>,
}

impl Arguments {
    pub fn run(self, color: When) -> Result<()> {
        let (tokens, x, parts) = if self.text.is_empty() { of_lecture()? } else { self.of_text()? };
        let query = self.query_place(&tokens)?;
        let parts: Vec<Part> = parts.into_iter().filter(|part| self.mechanism.is_none_or(|wanted| part.mechanism == wanted)).collect();
        if self.pictures.any() {
            self.draw(&tokens, &parts)?;
        }
        if self.json {
            let value = json!({ "tokens": tokens, "inputs": rows(&x, tokens.len()), "mechanisms": parts.iter().map(|p| as_json(p, tokens.len())).collect::<Vec<_>>() });
            return output::print(format!("{value:#}\n"));
        }
        let style = Style::of_stdout(color);
        let mut out = format!("inputs x\n{}", table(&[], &tokens, &x, style.width));
        for part in &parts {
            out += &as_text(part, &tokens, query, style);
        }
        output::print(out)
    }

    /// The pictures that were asked for as files.
    fn draw(&self, tokens: &[String], parts: &[Part]) -> Result<()> {
        let mechanisms: Vec<report::Mechanism> = parts.iter().map(|part| part.for_pictures(tokens)).collect();
        let scale = self.pictures.scale();
        self.pictures.write(
            || Ok(Picture::below("Attention weights", &report::mechanism_pictures(tokens, &mechanisms, scale))),
            || report::mechanisms(tokens, &mechanisms, scale),
        )
    }

    /// Which token the steps are shown for.
    fn query_place(&self, tokens: &[String]) -> Result<usize> {
        let Some(query) = &self.query else { return Ok(1.min(tokens.len() - 1)) };
        let by_name = tokens.iter().position(|token| token.trim_start_matches('\u{2581}') == query);
        let by_place = query.parse::<usize>().ok().and_then(|place| place.checked_sub(1)).filter(|&place| place < tokens.len());
        by_name.or(by_place).with_context(|| format!("there is no token `{query}`; the tokens are {}", tokens.join(" ")))
    }

    /// The mechanisms with the weights of a model's first layer.
    fn of_text(&self) -> Result<(Vec<String>, Vec<f32>, Vec<Part>)> {
        let bundle = self.model.load()?;
        let ModelConfig::Transformer(config) = &bundle.config.model else {
            bail!("this model is {}, which has no self-attention; name a Transformer with --model", bundle.config.model.type_name());
        };
        let ids = bundle.tokenizer.encode_ids(&self.text.join(" "));
        if ids.is_empty() {
            bail!("there are no words in the text");
        }
        let tokens: Vec<String> = ids.iter().map(|&id| bundle.tokenizer.token_text(id).unwrap_or_default()).collect();
        let layer = FirstAttention::new(bundle.model.as_ref(), config, &ids).context("reading the model's first layer")?;
        let head = self.head as usize - 1;
        if head >= layer.heads() {
            bail!("there is no head {}; the model has {}", self.head, layer.heads());
        }
        let x = &layer.x;
        let (causal, multi_head) = (layer.causal_head(head)?, layer.multi_head()?);
        let scale = ((config.dim / config.heads) as f32).sqrt();
        let parts = vec![
            Part::simplified(simplified::steps(x, config.dim)?),
            Part::self_attention(layer.head(head)?.steps(x)?, scale),
            Part::causal(causal.steps(x)?, scale, None),
            Part {
                title: "Multi-head attention: all heads of the layer, one shown",
                formula: "output = [context_1; ...; context_h] W_o^T + b_o, as the model computes it",
                result: Some(("output of the layer", multi_head.forward(x)?)),
                ..Part::multi_head(multi_head.steps(x)?.swap_remove(head), scale)
            },
        ];
        Ok((tokens, layer.x, parts))
    }
}

/// The lecture's mechanisms with the lecture's weights.
fn of_lecture() -> Result<(Vec<String>, Vec<f32>, Vec<Part>)> {
    let lecture = Lecture::new()?;
    let x = lecture.x();
    let root = 2f32.sqrt();
    let causal = lecture.causal()?;
    let keep = lecture.kept();
    let steps = causal.steps(&x)?;
    let weights = steps.weights.iter().zip(&keep).map(|(weight, keep)| if *keep { 2.0 * weight } else { 0.0 }).collect();
    let dropped = Dropped { weights, context: causal.forward(&x, Some(&Dropout::Mask { keep: &keep, rate: 0.5 }))? };
    let (stacked, split) = (lecture.stacked_heads()?, lecture.multi_head()?);
    let mut parts = vec![
        Part::simplified(simplified::steps(&x, 3)?),
        Part::self_attention(lecture.self_attention()?.steps(&x)?, root),
        Part::causal(steps, root, Some(dropped)),
    ];
    let stacked_steps = stacked.steps(&x)?;
    let heads = stacked_steps.len();
    for (head, steps) in stacked_steps.into_iter().enumerate() {
        let result = if head + 1 == heads { Some(("contexts of both heads side by side", stacked.forward(&x)?)) } else { None };
        let title = if head == 0 { "Multi-head attention, stacked: first head" } else { "Multi-head attention, stacked: second head" };
        parts.push(Part {
            title,
            formula: "[context_1; context_2]: causal heads of their own, side by side",
            result,
            ..Part::multi_head(steps, root)
        });
    }
    for (head, steps) in split.steps(&x)?.into_iter().enumerate() {
        let result = if head == 1 { Some(("contexts side by side, times W_o, plus b_o", split.forward(&x)?)) } else { None };
        let title = if head == 0 { "Multi-head attention, split: first head" } else { "Multi-head attention, split: second head" };
        parts.push(Part {
            title,
            formula: "[context_1; context_2] W_o^T + b_o: one projection, split into heads",
            result,
            ..Part::multi_head(steps, 1.0)
        });
    }
    Ok((lecture.sentence, x, parts))
}

impl Part {
    fn simplified(steps: Steps) -> Self {
        Self {
            mechanism: Mechanism::Simplified,
            title: "Simplified self-attention: nothing to train",
            formula: "context_i = sum_j softmax_j(x_i . x_j) x_j",
            divisor: 1.0,
            steps,
            dropped: None,
            result: None,
        }
    }

    fn self_attention(steps: Steps, divisor: f32) -> Self {
        Self {
            mechanism: Mechanism::SelfAttention,
            title: "Self-attention with trainable weights",
            formula: "q = x W_q, k = x W_k, v = x W_v; context_i = sum_j softmax_j(q_i . k_j / sqrt(d)) v_j",
            divisor,
            ..Self::simplified(steps)
        }
    }

    fn causal(steps: Steps, divisor: f32, dropped: Option<Dropped>) -> Self {
        Self {
            mechanism: Mechanism::Causal,
            title: "Causal attention: no look ahead",
            formula: "context_i = sum_{j <= i} softmax_j(q_i . k_j / sqrt(d)) v_j; scores ahead are -inf",
            dropped,
            ..Self::self_attention(steps, divisor)
        }
    }

    fn multi_head(steps: Steps, divisor: f32) -> Self {
        Self { mechanism: Mechanism::MultiHead, ..Self::self_attention(steps, divisor) }
    }

    /// The same numbers for the page.
    fn for_pictures(&self, tokens: &[String]) -> report::Mechanism {
        let Steps { queries, keys, values, scores, weights, context } = &self.steps;
        let table = |name: &str, values: &[f32], named: bool| report::Numbers {
            name: name.to_owned(),
            columns: if named { tokens.to_vec() } else { Vec::new() },
            values: values.to_vec(),
        };
        let mut numbers = Vec::new();
        if self.mechanism != Mechanism::Simplified {
            numbers.extend([table("queries", queries, false), table("keys", keys, false), table("values", values, false)]);
        }
        numbers.push(table("scores", scores, true));
        if self.divisor != 1.0 {
            numbers.push(table("scaled scores", &self.scaled(), true));
        }
        numbers.extend([table("weights", weights, true), table("contexts", context, false)]);
        if let Some(dropped) = &self.dropped {
            numbers.push(table("weights after dropout", &dropped.weights, true));
            numbers.push(table("contexts after dropout", &dropped.context, false));
        }
        if let Some((name, result)) = &self.result {
            numbers.push(table(name, result, false));
        }
        report::Mechanism { title: self.title.to_owned(), formula: self.formula.to_owned(), weights: weights.clone(), numbers }
    }

    /// The scores after they are divided.
    fn scaled(&self) -> Vec<f32> {
        self.steps.scores.iter().map(|score| score / self.divisor).collect()
    }
}

/// Row `i` of `[n, width]` numbers.
fn row(numbers: &[f32], n: usize, i: usize) -> &[f32] {
    let width = numbers.len() / n;
    &numbers[i * width..(i + 1) * width]
}

fn rows(numbers: &[f32], n: usize) -> Vec<&[f32]> {
    (0..n).map(|i| row(numbers, n, i)).collect()
}

fn as_text(part: &Part, tokens: &[String], query: usize, style: Style) -> String {
    let n = tokens.len();
    let Steps { queries, keys, values, scores, weights, context } = &part.steps;
    let by_token = |numbers: &[f32]| table(&[], tokens, numbers, style.width);
    let square = |numbers: &[f32]| table(tokens, tokens, numbers, style.width);

    // All steps of one query, as rows of one table.
    let mut steps = vec![("scores".to_owned(), row(scores, n, query).to_vec())];
    if part.divisor != 1.0 {
        steps.push((format!("/ {:.4}", part.divisor), row(&part.scaled(), n, query).to_vec()));
    }
    steps.push(("softmax".to_owned(), row(weights, n, query).to_vec()));
    if let Some(dropped) = &part.dropped {
        steps.push(("dropout".to_owned(), row(&dropped.weights, n, query).to_vec()));
    }
    let (names, numbers): (Vec<String>, Vec<Vec<f32>>) = steps.into_iter().unzip();

    let mut sections = Vec::new();
    if part.mechanism != Mechanism::Simplified {
        sections.extend([("queries", by_token(queries)), ("keys", by_token(keys)), ("values", by_token(values))]);
    }
    let title = format!("steps of the query `{}`", tokens[query]);
    sections.push((&title, table(tokens, &names, &numbers.concat(), style.width)));
    sections.push(("contexts", by_token(context)));
    let picture = HeatMap { columns: tokens, rows: tokens, weights }.render(style) + &legend(style);
    sections.push(("weights", if n <= MOST_NUMBERS { square(weights) + "\n" + &picture } else { picture }));
    if let Some(dropped) = &part.dropped {
        sections.push(("weights after dropout: half of them 0, the others doubled", square(&dropped.weights)));
        sections.push(("contexts after dropout", by_token(&dropped.context)));
    }
    if let Some((name, numbers)) = &part.result {
        sections.push((name, by_token(numbers)));
    }
    let sections: Vec<String> = sections.into_iter().map(|(name, body)| format!("\n{name}\n{body}")).collect();
    format!("\n{}\n{}\n  {}\n{}", part.title, "=".repeat(part.title.len()), part.formula, sections.concat())
}

/// All numbers; a score of `-inf` is null.
fn as_json(part: &Part, n: usize) -> Value {
    let Steps { queries, keys, values, scores, weights, context } = &part.steps;
    let mut value = json!({
        "title": part.title,
        "formula": part.formula,
        "queries": rows(queries, n),
        "keys": rows(keys, n),
        "values": rows(values, n),
        "scores": rows(scores, n),
        "scaled": rows(&part.scaled(), n),
        "weights": rows(weights, n),
        "context": rows(context, n),
    });
    if let Some(dropped) = &part.dropped {
        value["weights_after_dropout"] = json!(rows(&dropped.weights, n));
        value["context_after_dropout"] = json!(rows(&dropped.context, n));
    }
    if let Some((name, numbers)) = &part.result {
        value["result"] = json!({ "name": name, "numbers": rows(numbers, n) });
    }
    value
}
