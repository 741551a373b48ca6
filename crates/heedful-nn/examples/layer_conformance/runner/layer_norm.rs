//! ONNX's LayerNormalization: all dimensions from `axis` on are one row.

use heedful_cases::{Case, Outputs, Stop, Tensor};
use heedful_nn::{LayerNorm, Parameters, Workspace};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub fn run(case: &Case) -> Result<Outputs, Stop> {
    case.only_attributes(&["opset", "axis", "epsilon", "stash_type"])?;
    case.only_inputs(&["X", "Scale", "B"])?;
    let (x, scale) = (case.input("X")?, case.input("Scale")?);
    let rank = x.shape.len();
    let axis = case.integer("axis")?.unwrap_or(-1);
    let axis = if axis < 0 { (axis + rank as i64) as usize } else { axis as usize };
    let dim = x.shape[axis..].iter().product();

    let (mut parameters, rng) = (Parameters::new(), &mut ChaCha8Rng::seed_from_u64(0));
    let norm = LayerNorm::new(&mut parameters, "norm", dim, rng).epsilon(case.float("epsilon")?.unwrap_or(1e-5) as f32);
    // A scale of fewer dimensions, or with dimensions of 1, is repeated: the numbers are those of the last dimensions.
    for (parameter, tensor) in [(norm.gain, Some(scale)), (norm.bias, case.optional("B"))] {
        let Some(tensor) = tensor else { continue };
        let values = tensor.f32s()?;
        let tail = tensor.len();
        if dim % tail != 0 || !x.shape.ends_with(&tensor.shape) {
            return Err(Stop::fail(format!("a scale or bias of shape {:?} for X {:?}", tensor.shape, x.shape)));
        }
        for block in parameters[parameter].chunks_exact_mut(tail) {
            block.copy_from_slice(&values);
        }
    }
    let (y, statistics) = norm.forward(&parameters, &x.f32s()?, &mut Workspace::new());
    let reduced: Vec<usize> = (0..rank).map(|i| if i < axis { x.shape[i] } else { 1 }).collect();
    Ok(Outputs::new()
        .with("Y", Tensor::floats(&x.shape, y))
        .with("Mean", Tensor::floats(&reduced, statistics.mean().iter().copied()))
        .with("InvStdDev", Tensor::floats(&reduced, statistics.inverse_deviation().iter().copied())))
}
