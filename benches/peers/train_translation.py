"""Trains heedful's three architectures with PyTorch, as `heedful train` does it: the peer of its learning curves.

    pip install torch numpy tokenizers sacrebleu
    python train_translation.py OUT RUN... [--minutes 30] [--clock cpu] [--validate-every N]

RUN is the folder of a heedful run (its `config.toml` and `tokenizer.json` are read). For each, OUT/NAME gets a `metrics.jsonl` of the same form,
which `curves.py` sets beside heedful's. A run that was ended early goes on from its last validation when the command is given again; one that
is done is left alone.

The same: sizes, tokenizer and ids, pairs, batches of like lengths by tokens, dropout and its places, initial distributions, label smoothing,
Adam, clipping, warm-up, validation sentences, greedy translation, sacreBLEU. What is idle is left out: padding is not projected to the
vocabulary, and keys and values are cached in validation. Where minutes limit the run, here or in its configuration, a linear schedule reaches zero
at the end of these minutes, so that each trainer has a schedule that suits its speed; otherwise at the same update.
"""

import argparse
import json
import math
import os
import random
import resource
import time
import tomllib
from pathlib import Path

import sacrebleu
import torch
import torch.nn as nn
import torch.nn.functional as F

import translate
from tokenizer import BOS, EOS, Tokenizer, normalise, spaced_words

POOL = 50  # batches drawn at random before their pairs are sorted by length
IGNORED = -100


def pad(sentences):
    return nn.utils.rnn.pad_sequence([torch.tensor(s) for s in sentences], batch_first=True)


def glorot(module):
    """heedful's initial weights: Glorot for matrices, orthogonal blocks for recurrent ones, zeros for biases."""
    for name, p in module.named_parameters():
        if "table" in name:
            nn.init.normal_(p, std=p.shape[1] ** -0.5)
        elif "weight_hh" in name:
            for block in p.data.split(p.shape[1]):
                nn.init.orthogonal_(block)
        elif "norm" not in name and p.dim() == 2:
            nn.init.xavier_uniform_(p)
        elif "norm" not in name and "energy" not in name:
            nn.init.zeros_(p)


