//! Which operation of the cases is which layer.

mod batch;
mod layer_norm;
mod multi_head;
mod onnx_rnn;
mod torch_rnn;

use heedful_cases::{Case, Outputs, Runner, Stop};

/// Runs what the layers of sequence models should compute.
pub struct Layers;

impl Runner for Layers {
    fn tensors(&self, case: &Case) -> Result<Outputs, Stop> {
        match case.op.as_str() {
            "torch.gru" | "torch.lstm" | "torch.rnn" => torch_rnn::run(case),
            "onnx.GRU" | "onnx.LSTM" | "onnx.RNN" => onnx_rnn::run(case),
            "torch.mha" => multi_head::run(case),
            "onnx.LayerNormalization" => layer_norm::run(case),
            "onnx.RMSNormalization" => Err(Stop::skip("none of the models has a root-mean-square norm")),
            op => Err(Stop::skip(format!("operation {op} is no layer: run by heedful, if it is attention"))),
        }
    }
}
