#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A SASRec-like model trained in PyTorch and served by wirerankd.

    wirerank_sasrec.py DATA MODEL.safetensors [--epochs=N] [--d=64] [--blocks=2] [--heads=2] [--window=50] [--ffn=128] [--seed=1]
    wrtrain import-model --data=DATA --out=RUN MODEL.safetensors
    wrtrain pack --data=DATA --run=RUN --out=MODEL.wrb

Like SASRec (Kang, McAuley 2018): an item embedding with a padding row, causal self-attention blocks with residuals, a point-wise
feed-forward with ReLU, the next click as the target. Unlike it, because a server that keeps keys and values of a sliding window must
not depend on absolute positions: attention sees the last `window` clicks with a learned bias by age, norms are RMSNorm in front of each
layer, nothing has a bias, logits are scaled cosines (docs/model.md). What `export` writes is what `wrtrain import-model` reads:

    item_emb.weight [n_items + 1][d], row r = item id r, row 0 padding     norm.weight [d]     logit_scale [1]
    blocks.B.norm1.weight, blocks.B.norm2.weight [d]                       blocks.B.attn.age_bias [heads][window]
    blocks.B.attn.in_proj_weight [(heads + 2 key heads) · head_dim][d]     blocks.B.attn.out_proj.weight [d][d]
    blocks.B.ffn.fc1.weight [ffn][d]                                       blocks.B.ffn.fc2.weight [d][ffn]"""

import math
import os
import sys

import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from wirerank_student import write_safetensors  # noqa: E402


class RMSNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


class WindowAttention(nn.Module):
    """nn.MultiheadAttention's parameters without biases, and a bias by age in place of positions."""

    def __init__(self, d, heads, window):
        super().__init__()
        self.heads, self.window = heads, window
        self.in_proj_weight = nn.Parameter(torch.empty(3 * d, d))
        self.out_proj = nn.Linear(d, d, bias=False)
        self.age_bias = nn.Parameter(torch.zeros(heads, window))
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (y.view(b, t, self.heads, d // self.heads).transpose(1, 2) for y in F.linear(x, self.in_proj_weight).chunk(3, -1))
        age = torch.arange(t)[:, None] - torch.arange(t)
        bias = self.age_bias[:, age.clamp(0, self.window - 1)].masked_fill((age < 0) | (age >= self.window), -math.inf)
        return self.out_proj(F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).reshape(b, t, d))


class FeedForward(nn.Module):
    def __init__(self, d, ffn):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(d, ffn, bias=False), nn.Linear(ffn, d, bias=False)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, d, heads, window, ffn, dropout):
        super().__init__()
        self.norm1, self.norm2, self.dropout = RMSNorm(d), RMSNorm(d), nn.Dropout(dropout)
        self.attn, self.ffn = WindowAttention(d, heads, window), FeedForward(d, ffn)

    def forward(self, x):
        x = x + self.dropout(self.attn(self.norm1(x)))
        return x + self.dropout(self.ffn(self.norm2(x)))


class SASRecLike(nn.Module):
    def __init__(self, n_items, d=64, blocks=2, heads=2, window=50, ffn=128, dropout=0.2):
        super().__init__()
        self.item_emb = nn.Embedding(n_items + 1, d, padding_idx=0)
        self.blocks = nn.ModuleList(Block(d, heads, window, ffn, dropout) for _ in range(blocks))
        self.norm, self.dropout, self.logit_scale = RMSNorm(d), nn.Dropout(dropout), nn.Parameter(torch.tensor([20.0]))
        nn.init.normal_(self.item_emb.weight, std=0.02)

    def forward(self, ids):
        """ids [B, T] of items, 0 = padding behind the end; logits [B, T, n_items] of the next one, column r = id r + 1."""
        x = self.dropout(self.item_emb(ids) * math.sqrt(self.item_emb.embedding_dim))
        for block in self.blocks:
            x = block(x)
        return self.logit_scale * F.linear(F.normalize(self.norm(x), dim=-1), F.normalize(self.item_emb.weight[1:], dim=-1))


def export(model, path):
    """The file that `wrtrain import-model` reads."""
    write_safetensors(path, {name: w.detach().float().cpu() for name, w in model.state_dict().items()}, {"format": "pt"})


def read_clicks(data):
    """Items' number, and every user's clicks (ids, oldest first) of a data set of wrtrain import or simulate."""
    with open(os.path.join(data, "items.tsv"), encoding="utf-8") as f:
        n_items = sum(not line.startswith("#") for line in f)
    users = {}
    with open(os.path.join(data, "interactions.tsv"), encoding="utf-8") as f:
        for line in f:
            if not line.startswith("#"):
                user, item, kind, _ = line.rstrip("\n").split("\t")
                if kind == "click":
                    users.setdefault(user, []).append(int(item))
    return n_items, list(users.values())


def train(model, users, epochs, batch=32, length=100, seed=1):
    """Cross-entropy of every next click but the two that validation and test hold out."""
    torch.manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.9, 0.98))
    sequences = [u[:-2][-length - 1:] for u in users if len(u) >= 4]
    for epoch in range(epochs):
        model.train()
        total = count = 0
        order = torch.randperm(len(sequences))
        for at in range(0, len(order), batch):
            part = [sequences[i] for i in order[at:at + batch]]
            longest = max(map(len, part))
            ids = torch.tensor([s + [0] * (longest - len(s)) for s in part])
            target = ids[:, 1:]
            loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), (target - 1).flatten(), ignore_index=-1, reduction="sum")
            n = int((target > 0).sum())
            optimiser.zero_grad()
            (loss / n).backward()
            optimiser.step()
            total, count = total + loss.item(), count + n
        print(f"epoch {epoch + 1}/{epochs}: loss {total / count:.4f}", file=sys.stderr)
    model.eval()


def main():
    words = [a for a in sys.argv[1:] if not a.startswith("--")]
    options = {"epochs": 10, "seed": 1, "d": 64, "blocks": 2, "heads": 2, "window": 50, "ffn": 128}
    for a in sys.argv[1:]:
        if a.startswith("--"):
            key, _, value = a[2:].partition("=")
            if key not in options:
                sys.exit(f"unknown option {a}")
            options[key] = int(value)
    if len(words) != 2:
        sys.exit(__doc__)
    epochs, seed = options.pop("epochs"), options.pop("seed")
    torch.manual_seed(seed)
    n_items, users = read_clicks(words[0])
    model = SASRecLike(n_items, **options)
    train(model, users, epochs, seed=seed)
    export(model, words[1])


if __name__ == "__main__":
    main()
