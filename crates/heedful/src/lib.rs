//! Exact attention on CPUs, forward and backward, that can be looked into.
//!
//! # What attention is
//!
//! A token asks, all tokens answer. Each token has a *query* `q`, a *key* `k` and a *value* `v`; how well a query fits a key is their
//! product, and the softmax turns the products of one query into *weights* that sum to 1. What the token gets, its *context*, is the mean
//! of the values under these weights (Vaswani et al. 2017, eq. 1):
//!
//! ```text
//! context_i = sum_j p_ij v_j     p_ij = e^(s_ij - lse_i)     s_ij = q_i . k_j / sqrt(d)     lse_i = ln sum_j e^s_ij
//! ```
//!
//! The weights are the interesting part: they say which tokens were looked at. Fast implementations never hold them, and so cannot show
//! them. This one does not hold them either, and shows any of them on demand, exactly, from the numbers `lse`.
//!
//! # The operation
//!
//! [`attend`] over tensors `[batch, heads, len, dim]`, which are slices with [strides](View); [`Options`] for everything else: causal masks,
//! windows, masks, biases, ALiBi, lengths, softcap.
//!
//! ```
//! use heedful::{Diagonal, Options, View, ViewMut, attend};
//!
//! // Your journey starts with one step: six words, three numbers each.
//! let x = [0.43, 0.15, 0.89, 0.55, 0.87, 0.66, 0.57, 0.85, 0.64, 0.22, 0.58, 0.33, 0.77, 0.25, 0.10, 0.05, 0.80, 0.55];
//! let words = View::contiguous(&x, [1, 1, 6, 3])?;
//! let options = Options::new().causal(Diagonal::TopLeft);
//! let (mut context, mut lse) = ([0.0; 18], [0.0; 6]);
//! attend(words, words, words, &options, ViewMut::contiguous(&mut context, [1, 1, 6, 3])?, Some(&mut lse))?;
//! assert_eq!(context[..3], x[..3]); // the first word sees itself alone
//! # Ok::<(), heedful::Error>(())
//! ```
//!
//! Its gradients are [`attend_backward`]. [`attend_packed`] takes sequences of any lengths one after the other, without padding;
//! [`Cache`] keeps keys and values for decoding step by step; [`rotary`] turns queries and keys by position.
//!
//! # Looking in
//!
//! A [`Glance`](lens::Glance) comes back from the forward pass with the heaviest keys and the entropy of each query; a [`Lens`](lens::Lens)
//! answers afterwards: a row, a column, a tile, a pooled map of any rectangle, [sums and rollouts](lens), without the rest of the weights.
//!
//! ```
//! use heedful::lens::{Glance, Lens, Pool, attend_with};
//! use heedful::{Options, View, ViewMut};
//! # let x = [0.43, 0.15, 0.89, 0.55, 0.87, 0.66, 0.57, 0.85, 0.64, 0.22, 0.58, 0.33, 0.77, 0.25, 0.10, 0.05, 0.80, 0.55];
//! # let words = View::contiguous(&x, [1, 1, 6, 3])?;
//! let options = Options::new().scale(1.0);
//! let (mut context, mut lse) = ([0.0; 18], [0.0; 6]);
//! let mut glance = Glance::new().top(2).entropy();
//! attend_with(words, words, words, &options, ViewMut::contiguous(&mut context, [1, 1, 6, 3])?, Some(&mut lse), &mut glance)?;
//! assert_eq!(glance.top_k(1).keys, [1, 2]); // "journey" looks most at "journey" and "starts"
//! assert!(glance.entropies()[1] < 6f32.ln()); // less evenly than at all six alike
//!
//! let lens = Lens::new(words, words, &options, &lse)?;
//! assert!((lens.row(0, 0, 1)?[2] - 0.2333).abs() < 5e-5); // sequence 0, head 0: how much "journey" looks at "starts"
//! let readers = lens.column(0, 0, 2)?; // who looks at "starts"
//! let map = lens.pooled(0, 0, 0..6, 0..6, [2, 2], Pool::Sum)?; // all of it, seen from afar
//! assert!((map.iter().sum::<f32>() - 6.0).abs() < 1e-5); // six words, each with weights that sum to 1
//! # assert_eq!(readers.len(), 6);
//! # Ok::<(), heedful::Error>(())
//! ```
//!
//! # The mechanisms
//!
//! [`mechanism`] has the layers that people learn, each with its formula and its intermediate numbers: simplified self-attention,
//! self-attention with trainable weights, causal attention with dropout, multi-head attention with stacked and with split heads,
//! cross-attention, and the alignment models of Bahdanau and Luong.
//!
//! ```
//! use heedful::mechanism::{Projection, causal::CausalAttention};
//! # let x = [0.43, 0.15, 0.89, 0.55, 0.87, 0.66, 0.57, 0.85, 0.64, 0.22, 0.58, 0.33, 0.77, 0.25, 0.10, 0.05, 0.80, 0.55];
//! let projection = |seed: f32| Projection::linear((0..6).map(|i| (seed * i as f32).sin()).collect(), None, 3, 2);
//! let attention = CausalAttention::new(projection(1.0)?, projection(2.0)?, projection(3.0)?)?;
//! let steps = attention.steps(&x)?; // queries, keys, values, scores, weights and context, to print and follow
//! assert_eq!(steps.scores[1], f32::NEG_INFINITY); // the first word does not see the second
//! # Ok::<(), heedful::Error>(())
//! ```
//!
//! # What is promised
//!
//! - [`reference`](mod@reference) is the definition, in f64; everything is tested against it.
//! - A query that may look at nothing gets 0 and a log-sum-exp of `-inf`, never NaN.
//! - Results do not depend on the number of threads, bit for bit, on a given instruction tier ([`simd`]).
//! - Input that does not fit gives an [`Error`] that names the operation, the operand, its shape and what to do; no panic.

pub mod kernel;
pub mod lens;
pub mod mechanism;
pub mod plan;
pub mod reference;
pub mod rotary;
pub mod simd;
pub mod softmax;

mod attention;
mod cache;
mod error;
mod options;
mod output;
mod problem;
mod schedule;
mod view;

pub use attention::{attend, attend_backward, attend_packed, attend_packed_backward};
pub use cache::Cache;
pub use error::{Error, Result};
pub use options::{Diagonal, Options, Parallelism};
pub use view::{Element, Layout, QkvMut, View, ViewMut};
