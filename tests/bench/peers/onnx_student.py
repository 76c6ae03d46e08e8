# SPDX-License-Identifier: BSD-3-Clause
"""The student of docs/model.md as ONNX graphs that ONNX Runtime runs fast: fixed shapes, gains folded into the matrices behind
them, √d into the embedding, 1/√head_dim into the queries, τ and the items' lengths into the item matrix. The user vector's own
length is left out: it changes no order. Nothing is computed that the answer does not need."""

import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

TOP = 10
OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]


class Graph:
    """Nodes and constants; every method returns the name of its output."""

    def __init__(self):
        self.nodes, self.constants, self.inputs, self.n = [], {}, [], 0

    def constant(self, array):
        self.n += 1
        name = f"c{self.n}"
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def ints(self, *values):
        return self.constant(np.array(values, dtype=np.int64))

    def input(self, name, kind, shape):
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def op(self, kind, *inputs, outputs=1, **attributes):
        self.n += 1
        names = [f"t{self.n}" if outputs == 1 else f"t{self.n}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def model(self, outputs):
        """outputs: {name: (tensor, type, shape)}."""
        ends = []
        for name, (tensor, kind, shape) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [tensor], [name]))
            ends.append(helper.make_tensor_value_info(name, kind, shape))
        graph = helper.make_graph(self.nodes, "student", self.inputs, ends, list(self.constants.values()))
        model = helper.make_model(graph, opset_imports=OPSETS, ir_version=9)
        return model


class Weights:
    """The student's arrays, folded as the head of this file says."""

    def __init__(self, student):
        w = {name: t.detach().numpy() for name, t in student.state_dict().items()}
        p = self.shape = student.shape
        if p["n_kv_heads"] != p["n_heads"]:
            raise ValueError("the reference student has as many key heads as query heads")
        self.d, self.heads, self.head_dim = p["d"], p["n_heads"], p["d"] // p["n_heads"]
        self.window, self.n_blocks, self.n_items = p["window"], p["n_blocks"], p["n_items"]
        embedding = w["item.embedding"]
        self.embedding = embedding * math.sqrt(self.d)
        unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
        self.items = (unit * w["final.gain"] * w["logit.scale"][0]).T
        self.bias = [w[f"block.{b}.age.bias"] for b in range(self.n_blocks)]
        self.block = []
        for b in range(self.n_blocks):
            norm1, norm2 = w[f"block.{b}.norm1.gain"], w[f"block.{b}.norm2.gain"]
            qkv = w[f"block.{b}.qkv.weight"] * norm1
            qkv[: self.d] /= math.sqrt(self.head_dim)
            self.block.append({"q": qkv[: self.d].T, "kv": qkv[self.d:].T, "qkv": qkv.T, "out": w[f"block.{b}.out.weight"].T,
                               "up": (w[f"block.{b}.up.weight"] * norm2).T, "down": w[f"block.{b}.down.weight"].T})


def norm(g, x, w):
    one = g.constant(np.ones(w.d, dtype=np.float32))
    return g.op("SimplifiedLayerNormalization", x, one, axis=-1, epsilon=1e-6)


def feed_forward(g, x, block, w):
    up = g.op("Relu", g.op("MatMul", norm(g, x, w), g.constant(block["up"])))
    return g.op("Add", x, g.op("MatMul", up, g.constant(block["down"])))


def answer(g, u, seen, w, batch):
    """The TOP best items that are not seen."""
    scores = g.op("MatMul", u, g.constant(w.items))
    n_seen = seen[1]
    never = g.constant(np.full((batch, n_seen), -np.inf, dtype=np.float32))
    scores = g.op("ScatterElements", scores, seen[0], never, axis=1)
    return g.op("TopK", scores, g.ints(TOP), outputs=2, axis=-1, largest=1, sorted=1)[1]


def heads_first(g, x, t, w, batch, parts):
    """[B, T, parts · d] as parts times [B, H, T, head_dim]."""
    x = g.op("Reshape", x, g.ints(batch, t, parts, w.heads, w.head_dim))
    x = g.op("Transpose", x, perm=[2, 0, 3, 1, 4])
    if parts == 1:
        return [g.op("Squeeze", x, g.ints(0))]
    return [g.op("Squeeze", p, g.ints(0)) for p in g.op("Split", x, outputs=parts, axis=0)]


