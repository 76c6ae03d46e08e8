# SPDX-License-Identifier: BSD-3-Clause
"""The student of docs/model.md as a PyTorch module. Its state_dict has the names and shapes of docs/learning.md, "Files of a
run", so that a checkpoint of `wrtrain fit` loads here and one that was trained here is packed by `wrtrain pack`.

    from wirerank_student import Student
    s = Student.load("out/run-ml-1m/best.safetensors")
    u = s(rows)                         # rows [B, T]: item ids - 1, oldest first; the user vectors of the last positions
    scores = s.logits(u)                # [B, n_items]
    top = s.top(scores, seen=rows)      # the 10 best that were not seen
    s.save("RUN/best.safetensors")

Needs torch and nothing else: a safetensors file is a JSON header and raw little-endian floats. Training: `hidden` gives all
positions, and cross-entropy over `logits` is the loss of docs/learning.md. Sequences of different lengths are padded behind
their end (nothing looks forward), and the positions that count are picked from what `hidden` returns."""

import ctypes
import json
import math
import struct

import torch
from torch import nn

SHAPE = ("n_items", "d", "n_blocks", "n_heads", "n_kv_heads", "window", "ffn")
NOT_SERVED = ("activation", "gated", "rotary", "context", "time_buckets", "age_keys")  # knobs that this module does not know
EPSILON = 1e-6


class Named(nn.Module):
    """One parameter under the name that the file gives it: Named(gain=…) below `norm1` is norm1.gain."""

    def __init__(self, **parameters):
        super().__init__()
        for name, shape in parameters.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))


def rms_norm(x, gain):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON) * gain


