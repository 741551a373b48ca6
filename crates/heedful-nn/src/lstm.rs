//! The long short-term memory's element-wise part (Hochreiter and Schmidhuber 1997; with the forget gate of Gers et al. 2000).
//!
//! ```text
//! i = sigmoid(W_ii x + b_ii + W_hi h + b_hi)      f = sigmoid(W_if x + b_if + W_hf h + b_hf)
//! g = tanh(W_ig x + b_ig + W_hg h + b_hg)         o = sigmoid(W_io x + b_io + W_ho h + b_ho)
//! c' = f * c + i * g                              h' = o * tanh(c')
//! ```
//!
//! A working row is `[i | f | g | o]`; both products add to all of it.

use heedful::kernel::elementary::{sigmoid, tanh};
use heedful::kernel::lanes::{Elementwise, elementwise};
use heedful::simd::{Isa, Op};

use crate::recurrent::blocks;

/// One step. Turns the pre-activations in `gates` (`n` rows of `stride` numbers, of which four blocks are these) into `[i | f | g | o]`,
/// replaces `memory` (`c [n, hidden]`) by `c'`, and writes `tanh(c')` and `h'`.
pub(crate) struct Forward<'a> {
    pub gates: &'a mut [f32],
    pub stride: usize,
    pub memory: &'a mut [f32],
    pub tanh_memory: &'a mut [f32],
    pub output: &'a mut [f32],
    pub hidden: usize,
}

impl Op for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let hidden = self.hidden;
        let rows = self.tanh_memory.chunks_exact_mut(hidden).zip(self.output.chunks_exact_mut(hidden));
        let rows = self.memory.chunks_exact_mut(hidden).zip(rows);
        for (gates, (memory, (tanh_memory, output))) in self.gates.chunks_exact_mut(self.stride).zip(rows) {
            let [i, f, g, o] = blocks(gates, hidden);
            elementwise(isa, [], [i, f, g, o, memory, tanh_memory, output], &Unit);
        }
    }
}

/// `(i, f, g, o, c, _, _) -> (i, f, g, o, c', tanh c', h')`.
struct Unit;

impl Elementwise<0, 7> for Unit {
    #[inline(always)]
    fn apply<I: Isa>(&self, isa: I, _: [I::Vector; 0], [i, f, g, o, c, _, _]: [I::Vector; 7]) -> [I::Vector; 7] {
        let (i, f, g, o) = (sigmoid(isa, i), sigmoid(isa, f), tanh(isa, g), sigmoid(isa, o));
        let c = isa.fma(f, c, isa.mul(i, g));
        let tanh_c = tanh(isa, c);
        [i, f, g, o, c, tanh_c, isa.mul(o, tanh_c)]
    }
}

/// One step backwards. Turns what [`Forward`] left in `gates` into the derivatives by the pre-activations. `carry` comes in as the
/// derivative by `h'` that later steps add to `d_output` and goes out as zero (all of `h` passes through the product); `d_memory` comes in
/// as the derivative by `c'` of later steps and goes out as the derivative by `c`.
pub(crate) struct Backward<'a> {
    pub gates: &'a mut [f32],
    pub stride: usize,
    pub previous_memory: &'a [f32],
    pub tanh_memory: &'a [f32],
    pub d_output: &'a [f32],
    pub carry: &'a mut [f32],
    pub d_memory: &'a mut [f32],
    pub hidden: usize,
}

impl Op for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let hidden = self.hidden;
        let saved = self.previous_memory.chunks_exact(hidden).zip(self.tanh_memory.chunks_exact(hidden));
        let states = self.carry.chunks_exact_mut(hidden).zip(self.d_memory.chunks_exact_mut(hidden));
        let rows = saved.zip(states.zip(self.d_output.chunks_exact(hidden)));
        for (gates, ((previous, tanh_memory), ((carry, d_memory), d_output))) in self.gates.chunks_exact_mut(self.stride).zip(rows) {
            let [i, f, g, o] = blocks(gates, hidden);
            elementwise(isa, [previous, tanh_memory, d_output], [i, f, g, o, carry, d_memory], &UnitBackward);
        }
    }
}

/// `(c, tanh c', d_output), (i, f, g, o, carry, d_c') -> (d_i, d_f, d_g, d_o, 0, d_c)`.
struct UnitBackward;

impl Elementwise<3, 6> for UnitBackward {
    #[inline(always)]
    fn apply<I: Isa>(&self, isa: I, [c, tanh_c, d_output]: [I::Vector; 3], [i, f, g, o, carry, d_c]: [I::Vector; 6]) -> [I::Vector; 6] {
        let one = isa.splat(1.0);
        let d_h = isa.add(carry, d_output);
        let d_c = isa.fma(isa.mul(d_h, o), isa.neg_fma(tanh_c, tanh_c, one), d_c);
        let d_o = isa.mul(isa.mul(d_h, tanh_c), isa.neg_fma(o, o, o));
        let d_f = isa.mul(isa.mul(d_c, c), isa.neg_fma(f, f, f));
        let d_i = isa.mul(isa.mul(d_c, g), isa.neg_fma(i, i, i));
        let d_g = isa.mul(isa.mul(d_c, i), isa.neg_fma(g, g, one));
        [d_i, d_f, d_g, d_o, isa.splat(0.0), isa.mul(d_c, f)]
    }
}