def cold(w, batch, clicks, fused):
    """rows [B, clicks] → top [B, TOP]; what was clicked is seen. fused: ONNX Runtime's own attention operator."""
    g = Graph()
    rows = g.input("rows", TensorProto.INT64, [batch, clicks])
    x = g.op("Gather", g.constant(w.embedding), rows, axis=0)
    where = np.arange(clicks)
    age = where[:, None] - where
    masked = (age < 0) | (age >= w.window)
    for b, block in enumerate(w.block):
        last = b + 1 == w.n_blocks
        bias = np.where(masked, -1e4, w.bias[b][:, np.clip(age, 0, w.window - 1)]).astype(np.float32)[None]
        n, t = norm(g, x, w), clicks
        if last:
            end = g.ints(clicks - 1)
            x, nq = g.op("Gather", x, end, axis=1), g.op("Gather", n, end, axis=1)
            bias, t = np.ascontiguousarray(bias[:, :, -1:]), 1
            q = g.op("MatMul", nq, g.constant(block["q"]))
            kv = g.op("MatMul", n, g.constant(block["kv"]))
            if fused:
                k, v = g.op("Split", kv, outputs=2, axis=-1)
            else:
                (q,), (k, v) = heads_first(g, q, 1, w, batch, 1), heads_first(g, kv, clicks, w, batch, 2)
        else:
            qkv = g.op("MatMul", n, g.constant(block["qkv"]))
            q, k, v = g.op("Split", qkv, outputs=3, axis=-1) if fused else heads_first(g, qkv, clicks, w, batch, 3)
        if fused:
            o = g.op("MultiHeadAttention", q, k, v, "", "", g.constant(bias), domain="com.microsoft", num_heads=w.heads, scale=1.0)
        else:
            s = g.op("Add", g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2])), g.constant(bias))
            o = g.op("MatMul", g.op("Softmax", s, axis=-1), v)
            o = g.op("Reshape", g.op("Transpose", o, perm=[0, 2, 1, 3]), g.ints(batch, t, w.d))
        x = g.op("Add", x, g.op("MatMul", o, g.constant(block["out"])))
        x = feed_forward(g, x, block, w)
    top = answer(g, g.op("Squeeze", x, g.ints(1)), (rows, clicks), w, batch)
    return g.model({"top": (top, TensorProto.INT64, [batch, TOP])})


def warm(w, batch, n_seen, fused):
    """One new click a user: rows [B], keys and values of each block [B, H, window - 1, head_dim] in a ring whose oldest row is in
    slot oldest [B], seen [B, n_seen] → top [B, TOP], and the new key and value of each block, which the caller stores. fused:
    keys come transposed, [B, H, head_dim, window - 1]."""
    g, slots = Graph(), w.window - 1
    row = g.input("row", TensorProto.INT64, [batch])
    oldest = g.input("oldest", TensorProto.INT64, [batch])
    seen = g.input("seen", TensorProto.INT64, [batch, n_seen])
    x = g.op("Gather", g.constant(w.embedding), row, axis=0)
    age = slots - (np.arange(slots) - np.arange(slots)[:, None]) % slots
    ends = {}
    for b, block in enumerate(w.block):
        key_shape = [batch, w.heads, w.head_dim, slots] if fused else [batch, w.heads, slots, w.head_dim]
        keys = g.input(f"keys{b}", TensorProto.FLOAT, key_shape)
        values = g.input(f"values{b}", TensorProto.FLOAT, [batch, w.heads, slots, w.head_dim])
        table = np.ascontiguousarray(w.bias[b][:, age].transpose(1, 0, 2))[:, :, None]  # [oldest][H][1][slots]
        bias = g.op("Gather", g.constant(table), oldest, axis=0)
        qkv = g.op("MatMul", norm(g, x, w), g.constant(block["qkv"]))
        q, k, v = g.op("Split", g.op("Reshape", qkv, g.ints(batch, 3 * w.heads, 1, w.head_dim)), outputs=3, axis=1)
        old = g.op("MatMul", q, keys if fused else g.op("Transpose", keys, perm=[0, 1, 3, 2]))
        new = g.op("ReduceSum", g.op("Mul", q, k), g.ints(3), keepdims=1)
        newest = g.constant(w.bias[b][None, :, :1, None])
        s = g.op("Concat", g.op("Add", old, bias), g.op("Add", new, newest), axis=-1)
        p_old, p_new = g.op("Split", g.op("Softmax", s, axis=-1), g.ints(slots, 1), outputs=2, axis=-1)
        o = g.op("Add", g.op("MatMul", p_old, values), g.op("Mul", p_new, v))
        x = g.op("Add", x, g.op("MatMul", g.op("Reshape", o, g.ints(batch, w.d)), g.constant(block["out"])))
        x = feed_forward(g, x, block, w)
        ends[f"key{b}"] = (k, TensorProto.FLOAT, [batch, w.heads, 1, w.head_dim])
        ends[f"value{b}"] = (v, TensorProto.FLOAT, [batch, w.heads, 1, w.head_dim])
    top = answer(g, x, (seen, n_seen), w, batch)
    return g.model({"top": (top, TensorProto.INT64, [batch, TOP]), **ends})


def save(model, path):
    onnx.save(model, path)
    return path


def quantised(path, per_channel, scores_only, n_items):
    """The file beside it with dynamic int8 products (all with a constant matrix, or that of the scores alone)."""
    out = path.replace(".onnx", f"-int8{'-channel' if per_channel else ''}{'-scores' if scores_only else ''}.onnx")
    nodes = None
    if scores_only:
        model = onnx.load(path)
        wide = {c.name for c in model.graph.initializer if list(c.dims)[-1:] == [n_items]}
        for i, node in enumerate(model.graph.node):
            node.name = f"n{i}"
        onnx.save(model, path)
        nodes = [n.name for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in wide]
    quantize_dynamic(path, out, op_types_to_quantize=["MatMul"], per_channel=per_channel, weight_type=QuantType.QInt8,
                     nodes_to_quantize=nodes, extra_options={"MatMulConstBOnly": True, "DefaultTensorType": TensorProto.FLOAT})
    return out