class Block(nn.Module):
    """Pre-norm attention over the last `window` positions with a learned bias by age, then relu(up), down."""

    def __init__(self, p):
        super().__init__()
        d, self.heads, self.kv_heads, self.window = p["d"], p["n_heads"], p["n_kv_heads"], p["window"]
        self.head_dim = d // self.heads
        self.norm1, self.norm2 = Named(gain=d), Named(gain=d)
        self.qkv = Named(weight=((self.heads + 2 * self.kv_heads) * self.head_dim, d))
        self.out = Named(weight=(d, d))
        self.age = Named(bias=(self.heads, self.window))
        self.up, self.down = Named(weight=(p["ffn"], d)), Named(weight=(d, p["ffn"]))

    def split(self, n, parts):
        """[B, T, parts · head_dim] as [B, parts, T, head_dim]."""
        return n.unflatten(-1, (parts, self.head_dim)).transpose(1, 2)

    def shared(self, x):
        """Key heads as often as query heads need them."""
        return x if self.kv_heads == self.heads else x.repeat_interleave(self.heads // self.kv_heads, 1)

    def queries_keys_values(self, x, last_only=False):
        """Queries (of the last position alone when last_only), keys and values by head."""
        n, q_rows = rms_norm(x, self.norm1.gain), self.heads * self.head_dim
        q = (n[:, -1:] if last_only else n) @ self.qkv.weight[:q_rows].T
        k, v = (n @ self.qkv.weight[q_rows:].T).chunk(2, -1)
        return self.split(q, self.heads), self.split(k, self.kv_heads), self.split(v, self.kv_heads)

    def finish(self, x, o):
        """What follows attention; o [B, heads, T, head_dim]."""
        x = x + o.transpose(1, 2).flatten(2) @ self.out.weight.T
        m = rms_norm(x, self.norm2.gain)
        return x + torch.relu(m @ self.up.weight.T) @ self.down.weight.T

    def forward(self, x, last_only=False):
        """(x behind the block, keys, values); only the last position of x when last_only."""
        t = x.shape[1]
        q, k, v = self.queries_keys_values(x, last_only)
        where = torch.arange(t, device=x.device)
        age = (where[-1:] if last_only else where)[:, None] - where
        bias = self.age.bias[:, age.clamp(0, self.window - 1)].masked_fill((age < 0) | (age >= self.window), -math.inf)
        p = torch.softmax(q @ self.shared(k).transpose(2, 3) / math.sqrt(self.head_dim) + bias, -1)
        return self.finish(x[:, -1:] if last_only else x, p @ self.shared(v)), k, v

    def step(self, x, keys, values, bias):
        """One new token behind cached ones: x [B, 1, d]; keys and values [B, kv_heads, slots, head_dim], bias
        [B, heads, 1, slots] of their ages (-inf: empty slot). (x behind the block, the new key, the new value.) The cache is
        only read: the caller puts the new rows where the oldest ones are."""
        q, k, v = self.queries_keys_values(x)
        scale = 1 / math.sqrt(self.head_dim)
        old = q @ self.shared(keys).transpose(2, 3) * scale + bias
        new = (q * self.shared(k)).sum(-1, keepdim=True) * scale + self.age.bias[:, :1, None]
        p = torch.softmax(torch.cat((old, new), -1), -1)
        slots = keys.shape[2]
        o = p[..., :slots] @ self.shared(values) + p[..., slots:] * self.shared(v)
        return self.finish(x, o), k, v


class Student(nn.Module):
    """shape: the seven knobs of SHAPE by name."""

    def __init__(self, **shape):
        super().__init__()
        self.shape = {name: int(shape[name]) for name in SHAPE}
        p = self.shape
        self.item = Named(embedding=(p["n_items"], p["d"]))
        self.block = nn.ModuleList(Block(p) for _ in range(p["n_blocks"]))
        self.final, self.logit = Named(gain=p["d"]), Named(scale=1)
        self.reset()

    def reset(self):
        """Where training starts: matrices by their width, gains 1, biases 0, logit scale 20."""
        for name, w in self.named_parameters():
            if name.endswith("gain"):
                nn.init.ones_(w)
            elif name.endswith(("weight", "embedding")):
                nn.init.normal_(w, std=w.shape[1] ** -0.5)
        nn.init.constant_(self.logit.scale, 20.0)

    @property
    def reach(self):
        """Clicks back that can matter to an answer."""
        return self.shape["n_blocks"] * (self.shape["window"] - 1) + 1

    def embed(self, rows):
        return nn.functional.embedding(rows, self.item.embedding) * math.sqrt(self.shape["d"])

    def hidden(self, rows):
        """User vectors behind every position, [B, T, d]."""
        x = self.embed(rows)
        for block in self.block:
            x, _, _ = block(x)
        return x * self.final.gain

    def forward(self, rows):
        """User vectors behind the last position, [B, d]; the last block runs for that position alone."""
        x = self.embed(rows)
        for i, block in enumerate(self.block):
            x, _, _ = block(x, last_only=i + 1 == len(self.block))
        return x[:, -1] * self.final.gain

    def cache(self, rows):
        """Keys and values of each block for the last window - 1 positions, oldest first: what `step` goes on from.
        [blocks, B, kv_heads, window - 1, head_dim] each; rows of at least window - 1 positions."""
        x, keys, values, slots = self.embed(rows), [], [], self.shape["window"] - 1
        for block in self.block:
            x, k, v = block(x)
            keys.append(k[:, :, -slots:])
            values.append(v[:, :, -slots:])
        return torch.stack(keys), torch.stack(values)

    def ring_bias(self):
        """[blocks, slots, heads, 1, slots]: biases of a ring's slots when slot s holds its oldest row, for every s."""
        slots = self.shape["window"] - 1
        oldest = torch.arange(slots)[:, None]
        age = slots - (torch.arange(slots) - oldest) % slots
        return torch.stack([block.age.bias[:, age].transpose(0, 1).unsqueeze(2) for block in self.block])

    def step(self, rows, keys, values, bias):
        """User vectors [B, d] after one new click each, rows [B]; keys, values as `cache` gives them (in any order of slots),
        bias [blocks, B, heads, 1, slots] of the slots' ages. Also the new keys and values, [blocks, B, kv_heads, head_dim]."""
        x, new_keys, new_values = self.embed(rows)[:, None], [], []
        for i, block in enumerate(self.block):
            x, k, v = block.step(x, keys[i], values[i], bias[i])
            new_keys.append(k[:, :, 0])
            new_values.append(v[:, :, 0])
        return x[:, 0] * self.final.gain, torch.stack(new_keys), torch.stack(new_values)

    def logits(self, u):
        """τ · cosine of user vectors and all items."""
        return self.logit.scale * (nn.functional.normalize(u, dim=-1) @ nn.functional.normalize(self.item.embedding, dim=-1).T)

    @staticmethod
    def top(scores, seen, k=10):
        """Rows of the k best items that are not in seen [B, n], best first."""
        return scores.scatter(-1, seen, -math.inf).topk(k).indices

    @classmethod
    def load(cls, path):
        """From a checkpoint; Adam's moments and means in it are left out. ValueError: a knob that this module has not."""
        tensors, metadata = read_safetensors(path)
        beyond = [k for k in NOT_SERVED if metadata.get(k, "0") != "0"]
        if beyond:
            raise ValueError(f"{path}: this module has no {', '.join(beyond)}")
        student = cls(**{name: metadata[name] for name in SHAPE})
        student.load_state_dict({name: tensors[name] for name in student.state_dict()})
        return student

    def save(self, path):
        """As `wrtrain pack` and `wrtrain eval --run` read it (a run's best.safetensors)."""
        metadata = {"format": "wirerank student 1", **{k: str(v) for k, v in self.shape.items()}}
        write_safetensors(path, {name: w.detach().float().cpu() for name, w in self.state_dict().items()}, metadata)


def read_safetensors(path):
    """({name: tensor}, metadata) of a file with F32 tensors."""
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        body = bytearray(f.read())
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, t in header.items():
        if t["dtype"] != "F32":
            raise ValueError(f"{path}: {name} is {t['dtype']}, not F32")
        begin, end = t["data_offsets"]
        flat = torch.frombuffer(body, dtype=torch.float32, count=(end - begin) // 4, offset=begin) if end > begin else torch.empty(0)
        tensors[name] = flat.reshape(t["shape"]).clone()
    return tensors, metadata


def write_safetensors(path, tensors, metadata):
    header, at = {"__metadata__": metadata}, 0
    for name, t in tensors.items():
        size = 4 * t.numel()
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            t = t.contiguous()
            f.write(ctypes.string_at(t.data_ptr(), 4 * t.numel()))
