//! All trainable numbers of a model in one flat array, and gradients of the same layout.
//!
//! A layer holds [`Parameter`] handles (where its tensors lie), not the numbers themselves. So one set of weights is read by
//! many workers at once while each fills its own [`Gradients`]; two layers that hold the same handle are tied; and whatever
//! concerns all parameters alike (the optimiser, clipping, averaging, checkpoints) is one loop over a slice.

use std::ops::{Index, IndexMut, Range};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::EightBits;

/// Where one tensor lies in [`Parameters`] and [`Gradients`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    offset: usize,
    len: usize,
}

impl Parameter {
    /// The number of elements.
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether the tensor has no element.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    fn range(self) -> Range<usize> {
        self.offset..self.offset + self.len
    }
}

/// The name, shape and place of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// A dotted path that is unique in the model, such as `encoder.0.self_attention.query.weight`.
    pub name: String,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// Where it lies.
    pub parameter: Parameter,
}

/// How a tensor is filled when it is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Every element is this number.
    Constant(f32),
    /// Uniform in `[-bound, bound]`.
    Uniform(f32),
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
    /// Uniform with the bound `sqrt(6 / (fan_in + fan_out))` for a matrix `[fan_out, fan_in]` (Glorot and Bengio 2010, eq. 16).
    Glorot,
    /// Each square block of rows is an orthogonal matrix (Saxe et al. 2013); for recurrent weights `[gates * hidden, hidden]`.
    Orthogonal,
}

/// The trainable tensors of one model.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    values: Vec<f32>,
    entries: Vec<Entry>,
    blank: bool,
    eight_bits: Vec<(Parameter, EightBits)>,
}

impl Parameters {
    /// A store without tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store whose tensors are zeros, whatever their [`Init`]: for weights that are read from a file, where random ones would cost time.
    pub fn blank() -> Self {
        Self { blank: true, ..Self::default() }
    }

    /// Adds a tensor filled by `init` and returns its handle.
    ///
    /// # Panics
    /// If the name is taken, or if `Glorot` or `Orthogonal` is asked for something that is not a matrix.
    pub fn add(&mut self, name: impl Into<String>, shape: &[usize], init: Init, rng: &mut ChaCha8Rng) -> Parameter {
        let name = name.into();
        assert!(self.find(&name).is_none(), "parameter {name} is added twice");
        let len = shape.iter().product();
        let parameter = Parameter { offset: self.values.len(), len };
        self.values.resize(parameter.offset + len, 0.0);
        if !self.blank {
            fill(&mut self.values[parameter.range()], shape, init, rng);
        }
        self.entries.push(Entry { name, shape: shape.to_vec(), parameter });
        parameter
    }

    /// The tensors in the order in which they were added.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The tensor with this name.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// All numbers, tensor after tensor.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All numbers, tensor after tensor. Forms in 8 bits are dropped, since numbers may change.
    pub fn values_mut(&mut self) -> &mut [f32] {
        self.eight_bits.clear();
        &mut self.values
    }

    /// Keeps matrices `[outputs, inputs]` in 8 bits beside their numbers: [`Linear`](crate::Linear) and
    /// [`CrossEntropy::logits`](crate::CrossEntropy::logits) then multiply by these, until numbers are changed.
    pub fn keep_eight_bits(&mut self, forms: Vec<(Parameter, EightBits)>) {
        self.eight_bits = forms;
    }

    /// The form in 8 bits of a matrix, if it is kept.
    pub fn eight_bits(&self, parameter: Parameter) -> Option<&EightBits> {
        self.eight_bits.iter().find(|(kept, _)| *kept == parameter).map(|(_, form)| form)
    }

    /// Whether matrices are kept in 8 bits.
    pub fn are_eight_bits(&self) -> bool {
        !self.eight_bits.is_empty()
    }

    /// Zero gradients of the same layout.
    pub fn gradients(&self) -> Gradients {
        Gradients { values: vec![0.0; self.values.len()] }
    }
}

impl Index<Parameter> for Parameters {
    type Output = [f32];
    fn index(&self, parameter: Parameter) -> &[f32] {
        &self.values[parameter.range()]
    }
}

impl IndexMut<Parameter> for Parameters {
    fn index_mut(&mut self, parameter: Parameter) -> &mut [f32] {
        &mut self.values_mut()[parameter.range()]
    }
}

/// The derivative of a loss by every number of a [`Parameters`]; a backward pass adds to it.
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    values: Vec<f32>,
}

impl Gradients {
    /// All numbers, in the layout of the parameters.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All numbers, in the layout of the parameters.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Two tensors at once.
    ///
    /// # Panics
    /// If they are the same tensor.
    pub fn pair_mut(&mut self, a: Parameter, b: Parameter) -> [&mut [f32]; 2] {
        self.values.get_disjoint_mut([a.range(), b.range()]).expect("two different tensors of this layout")
    }

