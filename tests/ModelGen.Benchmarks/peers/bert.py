"""BERT's encoder (Devlin et al. 2019) as PyTorch programs have it, and the weight files that `ModelGen.Benchmarks export` writes."""

import json
import math
import struct

import torch
from torch import nn
from torch.nn import functional as F


class Layer(nn.Module):
    def __init__(self, width, heads, feed_forward, epsilon):
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.query, self.key, self.value, self.attended = (nn.Linear(width, width) for _ in range(4))
        self.attended_norm = nn.LayerNorm(width, eps=epsilon)
        self.intermediate, self.output = nn.Linear(width, feed_forward), nn.Linear(feed_forward, width)
        self.output_norm = nn.LayerNorm(width, eps=epsilon)

    def split(self, x):
        return x.view(x.size()[:-1] + (self.heads, self.size)).permute(0, 2, 1, 3)

    def forward(self, x, mask):
        query, key, value = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(self.size) + mask
        context = torch.matmul(F.softmax(scores, dim=-1), value).permute(0, 2, 1, 3).contiguous()
        x = self.attended_norm(self.attended(context.view(context.size()[:-2] + (self.heads * self.size,))) + x)
        return self.output_norm(self.output(F.gelu(self.intermediate(x))) + x)


class Encoder(nn.Module):
    def __init__(self, layers, width, heads, feed_forward, vocabulary, context, segments, epsilon):
        super().__init__()
        self.words, self.positions, self.types = nn.Embedding(vocabulary, width), nn.Embedding(context, width), nn.Embedding(segments, width)
        self.norm = nn.LayerNorm(width, eps=epsilon)
        self.layers = nn.ModuleList([Layer(width, heads, feed_forward, epsilon) for _ in range(layers)])
        self.register_buffer("position_ids", torch.arange(context)[None], persistent=False)

    def forward(self, input_ids, attention_mask, token_type_ids):
        mask = (1.0 - attention_mask[:, None, None, :].to(torch.float32)) * torch.finfo(torch.float32).min
        x = self.words(input_ids) + self.types(token_type_ids) + self.positions(self.position_ids[:, : input_ids.size(1)])
        x = self.norm(x)
        for layer in self.layers:
            x = layer(x, mask)
        return x


def load(path):
    """The encoder of a weight file, whose tensors have their names of the Hugging Face layout."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name.removeprefix("bert.")] = torch.frombuffer(bytearray(data[begin:end]), dtype=torch.float32).reshape(entry["shape"])

    def option(name):
        return metadata["modelgen.declaration." + name]

    model = Encoder(*(int(option(n)) for n in ("Layers", "DModel", "Heads", "FeedForward", "Vocab", "Context", "Segments")), float(option("LayerNormEpsilon")))
    names = {"words": "embeddings.word_embeddings", "positions": "embeddings.position_embeddings", "types": "embeddings.token_type_embeddings", "norm": "embeddings.LayerNorm"}
    for index in range(len(model.layers)):
        for ours, theirs in {
            "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value", "attended": "attention.output.dense", "attended_norm": "attention.output.LayerNorm",
            "intermediate": "intermediate.dense", "output": "output.dense", "output_norm": "output.LayerNorm",
        }.items():
            names[f"layers.{index}.{ours}"] = f"encoder.layer.{index}.{theirs}"
    model.load_state_dict({f"{ours}.{part}": tensors[f"{theirs}.{part}"] for ours, theirs in names.items() for part in ("weight", "bias") if f"{theirs}.{part}" in tensors})
    return model.eval()


def sentence(length=128, vocabulary=30522):
    """The tokens that the measured program reads, its mask and its segments."""
    tokens = (torch.arange(length) * 7919 % vocabulary)[None]
    return tokens, torch.ones_like(tokens), torch.zeros_like(tokens)
