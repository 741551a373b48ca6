//! The plain recurrent network's element-wise part (Elman 1990): `h' = f(W_ih x + b_ih + W_hh h + b_hh)` with `f` = tanh or relu.
//!
//! A working row is one block, to which both products add.

use heedful::kernel::elementary::tanh;
use heedful::kernel::lanes::{Elementwise, elementwise};
use heedful::simd::{Isa, Op};

use crate::recurrent::blocks;

/// The function `f`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    Tanh,
    Relu,
}

/// One step. Turns the pre-activations in `gates` (`n` rows of `stride` numbers, of which the first block is these) into `h'`, which it also
/// writes to `output [n, hidden]`.
pub(crate) struct Forward<'a> {
    pub activation: Activation,
    pub gates: &'a mut [f32],
    pub stride: usize,
    pub output: &'a mut [f32],
    pub hidden: usize,
}

impl Op for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        for (gates, output) in self.gates.chunks_exact_mut(self.stride).zip(self.output.chunks_exact_mut(self.hidden)) {
            let [h] = blocks(gates, self.hidden);
            elementwise(isa, [], [h, output], &self.activation);
        }
    }
}

impl Elementwise<0, 2> for Activation {
    #[inline(always)]
    fn apply<I: Isa>(&self, isa: I, _: [I::Vector; 0], [x, _]: [I::Vector; 2]) -> [I::Vector; 2] {
        let h = match self {
            Self::Tanh => tanh(isa, x),
            Self::Relu => isa.max(isa.splat(0.0), x),
        };
        [h, h]
    }
}

/// One step backwards. `gates` goes from `h'` to the derivative by the pre-activation; `carry` comes in as the derivative by `h'` that later
/// steps add to `d_output`, and goes out as zero (all of `h` passes through the product).
pub(crate) struct Backward<'a> {
    pub activation: Activation,
    pub gates: &'a mut [f32],
    pub stride: usize,
    pub d_output: &'a [f32],
    pub carry: &'a mut [f32],
    pub hidden: usize,
}

impl Op for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let rows = self.d_output.chunks_exact(self.hidden).zip(self.carry.chunks_exact_mut(self.hidden));
        for (gates, (d_output, carry)) in self.gates.chunks_exact_mut(self.stride).zip(rows) {
            let [h] = blocks(gates, self.hidden);
            elementwise(isa, [d_output], [h, carry], &self.activation);
        }
    }
}

/// `d_output, (h', carry) -> (d_x, 0)`; the derivative of `f` follows from its value.
impl Elementwise<1, 2> for Activation {
    #[inline(always)]
    fn apply<I: Isa>(&self, isa: I, [d_output]: [I::Vector; 1], [h, carry]: [I::Vector; 2]) -> [I::Vector; 2] {
        let (zero, d_h) = (isa.splat(0.0), isa.add(carry, d_output));
        let d_x = match self {
            Self::Tanh => isa.mul(d_h, isa.neg_fma(h, h, isa.splat(1.0))),
            Self::Relu => isa.select(isa.lt(zero, h), d_h, zero),
        };
        [d_x, zero]
    }
}
