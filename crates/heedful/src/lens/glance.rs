//! A glance at the weights while they are computed: what a forward pass can tell of each query for a small price.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;

use super::{Lens, TopK};
use crate::kernel::forward::{self, Forward, ForwardWithGlance, Scratch};
use crate::kernel::glance::{Found, NO_KEY, Wanted};
use crate::problem::Problem;
use crate::simd::dispatch_on;
use crate::{Element, Error, Options, Parallelism, Result, View, ViewMut};

/// What is wanted to be known of the weights of a forward pass and, after [`attend_with`], what was found, exact, for each query.
///
/// | wanted | found | |
/// |---|---|---|
/// | [`entropy`](Self::entropy) | [`entropies`](Self::entropies) | `-sum_j p_ij ln p_ij`, in nats |
/// | [`top`](Self::top) | [`top_k`](Self::top_k), [`largest`](Self::largest) | the heaviest keys, their weights, and the weight they leave to all others |
/// | [`distance`](Self::distance) | [`distances`](Self::distances) | `sum_j p_ij abs(i + offset - j)`, in tokens |
/// | [`mass_on`](Self::mass_on), [`mass_on_marked`](Self::mass_on_marked) | [`masses`](Self::masses) | `sum p_ij` over chosen keys `j` |
///
/// Results are `[batch, heads, q_len]` (packed: `[heads, q_total]`), like the log-sum-exp; of a query that sees no key they are 0. They are kept
/// beside the running softmax (Milakov and Gimelshein 2018): memory is that of the results, never n x n, and a glance that is used again
/// reuses it.
///
/// ```
/// use heedful::lens::{Glance, attend_with};
/// use heedful::{Options, View, ViewMut};
/// let x = [4.0, 0.0, 0.0, 4.0, 0.0, 0.0]; // the first two tokens look at themselves, the third at all alike
/// let x = View::contiguous(&x, [1, 1, 3, 2])?;
/// let mut glance = Glance::new().entropy().top(2).mass_on(&[0]);
/// let mut context = [0.0; 6];
/// attend_with(x, x, x, &Options::new(), ViewMut::contiguous(&mut context, [1, 1, 3, 2])?, None, &mut glance)?;
/// assert_eq!(glance.largest(1).unwrap().0, 1);
/// assert!((glance.entropies()[2] - 3f32.ln()).abs() < 1e-6);
/// assert!((glance.masses()[2] - 1.0 / 3.0).abs() < 1e-6);
/// assert_eq!(glance.top_k(2).keys, [0, 1]);
/// # Ok::<(), heedful::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Glance {
    entropy: bool,
    top: usize,
    distance: bool,
    chosen: Option<Chosen>,
    entropies: Vec<f32>,
    distances: Vec<f32>,
    masses: Vec<f32>,
    keys: Vec<u32>,
    weights: Vec<f32>,
}

/// Keys of all sequences.
#[derive(Clone, Debug)]
enum Chosen {
    /// The same in each sequence; ascending.
    Everywhere(Vec<usize>),
    /// Where true, `[batch, k_len]`.
    Marked(Vec<bool>),
}

impl Glance {
    /// Nothing is wanted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wants the entropy of each query's weights.
    #[must_use]
    pub fn entropy(self) -> Self {
        Self { entropy: true, ..self }
    }

    /// Wants the `k` keys that each query looks at most. With 1 or more, [`largest`](Self::largest) is known.
    #[must_use]
    pub fn top(self, k: usize) -> Self {
        Self { top: k, ..self }
    }

    /// Wants the mean distance between each query's place and the keys it looks at.
    #[must_use]
    pub fn distance(self) -> Self {
        Self { distance: true, ..self }
    }

    /// Wants the weight on these keys together, counted in each sequence from its own first key: `&[0]` is the first token, on which many
    /// heads park their attention (Xiao et al. 2024, section 3.1). A key that a sequence does not have is left out.
    #[must_use]
    pub fn mass_on(self, keys: &[usize]) -> Self {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        Self { chosen: Some(Chosen::Everywhere(keys)), ..self }
    }

    /// Wants the weight on all keys together that are marked with true, `[batch, k_len]` (packed: `[k_total]`): separators, punctuation.
    #[must_use]
    pub fn mass_on_marked(self, marks: &[bool]) -> Self {
        Self { chosen: Some(Chosen::Marked(marks.to_vec())), ..self }
    }

