//! The gated recurrent unit's element-wise part (Cho et al. 2014, section 2.3, with the reset gate after the product as in cuDNN and PyTorch).
//!
//! ```text
//! r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
//! z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
//! n = tanh(W_in x + b_in + r * (W_hn h + b_hn))
//! h' = (1 - z) * n + z * h
//! ```
//!
//! A working row holds four blocks of `hidden` numbers: `[n_x | r | z | n_h]`, where `n_x` and `n_h` are what the input and the hidden state
//! add to `n`. So the input's product fills the first three blocks and the state's product the last three, each in one piece.

use heedful::kernel::elementary::{sigmoid, tanh};
use heedful::kernel::lanes::{Elementwise, elementwise};
use heedful::simd::{Isa, Op};

use crate::recurrent::blocks;

/// One step. Turns the pre-activations in `gates` (`n` rows of `stride` numbers, of which four blocks are these) into `[n | r | z | n_h]` and writes
/// `h' [n, hidden]`.
pub(crate) struct Forward<'a> {
    pub gates: &'a mut [f32],
    pub stride: usize,
    pub previous: &'a [f32],
    pub output: &'a mut [f32],
    pub hidden: usize,
}

impl Op for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let hidden = self.hidden;
        let rows = self.previous.chunks_exact(hidden).zip(self.output.chunks_exact_mut(hidden));
        for (gates, (previous, output)) in self.gates.chunks_exact_mut(self.stride).zip(rows) {
            let [n, r, z, n_h] = blocks(gates, hidden);
            elementwise(isa, [n_h, previous], [n, r, z, output], &Unit);
        }
    }
}

/// `(n_h, h), (n_x, r, z, _) -> (n, r, z, h')`.
struct Unit;

impl Elementwise<2, 4> for Unit {
    #[inline(always)]
    fn apply<I: Isa>(&self, isa: I, [n_h, h]: [I::Vector; 2], [n_x, r, z, _]: [I::Vector; 4]) -> [I::Vector; 4] {
        let (r, z) = (sigmoid(isa, r), sigmoid(isa, z));
        let n = tanh(isa, isa.fma(r, n_h, n_x));
        [n, r, z, isa.fma(z, isa.sub(h, n), n)]
    }
}

/// One step backwards. Turns what [`Forward`] left in `gates` into the derivatives by the pre-activations `[n_x | r | z | n_h]`. `carry`
/// comes in as the derivative by `h'` that later steps add to `d_output`, and goes out as the part of the derivative by `h` that does not
/// pass through the product.
pub(crate) struct Backward<'a> {
    pub gates: &'a mut [f32],
    pub stride: usize,
    pub previous: &'a [f32],
    pub d_output: &'a [f32],
    pub carry: &'a mut [f32],
    pub hidden: usize,
}

impl Op for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let hidden = self.hidden;
        let rows = self.previous.chunks_exact(hidden).zip(self.d_output.chunks_exact(hidden)).zip(self.carry.chunks_exact_mut(hidden));
        for (gates, ((previous, d_output), carry)) in self.gates.chunks_exact_mut(self.stride).zip(rows) {
            let [n, r, z, n_h] = blocks(gates, hidden);
            elementwise(isa, [previous, d_output], [n, r, z, n_h, carry], &UnitBackward);
        }
    }
}

/// `(h, d_output), (n, r, z, n_h, carry) -> (d_n, d_r, d_z, d_n_h, carry)`.
struct UnitBackward;

impl Elementwise<2, 5> for UnitBackward {
    #[inline(always)]
    fn apply<I: Isa>(&self, isa: I, [h, d_output]: [I::Vector; 2], [n, r, z, n_h, carry]: [I::Vector; 5]) -> [I::Vector; 5] {
        let one = isa.splat(1.0);
        let d_h = isa.add(carry, d_output);
        let d_n = isa.mul(isa.mul(d_h, isa.sub(one, z)), isa.neg_fma(n, n, one));
        let d_z = isa.mul(isa.mul(d_h, isa.sub(h, n)), isa.neg_fma(z, z, z));
        let d_r = isa.mul(isa.mul(d_n, n_h), isa.neg_fma(r, r, r));
        [d_n, d_r, d_z, isa.mul(d_n, r), isa.mul(d_h, z)]
    }
}
