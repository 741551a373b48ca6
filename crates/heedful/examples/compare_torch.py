"""Attention of heedful and of PyTorch, case by case in turn, so that slow spells of the machine fall on both.

    cargo build --release -p heedful --example peer_worker
    python compare_torch.py target/release/examples/peer_worker THREADS CASE...

CASE is B,H,Hkv,Nq,Nk,D,causal,dtype,backward, for example 1,8,8,1024,1024,64,1,f32,0. Needs torch and numpy.
Prints, for each, the median and the fastest of ROUNDS x REPS samples (environment; 3 and 5) in ms, and the ratios torch / heedful.
"""
import os, statistics, subprocess, sys, time

worker, threads = sys.argv[1], int(sys.argv[2])
os.environ.update(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), RAYON_NUM_THREADS=str(threads))
import numpy as np, torch
import torch.nn.functional as F

torch.set_num_threads(threads)
rounds, reps = int(os.environ.get("ROUNDS", 3)), int(os.environ.get("REPS", 5))
names = ("b", "h", "hkv", "nq", "nk", "d", "causal", "dtype", "bwd")
heedful = subprocess.Popen([worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
heedful.stdout.readline()


def fill(shape, seed, dtype):
    i = np.arange(np.prod(shape), dtype=np.uint32)
    x = ((i * np.uint32(2654435761) + np.uint32(seed)) >> 8).astype(np.float32) / float(1 << 24) - 0.5
    return torch.from_numpy(x.reshape(shape)).to({"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[dtype])


def ask(case):
    line = " ".join(f"{key}={value}" for key, value in case.items())
    heedful.stdin.write(f"impl=attend {line} secs=10 reps={reps}\n")
    heedful.stdin.flush()
    answer = dict(field.split("=", 1) for field in heedful.stdout.readline().split())
    return [float(answer["ms"])], float(answer["min"]), float(answer["chk"])


def ask_torch(case, tensors):
    q, k, v = tensors

    def call():
        q.grad = k.grad = v.grad = None
        out = F.scaled_dot_product_attention(q, k, v, is_causal=bool(case["causal"]), enable_gqa=case["h"] != case["hkv"])
        if case["bwd"]:
            out.backward(torch.ones_like(out))
        return out

    def sample(inner):
        start = time.perf_counter()
        for _ in range(inner):
            call()
        return (time.perf_counter() - start) / inner * 1e3

    with torch.set_grad_enabled(bool(case["bwd"])):
        first = sample(1)
        inner = max(1, min(2000, int(2 / first)))
        call()
        times = [sample(inner) for _ in range(reps)]
        return [statistics.median(times)], min(times), call().detach().float().abs().mean().item()


for text in sys.argv[3:]:
    case = {name: value if name == "dtype" else int(value) for name, value in zip(names, text.split(","))}
    q_shape, k_shape = ([case["b"], case[heads], case[length], case["d"]] for heads, length in (("h", "nq"), ("hkv", "nk")))
    tensors = [fill(shape, seed, case["dtype"]) for shape, seed in ((q_shape, 1), (k_shape, 2), (k_shape, 3))]
    for x in tensors:
        x.requires_grad_(bool(case["bwd"]))
    ours, theirs = ([], 1e9), ([], 1e9)
    for _ in range(rounds):
        medians, fastest, check = ask(case)
        ours = ours[0] + medians, min(ours[1], fastest)
        medians, fastest, other_check = ask_torch(case, tensors)
        theirs = theirs[0] + medians, min(theirs[1], fastest)
        assert abs(check - other_check) < 1e-3, (check, other_check)
    (a, a_min), (b, b_min) = ((statistics.median(medians), fastest) for medians, fastest in (ours, theirs))
    print(f"{text:32} heedful {a:.4g} ({a_min:.4g})  torch {b:.4g} ({b_min:.4g})  ratio {b / a:.2f} ({b_min / a_min:.2f})", flush=True)
