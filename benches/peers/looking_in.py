"""What it costs to see where every query looked: PyTorch computing all weights and the output, against heedful's forward with a glance
(the 8 heaviest keys and the entropy of each query).

    cargo build --release -p heedful --example top_k
    python benches/peers/looking_in.py target/release/examples/top_k THREADS [TOKENS...]

8 heads of width 64, batch 1, f32. Each measurement is a process of its own, in turns; times are the fastest of all, memory is what the first
call takes beyond its operands and, for heedful, its output.
"""
import os
import subprocess
import sys
import time

HEADS, WIDTH, ROUNDS = 8, 64, 2


def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def torch_worker(threads, n, causal):
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    q, k, v = (torch.randn(1, HEADS, n, WIDTH) for _ in range(3))
    mask = torch.ones(n, n, dtype=torch.bool).triu(1) if causal else None

    def call():
        scores = torch.matmul(q, k.transpose(-1, -2)) * WIDTH**-0.5
        if causal:
            scores = scores.masked_fill(mask, float("-inf"))
        weights = torch.softmax(scores, -1)
        return torch.matmul(weights, v), weights

    with torch.no_grad():
        torch.matmul(q[:, :, :64], k[:, :, :64].transpose(-1, -2)).softmax(-1)
        with open("/proc/self/clear_refs", "w") as reset:
            reset.write("5")  # resets the peak that VmHWM tells
        rest, best = status("VmRSS"), float("inf")
        for run in range(3):
            start = time.perf_counter()
            result = call()
            best = min(best, time.perf_counter() - start)
            if run == 0:
                memory = status("VmHWM") - rest
            del result
    print(f"ms={best * 1e3:.3f} memory_mib={memory:.1f}")


def fields(command, threads):
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    answer = subprocess.run(command, text=True, capture_output=True, env=environment, check=True).stdout.splitlines()[-1]
    return {key: float(value) for key, value in (field.split("=") for field in answer.split())}


def main():
    example, threads = sys.argv[1], int(sys.argv[2])
    print(f"{'tokens':>6} {'mask':6} {'torch ms':>9} {'heedful ms':>10} {'faster':>6} {'torch MiB':>9} {'heedful MiB':>11} {'less':>5}")
    for n in [int(n) for n in sys.argv[3:]] or [2048, 4096, 8192]:
        for mask in ("full", "causal"):
            theirs = {"ms": float("inf"), "memory_mib": float("inf")}
            ours = {"looking_ms": float("inf"), "memory_mib": float("inf")}
            for _ in range(ROUNDS):
                worker = fields([sys.executable, __file__, "--torch", str(threads), str(n), mask], threads)
                theirs = {key: min(theirs[key], worker[key]) for key in theirs}
                look = fields([example, str(n), str(HEADS), str(WIDTH), mask, "3"], threads)
                ours = {key: min(ours[key], look[key]) for key in ours}
            faster, less = theirs["ms"] / ours["looking_ms"], theirs["memory_mib"] / ours["memory_mib"]
            times = f"{theirs['ms']:9.1f} {ours['looking_ms']:10.1f} {faster:6.2f}"
            print(f"{n:6} {mask:6} {times} {theirs['memory_mib']:9.1f} {ours['memory_mib']:11.1f} {less:5.0f}", flush=True)


if sys.argv[1] == "--torch":
    torch_worker(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "causal")
else:
    main()
