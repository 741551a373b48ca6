//! From a recorded tensor of any rank to a view of the engine, and back.

use heedful::{Element, Layout, View, ViewMut};
use heedful_cases::{Stop, Tensor};

/// Numbers with the layout in which the engine shall see them.
pub struct Laid<T = f32> {
    pub data: Vec<T>,
    pub layout: Layout,
}

impl<T: Copy + Default> Laid<T> {
    /// Row-major.
    pub fn contiguous(data: Vec<T>, shape: [usize; 4]) -> Result<Self, Stop> {
        Ok(Self { data, layout: Layout::contiguous(shape)? })
    }

    /// Row-major numbers moved to where `strides` put them.
    pub fn strided(numbers: &[T], shape: [usize; 4], strides: [usize; 4]) -> Result<Self, Stop> {
        let end = if numbers.is_empty() { 0 } else { 1 + (0..4).map(|i| (shape[i] - 1) * strides[i]).sum::<usize>() };
        let mut data = vec![T::default(); end];
        for (index, &x) in numbers.iter().enumerate() {
            data[place(index, &shape, &strides)] = x;
        }
        Ok(Self { data, layout: Layout::strided(shape, strides)? })
    }

    /// A recorded tensor as `[batch, heads, len, dim]`: ranks below 4 get leading dimensions of 1, and of higher ranks the leading
    /// dimensions become one. The strides of the original view, if any, are restored.
    pub fn of(tensor: &Tensor, numbers: &[T]) -> Result<Self, Stop> {
        let shape = four(&tensor.shape);
        match &tensor.strides {
            Some(strides) if strides.len() <= 4 => {
                let mut all = [0; 4];
                all[4 - strides.len()..].copy_from_slice(strides);
                Self::strided(numbers, shape, all)
            }
            _ => Self::contiguous(numbers.to_vec(), shape),
        }
    }

    pub fn view(&self) -> View<'_, T> {
        View::strided(&self.data, self.layout.shape(), self.layout.strides()).expect("the data was made for this layout")
    }
}

impl Laid<f32> {
    /// NaN in every place that the layout names: what a call leaves unwritten will not pass.
    pub fn unwritten(layout: Layout) -> Result<Self, Stop> {
        let count = layout.shape().iter().product();
        Self::strided(&vec![f32::NAN; count], layout.shape(), layout.strides())
    }

    pub fn view_mut(&mut self) -> ViewMut<'_> {
        ViewMut::with_layout(&mut self.data, self.layout).expect("the data was made for this layout")
    }

    /// The numbers, row-major.
    pub fn numbers(&self) -> Vec<f32> {
        let (shape, strides) = (self.layout.shape(), self.layout.strides());
        (0..shape.iter().product()).map(|index| self.data[place(index, &shape, &strides)]).collect()
    }
}

/// The recorded numbers, stored as `T`.
pub fn stored<T: Element>(tensor: &Tensor) -> Result<Vec<T>, Stop> {
    Ok(tensor.f32s()?.into_iter().map(T::from_f32).collect())
}

/// Where the row-major index lies.
fn place(mut index: usize, shape: &[usize], strides: &[usize]) -> usize {
    let mut at = 0;
    for (n, stride) in shape.iter().zip(strides).rev() {
        at += index % n * stride;
        index /= n;
    }
    at
}

/// A shape of any rank as one of 4 dimensions.
pub fn four(shape: &[usize]) -> [usize; 4] {
    let mut four = [1; 4];
    let tail = shape.len().min(3);
    four[4 - tail..].copy_from_slice(&shape[shape.len() - tail..]);
    four[0] = shape[..shape.len() - tail].iter().product();
    four
}

/// `shape` with its right-most dimensions replaced by `tail`.
pub fn with_tail(shape: &[usize], tail: &[usize]) -> Vec<usize> {
    [&shape[..shape.len() - tail.len()], tail].concat()
}

/// The row-major numbers of shape `from` repeated to shape `to`; dimensions are aligned at the right.
pub fn broadcast<T: Copy>(numbers: &[T], from: &[usize], to: &[usize]) -> Vec<T> {
    let strides = repeating_strides(from, to);
    (0..to.iter().product()).map(|index| numbers[place(index, to, &strides)]).collect()
}

/// The gradient of [`broadcast`]: numbers of shape `from` summed to shape `to`.
pub fn sum_to(numbers: &[f32], from: &[usize], to: &[usize]) -> Vec<f32> {
    let strides = repeating_strides(to, from);
    let mut sums = vec![0.0f64; to.iter().product()];
    for (index, &x) in numbers.iter().enumerate() {
        sums[place(index, from, &strides)] += f64::from(x);
    }
    sums.into_iter().map(|x| x as f32).collect()
}

fn repeating_strides(small: &[usize], large: &[usize]) -> Vec<usize> {
    let mut strides = vec![0; large.len()];
    let mut stride = 1;
    for (i, &n) in small.iter().enumerate().rev() {
        strides[large.len() - small.len() + i] = if n == 1 { 0 } else { stride };
        stride *= n;
    }
    strides
}

/// The common shape of several shapes, aligned at the right, dimensions of 1 repeated.
pub fn common_shape(shapes: &[&[usize]]) -> Result<Vec<usize>, Stop> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut common = vec![1; rank];
    for shape in shapes {
        for (common, &n) in common[rank - shape.len()..].iter_mut().zip(*shape) {
            match (*common, n) {
                (1, n) => *common = n,
                (m, n) if m == n || n == 1 => {}
                _ => return Err(Stop::fail(format!("shapes {shapes:?} do not broadcast"))),
            }
        }
    }
    Ok(common)
}