    /// The entropy of each query's weights; empty if not wanted.
    pub fn entropies(&self) -> &[f32] {
        &self.entropies
    }

    /// The mean distance of each query to the keys it looks at; empty if not wanted. The query stands at the key that
    /// [`Diagonal`](crate::Diagonal) puts it opposite to.
    pub fn distances(&self) -> &[f32] {
        &self.distances
    }

    /// The weight of each query on the chosen keys; empty if none were chosen.
    pub fn masses(&self) -> &[f32] {
        &self.masses
    }

    /// The heaviest keys `[.., k]` of each query, as many as were wanted; `u32::MAX` where fewer have weight.
    pub fn top_keys(&self) -> &[u32] {
        &self.keys
    }

    /// The weights `[.., k]` of [`top_keys`](Self::top_keys).
    pub fn top_weights(&self) -> &[f32] {
        &self.weights
    }

    /// The heaviest keys of query `row`, counted through `[batch, heads, q_len]`, and the weight that they leave out, within 1e-6. Empty if
    /// none were wanted.
    ///
    /// # Panics
    /// If keys were wanted and there is no such query.
    pub fn top_k(&self, row: usize) -> TopK {
        let range = row * self.top..(row + 1) * self.top;
        let keys: Vec<usize> = self.keys[range.clone()].iter().take_while(|&&key| key != NO_KEY).map(|&key| key as usize).collect();
        let weights = self.weights[range][..keys.len()].to_vec();
        let rest = if keys.is_empty() { 0.0 } else { (1.0 - weights.iter().map(|&w| f64::from(w)).sum::<f64>()).max(0.0) as f32 };
        TopK { keys, weights, rest }
    }

    /// The key that query `row`, counted through `[batch, heads, q_len]`, looks at most, and its weight. `None` if it sees no key, or if no
    /// keys were wanted.
    ///
    /// # Panics
    /// If keys were wanted and there is no such query.
    pub fn largest(&self, row: usize) -> Option<(usize, f32)> {
        let first = (self.top > 0).then(|| row * self.top)?;
        (self.keys[first] != NO_KEY).then(|| (self.keys[first] as usize, self.weights[first]))
    }

    /// Makes room for what is wanted of so many queries.
    fn make_room(&mut self, queries: usize) -> Found<'_> {
        let resize = |wanted: bool, to: &mut Vec<f32>| {
            to.clear();
            to.resize(if wanted { queries } else { 0 }, 0.0);
        };
        resize(self.entropy, &mut self.entropies);
        resize(self.distance, &mut self.distances);
        resize(self.chosen.is_some(), &mut self.masses);
        self.weights.clear();
        self.weights.resize(queries * self.top, 0.0);
        self.keys.clear();
        self.keys.resize(queries * self.top, NO_KEY);
        Found {
            entropies: &mut self.entropies,
            distances: &mut self.distances,
            masses: &mut self.masses,
            keys: &mut self.keys,
            weights: &mut self.weights,
        }
    }

    /// The chosen keys of each sequence, counted from its own first.
    fn marked<Q: Element, K: Element>(&self, operation: &'static str, problem: &Problem<'_, Q, K>) -> Result<Vec<Vec<usize>>> {
        let sequences = (0..problem.sequences()).map(|i| problem.sequence(i));
        let [batch, _, k_len, _] = problem.k.shape();
        match &self.chosen {
            None => Ok(vec![Vec::new(); problem.sequences()]),
            Some(Chosen::Everywhere(keys)) => Ok(sequences.map(|_| keys.clone()).collect()),
            Some(Chosen::Marked(marks)) if marks.len() == batch * k_len => {
                let own = sequences.map(|s| (s.batch * k_len + s.first_key, s.key_count));
                Ok(own.map(|(first, count)| (0..count).filter(|j| marks[first + j]).collect()).collect())
            }
            Some(Chosen::Marked(marks)) => {
                let fix = format!("give one for each key, [{batch}, {k_len}]");
                Err(Error::Length { operation, operand: "marks", len: marks.len(), fix })
            }
        }
    }
}

/// [`attend`](crate::attend), and a glance at its weights on the way.
///
/// # Errors
/// As [`attend`](crate::attend); also if marks do not fit the keys, or many more keys are wanted than there are.
pub fn attend_with<Q: Element, K: Element>(
    q: View<'_, Q>,
    k: View<'_, K>,
    v: View<'_, K>,
    options: &Options<'_>,
    out: ViewMut<'_>,
    lse: Option<&mut [f32]>,
    glance: &mut Glance,
) -> Result<()> {
    forward("attend_with", &Problem::new("attend_with", q, k, v, options)?, options.parallelism, out, lse, glance)
}

