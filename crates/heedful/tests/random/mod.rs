//! Random calls for the property tests: shapes, options, and all that options borrow.

use std::ops::Range;

use heedful::{Diagonal, Options, Parallelism, View};
use proptest::prelude::*;
use proptest::sample::select;

/// Numbers in [-1, 1) that depend on the seed and on nothing else.
pub fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Fails unless all numbers are within `tolerance * (1 + expected)` of what is expected.
pub fn near(what: &str, got: &[f32], expected: &[f64], tolerance: f64) -> Result<(), TestCaseError> {
    prop_assert_eq!(got.len(), expected.len(), "{}", what);
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        let g = f64::from(g);
        prop_assert!(g == e || (g - e).abs() <= tolerance * (1.0 + e.abs()), "{}[{}] = {}, expected {}", what, i, g, e);
    }
    Ok(())
}

/// A call: which scores there are, and what becomes of them.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub struct Call {
    pub batch: usize,
    pub kv_heads: usize,
    pub group: usize,
    pub q_len: usize,
    pub k_len: usize,
    scale: Option<f32>,
    softcap: Option<f32>,
    causal: bool,
    window: (Option<usize>, Option<usize>),
    pub diagonal: Diagonal,
    mask: Option<[bool; 4]>,
    /// The dimensions along which the bias is repeated, if there is one.
    pub bias: Option<[bool; 4]>,
    forbidding_bias: bool,
    /// Whether each sequence has slopes of its own, if there are slopes.
    pub alibi: Option<bool>,
    pub lengths: bool,
    starts: bool,
    parallelism: Parallelism,
    pub seed: u64,
}

/// Calls with so many sequences, of such lengths and with such scales, and with windows of up to so many keys.
pub fn calls(
    batch: Range<usize>,
    lengths: impl Strategy<Value = usize> + Clone,
    scale: impl Strategy<Value = Option<f32>>,
    widest: usize,
) -> impl Strategy<Value = Call> {
    let sizes = (batch, 1usize..4, 1usize..4, lengths.clone(), lengths);
    let side = || proptest::option::of(0..widest);
    let diagonal = prop_oneof![Just(Diagonal::TopLeft), Just(Diagonal::BottomRight), (-10isize..30).prop_map(Diagonal::Offset)];
    let scores = (scale, proptest::option::of(0.5f32..5.0), any::<bool>(), (side(), side()), diagonal);
    let extras = (
        proptest::option::of(any::<[bool; 4]>()),
        proptest::option::of(any::<[bool; 4]>()),
        proptest::option::of(any::<bool>()),
        any::<[bool; 3]>(),
        select(vec![Parallelism::Serial, Parallelism::Rayon]),
    );
    (sizes, scores, extras, any::<u64>()).prop_map(|(sizes, scores, extras, seed)| {
        let (batch, kv_heads, group, q_len, k_len) = sizes;
        let (scale, softcap, causal, window, diagonal) = scores;
        let (mask, bias, alibi, [forbidding_bias, lengths, starts], parallelism) = extras;
        Call {
            batch,
            kv_heads,
            group,
            q_len,
            k_len,
            scale,
            softcap,
            causal,
            window,
            diagonal,
            mask,
            bias,
            forbidding_bias,
            alibi,
            lengths,
            starts,
            parallelism,
            seed,
        }
    })
}

/// Everything that options borrow.
pub struct Extras {
    mask: Vec<bool>,
    pub bias: Vec<f32>,
    slopes: Vec<f32>,
    pub lengths: Vec<usize>,
    starts: Vec<usize>,
}

impl Call {
    pub fn heads(&self) -> usize {
        self.kv_heads * self.group
    }

    /// The shape of the scores, with 1 for dimensions that are repeated.
    pub fn scores(&self, repeated: [bool; 4]) -> [usize; 4] {
        let full = [self.batch, self.heads(), self.q_len, self.k_len];
        std::array::from_fn(|i| if repeated[i] { 1 } else { full[i] })
    }

    pub fn extras(&self) -> Extras {
        let size = |repeated: Option<[bool; 4]>| repeated.map_or(0, |repeated| self.scores(repeated).iter().product::<usize>());
        let mut bias = numbers(self.seed ^ 5, size(self.bias));
        if self.forbidding_bias {
            bias.iter_mut().filter(|x| **x > 0.4).for_each(|x| *x = f32::NEG_INFINITY);
        }
        let keys = |seed| numbers(seed, self.batch).iter().map(|x| ((x + 1.0) / 2.0 * (self.k_len + 1) as f32) as usize).collect();
        Extras {
            mask: numbers(self.seed ^ 4, size(self.mask)).iter().map(|&x| x < 0.3).collect(),
            bias,
            slopes: self.alibi.map_or(vec![], |each| numbers(self.seed ^ 6, if each { self.batch * self.heads() } else { self.heads() })),
            lengths: keys(self.seed ^ 7),
            starts: keys(self.seed ^ 8),
        }
    }

    pub fn options<'a>(&self, extras: &'a Extras) -> Options<'a> {
        let mut options = Options::new().window(self.window.0, self.window.1).diagonal(self.diagonal).parallelism(self.parallelism);
        if self.causal {
            options = options.causal(self.diagonal);
        }
        if let Some(scale) = self.scale {
            options = options.scale(scale);
        }
        if let Some(softcap) = self.softcap {
            options = options.softcap(softcap);
        }
        if let Some(repeated) = self.mask {
            options = options.mask(View::contiguous(&extras.mask, self.scores(repeated)).unwrap());
        }
        if let Some(repeated) = self.bias {
            options = options.bias(View::contiguous(&extras.bias, self.scores(repeated)).unwrap());
        }
        if self.alibi.is_some() {
            options = options.alibi(&extras.slopes);
        }
        if self.lengths {
            options = options.key_lengths(&extras.lengths);
        }
        if self.starts {
            options = options.key_starts(&extras.starts);
        }
        options
    }
}
