"""Training steps in PyTorch, f32 on the CPU: the peer of `cargo bench -p heedful-translate --bench train_step`.

    python train_step.py THREADS gru|transformer [STEPS]

Forward, backward and Adam on random tokens, without dropout. Prints milliseconds by the clock and of processor time of each step after the
first, a step a line, and then the peak of the process's memory in MiB.
"""

import resource
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

VOCABULARY, DIM = 8000, 256


class GruWithAttention(nn.Module):
    """Bahdanau's model: a bidirectional encoder, additive attention before each step of the decoder, one hidden layer before the output."""

    def __init__(self):
        super().__init__()
        self.source, self.target = nn.Embedding(VOCABULARY, DIM), nn.Embedding(VOCABULARY, DIM)
        self.encoder = nn.GRU(DIM, DIM, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(2 * DIM, DIM)
        self.query, self.key = nn.Linear(DIM, DIM, bias=False), nn.Linear(2 * DIM, DIM)
        self.energy = nn.Linear(DIM, 1, bias=False)
        self.cell = nn.GRUCell(3 * DIM, DIM)
        self.readout, self.output = nn.Linear(4 * DIM, DIM), nn.Linear(DIM, VOCABULARY)

    def forward(self, source, target):
        memory, last = self.encoder(self.source(source))
        state = torch.tanh(self.bridge(last.transpose(0, 1).flatten(1)))
        keys, embedded = self.key(memory), self.target(target)
        rows = []
        for token in embedded.unbind(1):
            scores = self.energy(torch.tanh(self.query(state)[:, None] + keys))
            context = (scores.softmax(1).transpose(1, 2) @ memory)[:, 0]
            state = self.cell(torch.cat([token, context], -1), state)
            rows.append(torch.cat([state, context, token], -1))
        return self.output(torch.tanh(self.readout(torch.stack(rows, 1))))


class Attention(nn.Module):
    def __init__(self, heads=4):
        super().__init__()
        self.heads = heads
        self.query, self.key_value, self.out = nn.Linear(DIM, DIM), nn.Linear(DIM, 2 * DIM), nn.Linear(DIM, DIM)

    def forward(self, x, memory, causal=False):
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (self.query(x), *self.key_value(memory).chunk(2, -1)))
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """A pre-norm layer; with `cross`, one of the decoder."""

    def __init__(self, cross, inner=1024):
        super().__init__()
        self.cross = Attention() if cross else None
        self.attention, self.feed_forward = Attention(), nn.Sequential(nn.Linear(DIM, inner), nn.ReLU(), nn.Linear(inner, DIM))
        self.norms = nn.ModuleList(nn.LayerNorm(DIM) for _ in range(2 + cross))

    def forward(self, x, memory=None):
        y = self.norms[0](x)
        x = x + self.attention(y, y, causal=self.cross is not None)
        if self.cross is not None:
            x = x + self.cross(self.norms[2](x), memory)
        return x + self.feed_forward(self.norms[1](x))


class Transformer(nn.Module):
    """3 + 3 layers, one table for source, target and output."""

    def __init__(self, length=32):
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, DIM)
        self.register_buffer("positions", torch.randn(length, DIM))
        self.encoder, self.decoder = (nn.ModuleList(Layer(cross) for _ in range(3)) for cross in (False, True))
        self.norms = nn.ModuleList(nn.LayerNorm(DIM) for _ in range(2))

    def forward(self, source, target):
        x, y = (self.table(tokens) * DIM**0.5 + self.positions for tokens in (source, target))
        for layer in self.encoder:
            x = layer(x)
        x = self.norms[0](x)
        for layer in self.decoder:
            y = layer(y, x)
        return F.linear(self.norms[1](y), self.table.weight)


def main(threads, name, steps=5):
    torch.set_num_threads(int(threads))
    torch.manual_seed(1)
    model, shape = (GruWithAttention(), (64, 15)) if name == "gru" else (Transformer(), (128, 32))
    adam = torch.optim.Adam(model.parameters(), lr=3e-4)
    source, target, labels = torch.randint(VOCABULARY, (3, *shape))
    for step in range(int(steps) + 1):
        start, cpu = time.perf_counter(), time.process_time()
        adam.zero_grad()
        F.cross_entropy(model(source, target).flatten(0, 1), labels.flatten()).backward()
        adam.step()
        if step > 0:
            print((time.perf_counter() - start) * 1e3, (time.process_time() - cpu) * 1e3)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


main(*sys.argv[1:])
