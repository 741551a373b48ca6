"""Two learning curves side by side: validation BLEU against minutes, from two `metrics.jsonl` files or the folders that hold them.

    python curves.py OURS THEIRS [--clock cpu] [--threads 2] [--step 1]

A minute's score is that of the last validation that was over by then. With `--clock cpu`, minutes are CPU minutes over threads: what the
clock would show if the machine had nothing else to do. Lines without `cpu_seconds` cannot be read that way.
"""

import argparse
import json
from pathlib import Path


def curve(path, clock, threads):
    """`(minutes, BLEU, target tokens)` of each validation."""
    path = path / "metrics.jsonl" if path.is_dir() else path
    points = []
    for line in map(json.loads, path.read_text().splitlines()):
        if "validation" in line:
            seconds = line["seconds"] if clock == "wall" else line["cpu_seconds"] / threads
            points.append((seconds / 60, line["validation"]["bleu"], line["tokens"]))
    assert points, f"{path} holds no validation"
    return points


def at(points, minute):
    return next((score for minutes, score, _ in reversed(points) if minutes <= minute), None)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("ours", type=Path)
    arguments.add_argument("theirs", type=Path)
    arguments.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--step", type=float, default=1, help="minutes between two lines")
    a = arguments.parse_args()
    ours, theirs = (curve(path, a.clock, a.threads) for path in (a.ours, a.theirs))
    unit = "minutes" if a.clock == "wall" else f"CPU minutes / {a.threads}"
    print(f"{unit:>16}  {'heedful':>8}  {'PyTorch':>8}  {'ahead':>7}")
    end, ahead, compared = min(ours[-1][0], theirs[-1][0]), 0, 0
    last = (None, None)
    for i in range(1, int(-(-max(ours[-1][0], theirs[-1][0]) // a.step)) + 1):
        minute = i * a.step
        scores = at(ours, minute), at(theirs, minute)
        if scores == last:
            continue
        last = scores
        shown = [f"{score:8.2f}" if score is not None else " " * 8 for score in scores]
        difference = ""
        if None not in scores:
            difference = f"{scores[0] - scores[1]:+7.2f}"
            if minute <= end:
                compared, ahead = compared + 1, ahead + (scores[0] > scores[1])
        print(f"{minute:16.1f}  {shown[0]}  {shown[1]}  {difference}")
    print(f"heedful is ahead on {ahead} of {compared} lines where both were still training")
    for name, points in (("heedful", ours), ("PyTorch", theirs)):
        minutes, _, tokens = points[-1]
        print(f"{name}: best {max(score for _, score, _ in points):.2f}, {tokens / (60 * minutes):.0f} target tokens a second of these {unit}, validation included")


if __name__ == "__main__":
    main()
