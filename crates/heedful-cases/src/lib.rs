//! Conformance cases: recorded inputs of an operation with the outputs that another implementation gave.
//!
//! A suite is a folder. A *tensor suite* holds `manifest.json` and a `.safetensors` file; a *text suite* holds `cases.json`. The
//! crate that knows the operations implements [`Runner`] and hands its command line to [`main`]:
//!
//! ```no_run
//! use heedful_cases::{Case, Outputs, Runner, Stop, Tensor};
//!
//! struct Double;
//!
//! impl Runner for Double {
//!     fn tensors(&self, case: &Case) -> Result<Outputs, Stop> {
//!         if case.op != "double" {
//!             return Err(Stop::skip("only knows how to double"));
//!         }
//!         case.only_attributes(&["opset"])?;
//!         let x = case.input("x")?;
//!         let doubled: Vec<f32> = x.f32s()?.iter().map(|x| 2.0 * x).collect();
//!         Ok(Outputs::new().with("y", Tensor::floats(&x.shape, doubled)))
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     heedful_cases::main(&Double)
//! }
//! ```

mod case;
mod compare;
mod report;
mod suite;
mod tensor;

pub use case::{Case, Expected, Outputs, Stop, TextCase};
pub use compare::{Tolerance, compare};
pub use report::{Report, Verdict};
pub use suite::{Runner, Suite, find_suites, main, replay};
pub use tensor::{Tensor, Values};