/// [`attend_packed`](crate::attend_packed), and a glance at its weights on the way.
///
/// # Errors
/// As [`attend_packed`](crate::attend_packed); also if marks do not fit the keys, or many more keys are wanted than there are.
pub fn attend_packed_with<Q: Element, K: Element>(
    q: View<'_, Q>,
    k: View<'_, K>,
    v: View<'_, K>,
    offsets_q: &[usize],
    offsets_k: &[usize],
    options: &Options<'_>,
    out: ViewMut<'_>,
    lse: Option<&mut [f32]>,
    glance: &mut Glance,
) -> Result<()> {
    let problem = Problem::packed("attend_packed_with", q, k, v, [offsets_q, offsets_k], options)?;
    forward("attend_packed_with", &problem, options.parallelism, out, lse, glance)
}

impl<Q: Element, K: Element> Lens<'_, Q, K> {
    /// A glance at all weights of a call that has already been, at the price of its scores.
    ///
    /// # Errors
    /// If marks do not fit the keys, or many more keys are wanted than there are.
    pub fn glance(&self, glance: &mut Glance) -> Result<()> {
        let ([batch, kv_heads, k_len, _], [_, heads, q_len, _]) = (self.problem.k.shape(), self.problem.q.shape());
        // Values of width 0: there is nothing to mix.
        let mut problem = self.problem;
        problem.v = View::contiguous(&[], [batch, kv_heads, k_len, 0])?;
        let nothing = ViewMut::contiguous(&mut [], [batch, heads, q_len, 0])?;
        forward("Lens::glance", &problem, self.parallelism, nothing, None, glance)
    }
}

/// So many keys may be wanted even where there are fewer: room is made for all that are wanted.
const MOST_BEYOND: usize = 1024;

fn forward<Q: Element, K: Element>(
    operation: &'static str,
    problem: &Problem<'_, Q, K>,
    parallelism: Parallelism,
    out: ViewMut<'_>,
    lse: Option<&mut [f32]>,
    glance: &mut Glance,
) -> Result<()> {
    thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::default());
    problem.check_context(operation, "out", out.shape())?;
    if let Some(lse) = &lse {
        problem.check_lse(operation, lse.len())?;
    }
    let most = problem.k.shape()[2].max(MOST_BEYOND);
    if glance.top > most {
        let fix = format!("there are {} keys: take at most {most}", problem.k.shape()[2]);
        return Err(Error::Option { operation, option: "top", value: glance.top.to_string(), fix });
    }
    let marked = glance.marked(operation, problem)?;
    let [batch, heads, q_len, _] = problem.q.shape();
    let (top, distance) = (glance.top, glance.distance);
    // Each cell is written once, by one task; the locks only let tasks share the slices.
    let found = &Mutex::new(glance.make_room(batch * heads * q_len));
    let target = &Mutex::new((out, lse));
    let block = forward::block(problem);
    let blocks = |sequence: usize| {
        let rows = problem.group() * problem.sequence(sequence).queries.len();
        (0..rows).step_by(block).map(move |first| (sequence, first..(first + block).min(rows)))
    };
    let run = |kv_head: usize, (index, rows): (usize, Range<usize>)| {
        let sequence = &problem.sequence(index);
        SCRATCH.with_borrow_mut(|scratch| {
            let forward = Forward { problem, sequence, kv_head, rows, scratch, target };
            let wanted = Wanted { top, distance, marked: &marked[index] };
            dispatch_on(problem.tier, ForwardWithGlance { forward, wanted, found });
        });
    };
    let sequences_and_heads = problem.sequences() * problem.kv_heads();
    let run_pair = |pair: usize| (pair / problem.kv_heads(), pair % problem.kv_heads());
    if parallelism == Parallelism::Serial {
        for (sequence, kv_head) in (0..sequences_and_heads).map(run_pair) {
            blocks(sequence).for_each(|block| run(kv_head, block));
        }
    } else {
        (0..sequences_and_heads).into_par_iter().map(run_pair).for_each(|(sequence, kv_head)| {
            blocks(sequence).collect::<Vec<_>>().into_par_iter().for_each(|block| run(kv_head, block));
        });
    }
    Ok(())
}
