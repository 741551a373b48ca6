//! Which operation of the cases is which call of the engine.

mod alignment;
mod flash;
mod onnx;
mod onnx_nn;
mod sdpa;
mod tensor;

use heedful_cases::{Case, Outputs, Runner, Stop};

/// Runs what an attention engine should compute.
pub struct Engine;

impl Runner for Engine {
    fn tensors(&self, case: &Case) -> Result<Outputs, Stop> {
        match case.op.as_str() {
            "sdpa" => sdpa::run(case),
            "flash_attn" => flash::dense(case),
            "flash_attn_varlen" => flash::packed(case),
            "flash_attn_kvcache" => flash::cached(case),
            "onnx.Attention" => onnx::attention(case),
            "onnx.FlexAttention" => onnx::flex_attention(case),
            "onnx.Softmax" | "onnx.LogSoftmax" => onnx_nn::softmax(case),
            "onnx.ReduceLogSumExp" => onnx_nn::reduce_log_sum_exp(case),
            "onnx.RotaryEmbedding" => onnx_nn::rotary_embedding(case),
            "additive" => alignment::additive(case),
            "luong" => alignment::luong(case),
            "onmt.global_attention" => alignment::global_attention(case),
            "onnx.LinearAttention" => Err(Stop::skip("a recurrence without softmax, which is not attention as this engine defines it")),
            "onnx.LayerNormalization" | "onnx.RMSNormalization" => Err(Stop::skip("normalisation layer: run by heedful-nn")),
            "onnx.TensorScatter" => Err(Stop::skip("writes one tensor into another and attends to nothing")),
            "torch.gru" | "torch.lstm" | "torch.rnn" | "onnx.GRU" | "onnx.LSTM" | "onnx.RNN" => {
                Err(Stop::skip("recurrent layer: run by heedful-nn"))
            }
            "torch.mha" => Err(Stop::skip("layer with projections: run by heedful-nn")),
            other => Err(Stop::fail(format!("operation {other} is unknown to this runner"))),
        }
    }
}