    /// Sets every number to zero.
    pub fn clear(&mut self) {
        self.values.fill(0.0);
    }
}

impl Index<Parameter> for Gradients {
    type Output = [f32];
    fn index(&self, parameter: Parameter) -> &[f32] {
        &self.values[parameter.range()]
    }
}

impl IndexMut<Parameter> for Gradients {
    fn index_mut(&mut self, parameter: Parameter) -> &mut [f32] {
        &mut self.values[parameter.range()]
    }
}

fn fill(values: &mut [f32], shape: &[usize], init: Init, rng: &mut ChaCha8Rng) {
    match init {
        Init::Constant(value) => values.fill(value),
        Init::Uniform(bound) => values.fill_with(|| rng.random_range(-1.0..1.0) * bound),
        Init::Normal(deviation) => values.fill_with(|| normal(rng) * deviation),
        Init::Glorot => {
            let [fan_out, fan_in] = matrix(shape);
            let bound = (6.0 / (fan_in + fan_out) as f32).sqrt();
            values.fill_with(|| rng.random_range(-1.0..1.0) * bound);
        }
        Init::Orthogonal => {
            let [_, columns] = matrix(shape);
            for block in values.chunks_mut(columns * columns) {
                block.fill_with(|| normal(rng));
                orthonormalise(block, columns);
            }
        }
    }
}

fn matrix(shape: &[usize]) -> [usize; 2] {
    shape.try_into().unwrap_or_else(|_| panic!("this initialisation is for matrices, not for shape {shape:?}"))
}

/// One normal deviate (Box and Muller 1958).
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    (radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()) as f32
}

/// Modified Gram-Schmidt over the rows; the rows of random normal numbers are independent.
fn orthonormalise(rows: &mut [f32], columns: usize) {
    for i in 0..rows.len() / columns {
        let (done, rest) = rows.split_at_mut(i * columns);
        let row = &mut rest[..columns];
        for other in done.chunks(columns) {
            let projection: f32 = row.iter().zip(other).map(|(a, b)| a * b).sum();
            for (a, b) in row.iter_mut().zip(other) {
                *a -= projection * b;
            }
        }
        let norm = row.iter().map(|a| a * a).sum::<f32>().sqrt();
        for a in row {
            *a /= norm;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn orthogonal_blocks_have_orthonormal_rows() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut parameters = Parameters::new();
        let w = parameters.add("w", &[24, 8], Init::Orthogonal, &mut rng);
        for block in parameters[w].chunks(64) {
            for i in 0..8 {
                for j in 0..8 {
                    let dot: f32 = (0..8).map(|c| block[i * 8 + c] * block[j * 8 + c]).sum();
                    assert!((dot - f32::from(u8::from(i == j))).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn a_blank_store_has_the_layout_and_no_numbers() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let [mut blank, mut filled] = [Parameters::blank(), Parameters::new()];
        for parameters in [&mut blank, &mut filled] {
            parameters.add("a", &[2, 3], Init::Glorot, &mut rng);
            parameters.add("b", &[4], Init::Constant(2.0), &mut rng);
        }
        assert_eq!(blank.entries(), filled.entries());
        assert_eq!(blank.values(), [0.0; 10]);
    }

    #[test]
    fn a_form_in_eight_bits_is_dropped_when_numbers_change() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut parameters = Parameters::new();
        let [a, b] = ["a", "b"].map(|name| parameters.add(name, &[1, 4], Init::Constant(1.0), &mut rng));
        let change: [fn(&mut Parameters, Parameter); 2] =
            [|parameters, a| parameters[a][0] = 2.0, |parameters, _| parameters.values_mut()[0] = 2.0];
        for change in change {
            parameters.keep_eight_bits(vec![(a, EightBits::new(&[1, 1, 1, 1], &[1.0]))]);
            assert!(parameters.eight_bits(a).is_some() && parameters.eight_bits(b).is_none());
            change(&mut parameters, a);
            assert!(parameters.eight_bits(a).is_none());
        }
    }

    #[test]
    fn handles_point_at_their_own_numbers() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut parameters = Parameters::new();
        let a = parameters.add("a", &[2, 3], Init::Constant(1.0), &mut rng);
        let b = parameters.add("b", &[4], Init::Constant(2.0), &mut rng);
        assert_eq!((&parameters[a], &parameters[b]), (&[1.0; 6][..], &[2.0; 4][..]));
        let mut gradients = parameters.gradients();
        gradients[b][1] = 5.0;
        assert_eq!(gradients.values(), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0]);
    }
}
