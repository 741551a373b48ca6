//! Attention mechanisms with their numbers, as pictures and as a page.

use super::html::{Column, code, figure, heading, page, paragraph, quote, table};
use crate::picture::{HeatMap, Picture, Scale};

/// A mechanism on a sentence.
#[derive(Clone, Debug)]
pub struct Mechanism {
    /// What it is.
    pub title: String,
    /// How it computes.
    pub formula: String,
    /// `[tokens, tokens]`: row i is what token i looks at.
    pub weights: Vec<f32>,
    /// Its other numbers.
    pub numbers: Vec<Numbers>,
}

/// A table of `[tokens, columns]` numbers.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// What they are.
    pub name: String,
    /// Names of the columns; empty if they have none.
    pub columns: Vec<String>,
    /// The numbers, row after row.
    pub values: Vec<f32>,
}

/// The weights of each mechanism as a heat map with its title.
pub fn mechanism_pictures(tokens: &[String], mechanisms: &[Mechanism], scale: Scale) -> Vec<Picture> {
    let picture = |mechanism: &Mechanism| {
        HeatMap { title: &mechanism.title, columns: tokens, rows: tokens, weights: &mechanism.weights, scale }.picture().headed()
    };
    mechanisms.iter().map(picture).collect()
}

/// The page of mechanisms on the tokens of a sentence: formula, weights as a heat map, and all numbers.
pub fn mechanisms(tokens: &[String], mechanisms: &[Mechanism], scale: Scale) -> String {
    let mut body = heading(1, "Attention, step by step") + &quote(&tokens.join(" "));
    for mechanism in mechanisms {
        body += &(heading(2, &mechanism.title) + &code(&mechanism.formula));
        let map = HeatMap { title: &mechanism.title, columns: tokens, rows: tokens, weights: &mechanism.weights, scale };
        body += &figure(&map.picture(), "Weights in hundredths: each row is a query, each column a key.");
        for numbers in &mechanism.numbers {
            body += &paragraph(&numbers.name);
            body += &number_table(tokens, numbers);
        }
    }
    page("Attention, step by step", &body)
}

fn number_table(tokens: &[String], numbers: &Numbers) -> String {
    let width = numbers.values.len() / tokens.len().max(1);
    let names: Vec<String> = (0..width).map(|i| numbers.columns.get(i).cloned().unwrap_or_else(|| (i + 1).to_string())).collect();
    let mut columns = vec![Column::Text("")];
    columns.extend(names.iter().map(|name| Column::Number(name)));
    let row = |(token, values): (&String, &[f32])| {
        let mut row = vec![token.clone()];
        row.extend(values.iter().map(|value| format!("{value:.4}")));
        row
    };
    let rows: Vec<Vec<String>> = tokens.iter().zip(numbers.values.chunks(width.max(1))).map(row).collect();
    table(&columns, &rows)
}