class Attention(nn.Module):
    def __init__(self, dim, heads, cross, eager):
        super().__init__()
        self.heads, self.eager = heads, eager
        if cross:
            self.query, self.key_value = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim)
        else:
            self.input = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, x, memory=None, mask=None, causal=False):
        split = lambda t: t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        if memory is None:
            q, k, v = map(split, self.input(x).chunk(3, -1))
        else:
            q, (k, v) = split(self.query(x)), map(split, self.key_value(memory).chunk(2, -1))
        if self.eager:
            scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
            if causal:
                scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -math.inf)
            if mask is not None:
                scores = scores.masked_fill(~mask, -math.inf)
            y = scores.softmax(-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        return self.output(y.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.expand, self.contract = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x, drop):
        return self.contract(drop(F.relu(self.expand(x))))


class Layer(nn.Module):
    """Pre-norm; dropout after each sub-layer and inside the feed-forward one."""

    def __init__(self, c, cross, eager):
        super().__init__()
        dim = c["dim"]
        self.self_attention_norm, self.self_attention = nn.LayerNorm(dim), Attention(dim, c["heads"], False, eager)
        if cross:
            self.cross_attention_norm, self.cross_attention = nn.LayerNorm(dim), Attention(dim, c["heads"], True, eager)
        self.feed_forward_norm, self.feed_forward = nn.LayerNorm(dim), FeedForward(dim, c["feed_forward"])

    def forward(self, x, drop, mask, memory=None):
        causal = memory is not None
        x = x + drop(self.self_attention(self.self_attention_norm(x), mask=None if causal else mask, causal=causal))
        if memory is not None:
            x = x + drop(self.cross_attention(self.cross_attention_norm(x), memory, mask))
        return x + drop(self.feed_forward(self.feed_forward_norm(x), drop))


class Transformer(nn.Module):
    def __init__(self, c, vocabulary, dropout, eager):
        super().__init__()
        self.config = c
        self.embedding = nn.ParameterDict({"table": torch.empty(vocabulary, c["dim"])})
        self.encoder = nn.ModuleList(Layer(c, False, eager) for _ in range(c["encoder_layers"]))
        self.decoder = nn.ModuleList(Layer(c, True, eager) for _ in range(c["decoder_layers"]))
        self.encoder_norm, self.decoder_norm = nn.LayerNorm(c["dim"]), nn.LayerNorm(c["dim"])
        self.drop = nn.Dropout(dropout)
        self.positions = None
        glorot(self)

    def embed(self, ids):
        if self.positions is None:
            self.positions = self.searcher().positions
        return self.drop(F.embedding(ids, self.embedding["table"]) * math.sqrt(self.config["dim"]) + self.positions[:ids.shape[1]])

    def forward(self, sources, targets):
        """The scores of all real target tokens, `[tokens, vocabulary]`."""
        ids, inputs = pad(sources), pad([[BOS] + t[:-1] for t in targets])
        lengths = torch.tensor([len(s) for s in sources])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None])[:, None, None, :]
        if bool((lengths == ids.shape[1]).all()):
            mask = None
        x = self.embed(ids)
        for layer in self.encoder:
            x = layer(x, self.drop, mask)
        memory, x = self.encoder_norm(x), self.embed(inputs)
        for layer in self.decoder:
            x = layer(x, self.drop, mask, memory)
        real = torch.arange(inputs.shape[1]) < torch.tensor([len(t) for t in targets])[:, None]
        return F.linear(self.decoder_norm(x[real]), self.embedding["table"])

    def searcher(self):
        """The same weights in the decoder with caches of `translate.py`."""
        weights = {}
        for name, p in self.named_parameters():
            name = name.replace("encoder_norm.", "encoder.norm.").replace("decoder_norm.", "decoder.norm.")
            if "norm." in name:
                name = name.replace(".weight", ".gain")
            weights[name] = p.detach()
        return translate.Transformer(self.config, weights)

    def greedy(self, sources, limits):
        model, n, c = self.searcher(), len(sources), self.config
        memory, mask = model.encode(sources)
        caches = [tuple(torch.empty(n, c["heads"], max(limits), c["dim"] // c["heads"]) for _ in "kv") for _ in model.decoder]

        def step(tokens, position):
            return model.step(tokens, position, caches, memory, mask, torch.arange(len(tokens)), (len(tokens), 1))

        def select(rows):
            nonlocal caches, memory, mask
            caches = [tuple(t[rows] for t in cache) for cache in caches]
            memory = [tuple(t[rows] for t in layer) for layer in memory]
            mask = mask[rows] if mask is not None else None
        return greedy(step, select, limits)


def greedy(step, select, limits):
    """The most probable token at each step; sentences that have ended are taken out by `select`."""
    found = [[] for _ in limits]
    places, tokens = list(range(len(limits))), torch.full((len(limits),), BOS)
    for position in range(max(limits)):
        scores = step(tokens, position)
        scores[:, BOS] = -math.inf
        tokens = scores.argmax(-1)
        alive = []
        for row, token in enumerate(tokens.tolist()):
            if token != EOS:
                found[places[row]].append(token)
                if position + 1 < limits[places[row]]:
                    alive.append(row)
        if not alive:
            break
        if len(alive) < len(places):
            select(torch.tensor(alive))
            places, tokens = [places[row] for row in alive], tokens[alive]
    return found


class Recurrent(nn.Module):
    """What both recurrent models share: embeddings, a read-out with tanh, tied output."""

    def __init__(self, c, vocabulary, dropout, states):
        super().__init__()
        assert c["cell"] == "gru" and c["layers"] == 1 and c["tied"], c
        self.config, self.drop = c, nn.Dropout(dropout)
        self.table = nn.Parameter(torch.empty(vocabulary, c["embedding"]))
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.read_out = nn.Linear(states + c["embedding"], c["embedding"])

    def embed(self, ids):
        return self.drop(F.embedding(ids, self.table) * math.sqrt(self.config["embedding"]))

    def scores(self, states):
        return F.linear(self.drop(torch.tanh(self.read_out(states))), self.table, self.bias)

    def encode_packed(self, gru, sources):
        lengths = torch.tensor([len(s) for s in sources])
        packed = nn.utils.rnn.pack_padded_sequence(self.embed(pad(sources)), lengths, batch_first=True, enforce_sorted=False)
        out, last = gru(packed)
        return out, last, lengths

    @staticmethod
    def real(targets):
        lengths = torch.tensor([len(t) for t in targets])
        return torch.arange(int(lengths.max())) < lengths[:, None]


class Rnn(Recurrent):
    """One hidden state between encoder and decoder (Cho et al. 2014), the source read from its end."""

    def __init__(self, c, vocabulary, dropout, _):
        super().__init__(c, vocabulary, dropout, 2 * c["hidden"])
        assert c["reverse_source"] and c["context_everywhere"], c
        self.encoder = nn.GRU(c["embedding"], c["hidden"], batch_first=True)
        self.decoder = nn.GRU(c["embedding"] + c["hidden"], c["hidden"], batch_first=True)
        glorot(self)

    def encode(self, sources):
        return self.encode_packed(self.encoder, [s[::-1] for s in sources])[1]

    def forward(self, sources, targets):
        last = self.encode(sources)
        x = self.embed(pad([[BOS] + t[:-1] for t in targets]))
        context = last[0][:, None].expand(-1, x.shape[1], -1)
        out, _ = self.decoder(torch.cat([x, context], -1), last)
        real = self.real(targets)
        return self.scores(torch.cat([out[real], x[real], context[real]], -1))

    def greedy(self, sources, limits):
        state = self.encode(sources)
        context = state[0]

        def step(tokens, _):
            nonlocal state
            x = self.embed(tokens)
            out, state = self.decoder(torch.cat([x, context], -1)[:, None], state)
            return self.scores(torch.cat([out[:, 0], x, context], -1))

        def select(rows):
            nonlocal state, context
            state, context = state[:, rows].contiguous(), context[rows]
        return greedy(step, select, limits)


class RnnAttention(Recurrent):
    """Bahdanau et al. 2015: an encoder from both ends, additive attention before each step of the decoder."""

    def __init__(self, c, vocabulary, dropout, _):
        hidden, embedding = c["hidden"], c["embedding"]
        super().__init__(c, vocabulary, dropout, 3 * hidden)
        assert c["score"] == "additive", c
        self.encoder = nn.GRU(embedding, hidden, batch_first=True, bidirectional=True)
        self.bridge, self.key, self.query = nn.Linear(2 * hidden, hidden), nn.Linear(2 * hidden, hidden), nn.Linear(hidden, hidden, bias=False)
        self.energy = nn.Parameter(torch.empty(hidden).uniform_(-hidden ** -0.5, hidden ** -0.5))
        self.cell = nn.GRUCell(embedding + 2 * hidden, hidden)
        glorot(self)

    def encode(self, sources):
        packed, last, lengths = self.encode_packed(self.encoder, sources)
        memory = self.drop(nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)[0])
        mask = torch.zeros(memory.shape[:2]).masked_fill(torch.arange(memory.shape[1]) >= lengths[:, None], -math.inf)
        return torch.tanh(self.bridge(torch.cat([last[0], last[1]], -1))), memory, self.key(memory), mask

    def step(self, x, state, memory, keys, mask):
        scores = torch.tanh(self.query(state)[:, None] + keys) @ self.energy + mask
        context = torch.bmm(scores.softmax(-1)[:, None], memory)[:, 0]
        return self.cell(torch.cat([x, context], -1), state), context

    def forward(self, sources, targets):
        state, memory, keys, mask = self.encode(sources)
        x, read = self.embed(pad([[BOS] + t[:-1] for t in targets])), []
        for t in range(x.shape[1]):
            state, context = self.step(x[:, t], state, memory, keys, mask)
            read.append(torch.cat([state, context, x[:, t]], -1))
        return self.scores(torch.stack(read, 1)[self.real(targets)])

    def greedy(self, sources, limits):
        state, *encoded = self.encode(sources)

        def step(tokens, _):
            nonlocal state
            x = self.embed(tokens)
            state, context = self.step(x, state, *encoded)
            return self.scores(torch.cat([state, context, x], -1))

        def select(rows):
            nonlocal state, encoded
            state, encoded = state[rows], [t[rows] for t in encoded]
        return greedy(step, select, limits)


MODELS = {"rnn": Rnn, "rnn_attention": RnnAttention, "transformer": Transformer}


def read_pairs(files):
    assert len(files) == 2, "a source file and a target file are needed"
    return list(zip(*(Path(f).read_text(encoding="utf-8").split("\n") for f in files), strict=True))[:-1]


def clean(pairs, data, held_out):
    """heedful's cleaning: no repeated pairs, no side of a held-out pair, no lengths that do not fit each other."""
    def key(text):
        return " ".join(w.strip() for w in spaced_words(normalise(text).lower()) if any(c.isalnum() for c in w))
    held = [{key(pair[side]) for pair in held_out} for side in (0, 1)]
    kept = {}
    for pair in pairs:
        normal = tuple(map(normalise, pair))
        short, long = sorted(len(spaced_words(side)) for side in normal)
        fits = short > 0 and long <= data["max_words"] and (long <= 8 or long <= data["max_ratio"] * short)
        if fits and key(pair[0]) not in held[0] and key(pair[1]) not in held[1]:
            kept.setdefault(normal, pair)
    return list(kept.values())


def cut(order, lengths, tokens):
    """Consecutive parts with at most `tokens` on either side."""
    parts, part, sums = [], [], [0, 0]
    for i in order:
        grown = [a + b for a, b in zip(sums, lengths[i])]
        if part and max(grown) > tokens:
            parts.append(part)
            part, grown = [], list(lengths[i])
        part.append(i)
        sums = grown
    return parts + [part]


def batches(lengths, tokens, seed):
    rng, order = random.Random(seed), list(range(len(lengths)))
    rng.shuffle(order)
    out = []
    for pool in cut(order, lengths, tokens * POOL):
        out += cut(sorted(pool, key=lambda i: lengths[i][::-1]), lengths, tokens)
    rng.shuffle(out)
    return out


class Run:
    def __init__(self, folder, out, arguments):
        self.config = tomllib.loads((folder / "config.toml").read_text())
        self.training, self.out, self.arguments = self.config["training"], out, arguments
        self.minutes = arguments.minutes or self.training["minutes"]
        tokenizer = self.tokenizer = Tokenizer((folder / "tokenizer.json").read_text(encoding="utf-8"))
        data = self.config["data"]
        held_out, test = read_pairs(data["valid"]), read_pairs(data["test"]) if data.get("test") else []
        ids = lambda text: tokenizer.encode(text) + [EOS]
        self.pairs = [(ids(a), ids(b)) for a, b in clean(read_pairs(data["train"]), data, held_out + test)]
        self.held_out = sorted(((ids(a), ids(b)) for a, b in held_out), key=lambda pair: -len(pair[1]))
        first = {}
        for source, target in held_out:
            first.setdefault(normalise(source), (ids(source), target))
        self.references = sorted(first.values(), key=lambda pair: -len(pair[0]))
        torch.manual_seed(self.training["seed"])
        model = dict(self.config["model"])
        self.model = MODELS[model["type"]](model, len(tokenizer), self.training["dropout"], arguments.eager)
        self.optimiser = torch.optim.Adam(self.model.parameters(), betas=(0.9, 0.98), eps=1e-9, fused=True)
        self.progress = {"update": 0, "epoch": 0, "batch": 0, "tokens": 0, "seconds": 0.0, "cpu_seconds": 0.0, "validation_seconds": 0.0}
        self.checkpoint = out / "checkpoint.pt"
        out.mkdir(parents=True, exist_ok=True)
        lines = []
        if self.checkpoint.exists():
            saved = torch.load(self.checkpoint)
            self.model.load_state_dict(saved["model"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.progress = saved["progress"]
            torch.set_rng_state(saved["random"])
            lines = [line for line in (out / "metrics.jsonl").read_text().splitlines() if json.loads(line)["update"] <= self.progress["update"]]
        (out / "metrics.jsonl").write_text("".join(line + "\n" for line in lines))
        parameters = sum(p.numel() for p in self.model.parameters())
        print(f"{out.name}: {parameters} weights, {len(self.pairs)} pairs, from update {self.progress['update']}", flush=True)

    def spent(self):
        """Seconds on the clock that limits the run."""
        p = self.progress
        return p["cpu_seconds"] / torch.get_num_threads() if self.arguments.clock == "cpu" else p["seconds"]

    def share(self):
        if self.minutes:
            return self.spent() / (60 * self.minutes)
        return self.progress["update"] / self.training["updates"]

    def learning_rate(self):
        """heedful's schedules: up to the peak over the warm-up, then straight to zero at the end of the run, or with one over the root."""
        update, warmup, schedule = self.progress["update"], self.training["warmup"], self.training["schedule"]
        if schedule == "constant":
            factor = 1
        elif update <= warmup:
            factor = update / warmup
        elif schedule == "inverse_sqrt":
            factor = math.sqrt(max(warmup, 1) / update)
        elif self.minutes:
            warm = self.progress.setdefault("warm", self.share())  # how much of the run the warm-up took
            factor = (1 - self.share()) / (1 - warm)
        else:
            factor = (self.training["updates"] - update) / (self.training["updates"] - warmup)
        return self.training["learning_rate"] * max(factor, 0.0)

    def update(self, batch):
        c, p = self.training, self.progress
        p["update"] += 1
        sources, targets = ([self.pairs[i][side] for i in batch] for side in (0, 1))
        self.model.train()
        labels = torch.tensor([i for t in targets for i in t])
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate()
        self.optimiser.zero_grad()
        scores = self.model(sources, targets)
        loss = F.cross_entropy(scores, labels, label_smoothing=c["label_smoothing"])
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), c["clip"]) if c["clip"] else torch.zeros(())
        self.optimiser.step()
        p["tokens"] += len(labels)
        return loss.item(), float(norm), len(labels)

    @torch.inference_mode()
    def validate(self):
        self.model.eval()
        nll = tokens = 0
        for start in range(0, len(self.held_out), 64):
            sources, targets = zip(*self.held_out[start:start + 64])
            labels = torch.tensor([i for t in targets for i in t])
            nll += F.cross_entropy(self.model(sources, targets), labels, reduction="sum").item()
            tokens += len(labels)
        found, d = [], self.config["decoding"]
        for start in range(0, len(self.references), 64):
            sources = [source for source, _ in self.references[start:start + 64]]
            limits = [int(d["max_length_factor"] * len(s)) + d["max_length_constant"] for s in sources]
            found += [self.tokenizer.decode(ids) for ids in self.model.greedy(sources, limits)]
        references = [[reference for _, reference in self.references]]
        return {"loss": nll / tokens, "bleu": sacrebleu.corpus_bleu(found, references).score, "chrf": sacrebleu.corpus_chrf(found, references).score}

    def append(self, **values):
        with open(self.out / "metrics.jsonl", "a") as f:
            f.write(json.dumps(values) + "\n")

    def run(self):
        p, c = self.progress, self.training
        lengths = [(len(a), len(b)) for a, b in self.pairs]
        every, every_minutes = self.arguments.validate_every or c["validate_every"], c.get("validate_minutes", 0)
        order = batches(lengths, c["batch_tokens"], f"{c['seed']} {p['epoch']}")
        while self.share() < 1:
            if p["batch"] == len(order):
                p["epoch"], p["batch"] = p["epoch"] + 1, 0
                order = batches(lengths, c["batch_tokens"], f"{c['seed']} {p['epoch']}")
            start, cpu = time.perf_counter(), time.process_time()
            loss, norm, tokens = self.update(order[p["batch"]])
            p["batch"] += 1
            seconds = time.perf_counter() - start
            p["seconds"] += seconds
            p["cpu_seconds"] += time.process_time() - cpu
            if p["update"] % 10 == 0:
                self.append(update=p["update"], epoch=p["epoch"], seconds=p["seconds"], cpu_seconds=p["cpu_seconds"], loss=loss,
                            tokens_per_second=tokens / seconds, learning_rate=self.optimiser.param_groups[0]["lr"], gradient_norm=norm)
            due = p["update"] % every == 0 if every else self.spent() - p.get("validated_at", 0) >= 60 * every_minutes
            if due or self.share() >= 1:
                start, cpu = time.perf_counter(), time.process_time()
                report = self.validate()
                p["seconds"] += time.perf_counter() - start
                p["validation_seconds"] += time.perf_counter() - start
                p["cpu_seconds"] += time.process_time() - cpu
                p["validated_at"] = self.spent()
                self.append(update=p["update"], epoch=p["epoch"], seconds=p["seconds"], cpu_seconds=p["cpu_seconds"],
                            validation_seconds=p["validation_seconds"], tokens=p["tokens"], validation=report)
                print(f"{self.out.name}: update {p['update']}  {p['seconds'] / 60:.1f} min (CPU {p['cpu_seconds'] / 60:.1f})  "
                      f"{p['tokens'] / (p['seconds'] - p['validation_seconds']):.0f} tokens/s  loss {report['loss']:.3f}  BLEU {report['bleu']:.2f}", flush=True)
                state = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(), "progress": p, "random": torch.get_rng_state()}
                torch.save(state, self.checkpoint.with_suffix(".part"))
                os.replace(self.checkpoint.with_suffix(".part"), self.checkpoint)
        print(f"{self.out.name}: done, peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("runs", type=Path, nargs="+")
    arguments.add_argument("--minutes", type=float, default=0, help="how long each run is; without, as long as heedful's")
    arguments.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: minutes are CPU minutes over threads")
    arguments.add_argument("--validate-every", type=int, default=0, help="updates; without, heedful's")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--eager", action="store_true", help="attention spelt out, in place of scaled_dot_product_attention")
    a = arguments.parse_args()
    torch.set_num_threads(a.threads)
    for folder in a.runs:
        Run(folder, a.out / folder.resolve().name, a).run()


if __name__ == "__main__":
    main()
