"""Translating a file with heedful's Transformer: `heedful translate` beside the same weights in PyTorch, in turn.

    pip install torch numpy tokenizers
    cargo build --release -p heedful-cli
    python translate.py target/release/heedful MODEL.safetensors TEXT [--beams 5 1] [--batches 50 100 200 400] [--rounds 3] [--processes]

PyTorch's side is in f32, with cached keys and values, sentences of similar length beside each other, finished sentences and hopeless
hypotheses taken out of the batch at each step, and the batch size (sentences) that is best on this machine, which is looked for first. With
`--processes`, as many processes of one thread as there are threads share the batches, in place of one process of as many threads.

heedful's time is that of the whole process: start-up, tokens, search, text, output. PyTorch's is that of the search alone, ids in, ids out.
Both search the same way (see heedful_translate::decode), so nearly all translations are the same; how many is printed.
"""

import argparse
import math
import os
import resource
import subprocess
import tempfile
import time

import torch
import torch.nn.functional as F

import bundle
from tokenizer import BOS, EOS


class Attention:
    """Weights of one attention layer."""

    def __init__(self, weights, name, heads):
        self.heads = heads
        for part in ("input", "query", "key_value", "output"):
            if name + part + ".weight" in weights:
                setattr(self, part, (weights[name + part + ".weight"], weights[name + part + ".bias"]))

    def split(self, x):
        """`[batch, length, dim]` to `[batch, heads, length, head_dim]`."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def merge(self, x):
        return F.linear(x.transpose(1, 2).flatten(2), *self.output)


class Transformer:
    """The encoder and a decoder of one step at a time, pre-norm, tied embeddings, sinusoidal positions."""

    def __init__(self, config, weights):
        assert config["type"] == "transformer", config["type"]
        self.dim, self.heads, self.weights = config["dim"], config["heads"], weights
        self.table = weights["embedding.table"]
        frequency = 10000.0 ** (-torch.arange(0, self.dim, 2, dtype=torch.float64) / self.dim)
        angle = torch.arange(512, dtype=torch.float64)[:, None] * frequency
        self.positions = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :self.dim].float().contiguous()
        self.encoder = [self.layer(f"encoder.{i}.", ["self_attention"]) for i in range(config["encoder_layers"])]
        self.decoder = [self.layer(f"decoder.{i}.", ["self_attention", "cross_attention"]) for i in range(config["decoder_layers"])]

    def layer(self, name, attentions):
        return {a: Attention(self.weights, name + a + ".", self.heads) for a in attentions} | {"name": name}

    def norm(self, name, x):
        return F.layer_norm(x, (self.dim,), self.weights[name + ".gain"], self.weights[name + ".bias"])

    def feed_forward(self, name, x):
        w = self.weights
        y = F.relu_(F.linear(self.norm(name + "feed_forward_norm", x), w[name + "feed_forward.expand.weight"], w[name + "feed_forward.expand.bias"]))
        return x + F.linear(y, w[name + "feed_forward.contract.weight"], w[name + "feed_forward.contract.bias"])

    def encode(self, sources):
        """Keys and values of each decoder layer, `[batch, heads, length, head_dim]`, and the padding mask or None."""
        lengths = [len(source) for source in sources]
        ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(source) for source in sources], batch_first=True)
        mask = None
        if min(lengths) < max(lengths):
            mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])[:, None, None, :]
        x = F.embedding(ids, self.table) * math.sqrt(self.dim) + self.positions[:ids.shape[1]]
        for layer in self.encoder:
            a = layer["self_attention"]
            q, k, v = (a.split(t) for t in F.linear(self.norm(layer["name"] + "self_attention_norm", x), *a.input).chunk(3, -1))
            x = x + a.merge(F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
            x = self.feed_forward(layer["name"], x)
        x = self.norm("encoder.norm", x)
        memory = []
        for layer in self.decoder:
            a = layer["cross_attention"]
            memory.append(tuple(a.split(t).contiguous() for t in F.linear(x, *a.key_value).chunk(2, -1)))
        return memory, mask

    def step(self, tokens, position, caches, memory, mask, rows, grid):
        """Scores `[rows, vocabulary]` of the token after `tokens`; row `i` stands at place `rows[i]` of `grid = (sentences, width)`.

        A place without a row is computed with in the cross-attention, and only there: so the memory need not be repeated for each row.
        """
        sentences, width = grid
        whole = len(tokens) == sentences * width
        x = (F.embedding(tokens, self.table) * math.sqrt(self.dim) + self.positions[position])[:, None]
        for layer, cache, (keys, values) in zip(self.decoder, caches, memory):
            a = layer["self_attention"]
            q, k, v = (a.split(t) for t in F.linear(self.norm(layer["name"] + "self_attention_norm", x), *a.input).chunk(3, -1))
            cache[0][:, :, position:position + 1] = k
            cache[1][:, :, position:position + 1] = v
            x = x + a.merge(F.scaled_dot_product_attention(q, cache[0][:, :, :position + 1], cache[1][:, :, :position + 1]))
            a = layer["cross_attention"]
            q = F.linear(self.norm(layer["name"] + "cross_attention_norm", x), *a.query)[:, 0]
            if not whole:
                q = q.new_zeros(sentences * width, self.dim).index_copy_(0, rows, q)
            y = F.scaled_dot_product_attention(a.split(q.view(sentences, width, self.dim)), keys, values, attn_mask=mask)
            y = y.transpose(1, 2).reshape(sentences * width, self.dim)
            x = x + F.linear(y if whole else y[rows], *a.output)[:, None]
            x = self.feed_forward(layer["name"], x)
        return F.linear(self.norm("decoder.norm", x[:, 0]), self.table)


def normaliser(length, alpha):
    return ((5 + length) / 6) ** alpha


@torch.inference_mode()
def beam_search(model, sources, width, decoding):
    """The best hypothesis of each source; a sentence is left when nothing that goes on can reach the score of the best finished one."""
    alpha = decoding["length_penalty"]
    n, dim, heads = len(sources), model.dim, model.heads
    limits = torch.tensor([int(decoding["max_length_factor"] * len(s)) + decoding["max_length_constant"] for s in sources])
    longest = int(limits.max())
    memory, mask = model.encode(sources)
    best_score = torch.full((n,), -math.inf, dtype=torch.float64)
    best = [None] * n
    sentence = torch.arange(n)  # which source each line of the grid is
    rows = torch.arange(n) * width  # the places of the grid that hold a hypothesis: one a sentence at first
    totals = torch.zeros(n, dtype=torch.float64)
    tokens = torch.full((n,), BOS)
    history = torch.empty((n, 0), dtype=torch.long)
    caches = [tuple(torch.empty(n, heads, 16, dim // heads) for _ in "kv") for _ in model.decoder]
    for position in range(longest):
        if position == caches[0][0].shape[2]:
            caches = [tuple(F.pad(t, (0, 0, 0, position)) for t in cache) for cache in caches]
        scores = model.step(tokens, position, caches, memory, mask, rows, (len(sentence), width))
        scores[:, BOS] = -math.inf
        values, ids = scores.topk(width + 1, -1)
        log_probs = (values - scores.logsumexp(-1, keepdim=True)).double() + totals[:, None]
        # Candidates by sentence, best first.
        grid_scores = log_probs.new_full((len(sentence) * width, width + 1), -math.inf).index_copy_(0, rows, log_probs)
        place_of_row = torch.zeros(len(sentence) * width, dtype=torch.long).index_copy_(0, rows, torch.arange(len(rows)))
        ranked, which = grid_scores.view(len(sentence), -1).topk(2 * width, -1)
        row = place_of_row[which // (width + 1) + torch.arange(len(sentence))[:, None] * width]
        token = ids[row, which % (width + 1)]
        possible, is_end = ranked > -math.inf, token == EOS
        # Those that end, if they are among the first `width`.
        ended = torch.where(is_end & possible, ranked, -math.inf)[:, :width] / normaliser(position + 1, alpha)
        score, at = ended.max(-1)
        for i in (score > best_score[sentence]).nonzero().flatten().tolist():
            best_score[sentence[i]] = score[i]
            best[sentence[i]] = history[row[i, at[i]]].tolist()
        # The first `width` others go on, unless they are cut or out of reach.
        goes_on = possible & ~is_end
        goes_on &= goes_on.cumsum(-1) <= width
        last = limits[sentence] == position + 1
        if last.any():
            for i in (last & (best_score[sentence] == -math.inf)).nonzero().flatten().tolist():
                first = int(goes_on[i].nonzero()[0])
                best[sentence[i]] = history[row[i, first]].tolist() + [int(token[i, first])]
        reach = ranked / normaliser(limits[sentence], alpha)[:, None] > best_score[sentence][:, None]
        goes_on &= reach & ~last[:, None]
        line, column = goes_on.nonzero(as_tuple=True)
        if len(line) == 0:
            break
        parents, tokens, totals = row[line, column], token[line, column], ranked[line, column]
        history = torch.cat([history[parents], tokens[:, None]], 1)
        caches = [tuple(t[parents] for t in cache) for cache in caches]
        kept = goes_on.any(-1)
        if not kept.all():
            line = kept.cumsum(0)[line] - 1
            sentence = sentence[kept]
            memory = [tuple(t[kept] for t in layer) for layer in memory]
            mask = mask[kept] if mask is not None else None
        place = torch.arange(len(line)) - torch.searchsorted(line, line)  # which of its sentence's hypotheses a row is
        rows = line * width + place
    return best


def search_file(model, sources, width, decoding, batch):
    """The target ids of each source, and CPU seconds; longest first, so that a batch holds sentences of similar length."""
    cpu = time.process_time()
    order = sorted(range(len(sources)), key=lambda i: -len(sources[i]))
    found = [None] * len(sources)
    for start in range(0, len(order), batch):
        places = order[start:start + batch]
        for place, ids in zip(places, beam_search(model, [sources[i] for i in places], width, decoding)):
            found[place] = ids
    return found, time.process_time() - cpu


class Workers:
    """Processes of one thread that take batches from a queue."""

    def __init__(self, model, decoding, processes):
        import torch.multiprocessing as mp
        context = mp.get_context("fork")
        self.tasks, self.results = context.Queue(), context.Queue()
        for _ in range(processes):
            context.Process(target=self.run, args=(model, decoding), daemon=True).start()

    def run(self, model, decoding):
        torch.set_num_threads(1)
        while True:
            places, sources, width = self.tasks.get()
            cpu = time.process_time()
            found = beam_search(model, sources, width, decoding)
            self.results.put((places, found, time.process_time() - cpu))

    def search_file(self, _, sources, width, __, batch):
        order = sorted(range(len(sources)), key=lambda i: -len(sources[i]))
        batches = [order[i:i + batch] for i in range(0, len(order), batch)]
        for places in batches:
            self.tasks.put((places, [sources[i] for i in places], width))
        found, cpu = [None] * len(sources), 0
        for _ in batches:
            places, ids, seconds = self.results.get()
            cpu += seconds
            for place, hypothesis in zip(places, ids):
                found[place] = hypothesis
        return found, cpu


def run_heedful(binary, model, text, width):
    """Seconds of wall time, of CPU time, peak megabytes, and the lines that come out."""
    with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as usage:
        # A child of this process would inherit its peak memory: GNU time stands in between.
        command = ["/usr/bin/time", "-f", "%e %U %S %M", "-o", usage.name]
        subprocess.run([*command, binary, "translate", "--model", model, "--beam", str(width), "--input", text, "--output", out.name], check=True)
        seconds, user, system, kilobytes = map(float, usage.read().split())
        return seconds, user + system, kilobytes / 1024, open(out.name, encoding="utf-8").read().split("\n")[:-1]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("heedful")
    arguments.add_argument("model")
    arguments.add_argument("text")
    arguments.add_argument("--beams", type=int, nargs="+", default=[5, 1])
    arguments.add_argument("--batches", type=int, nargs="+", default=[50, 100, 200, 400])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=os.cpu_count())
    arguments.add_argument("--processes", action="store_true")
    a = arguments.parse_args()
    torch.set_num_threads(1 if a.processes else a.threads)
    config, tokenizer, weights = bundle.read(a.model)
    model, decoding = Transformer(config["model"], weights), config["decoding"]
    lines = open(a.text, encoding="utf-8").read().split("\n")[:-1]
    sources = [tokenizer.encode(line) + [EOS] for line in lines]
    search = Workers(model, decoding, a.threads).search_file if a.processes else search_file
    os.environ["RAYON_NUM_THREADS"] = str(a.threads)

    def run_torch(width, batch, sources=sources):
        start = time.perf_counter()
        found, cpu = search(model, sources, width, decoding, batch)
        return time.perf_counter() - start, cpu, found

    for width in a.beams:
        run_torch(width, 50, sources[:200])
        timed = {batch: run_torch(width, batch)[0] for batch in a.batches} if len(a.batches) > 1 else {a.batches[0]: 0}
        batch = min(timed, key=timed.get)
        ours, theirs = [], []
        for _ in range(a.rounds):
            ours.append(run_heedful(a.heedful, a.model, a.text, width))
            theirs.append(run_torch(width, batch))
        translations = [tokenizer.decode(ids) for ids in theirs[0][2]]
        same = sum(x == y for x, y in zip(ours[0][3], translations))
        wall, torch_wall = (sorted(run[0] for run in runs)[len(runs) // 2] for runs in (ours, theirs))
        print(f"beam {width}: heedful {len(lines) / wall:.0f} sentences/s ({wall:.2f} s, best {min(r[0] for r in ours):.2f}, "
              f"CPU {min(r[1] for r in ours):.2f}, {max(r[2] for r in ours):.0f} MiB)   "
              f"torch {len(lines) / torch_wall:.0f} ({torch_wall:.2f} s, best {min(r[0] for r in theirs):.2f}, CPU {min(r[1] for r in theirs):.2f}, "
              f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB, batches {({b: round(t, 2) for b, t in timed.items()})})   "
              f"ratio {torch_wall / wall:.2f} (best {min(r[0] for r in theirs) / min(r[0] for r in ours):.2f}, "
              f"CPU {min(r[1] for r in theirs) / min(r[1] for r in ours):.2f})   "
              f"same translation: {same} of {len(lines)}", flush=True)
        for i, (x, y) in enumerate(zip(ours[0][3], translations)):
            if x != y:
                print(f"  line {i + 1}: heedful {x!r}, torch {y!r}")


if __name__ == "__main__":
    main()
