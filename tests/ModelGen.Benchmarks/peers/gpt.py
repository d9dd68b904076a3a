"""GPT-2 as an efficient eager program: one product for queries, keys and values, and nothing between operators."""

import math

import torch
from torch import nn
from torch.nn import functional as F

import common


class Block(nn.Module):
    def __init__(self, width, heads, length):
        super().__init__()
        self.heads = heads
        self.ln_1 = nn.LayerNorm(width)
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)
        self.ln_2 = nn.LayerNorm(width)
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_mlp = nn.Linear(4 * width, width)
        self.register_buffer("mask", torch.ones(length, length, dtype=torch.bool).triu(1), persistent=False)

    def forward(self, x):
        x = x + self.c_proj(attention(self.c_attn(self.ln_1(x)), self.heads, self.mask))
        return x + self.c_mlp(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


def attention(qkv, heads, mask):
    """Causal attention over queries, keys and values that lie side by side: batch × length × 3 width."""
    batch, length, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    q, k, v = (part.view(batch, length, heads, width // heads).transpose(1, 2) for part in qkv.split(width, dim=2))
    scores = (q * (1 / math.sqrt(width // heads))) @ k.transpose(-2, -1)
    probabilities = F.softmax(scores.masked_fill(mask, float("-inf")), dim=-1)
    return (probabilities @ v).transpose(1, 2).reshape(batch, length, width)


class Gpt(nn.Module):
    def __init__(self, layers, width, heads, vocabulary, context, length):
        super().__init__()
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Embedding(context, width)
        self.blocks = nn.ModuleList([Block(width, heads, length) for _ in range(layers)])
        self.ln_f = nn.LayerNorm(width)
        self.register_buffer("positions", torch.arange(length), persistent=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe(self.positions)
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


def run(row, repeats, seconds, layers, width, heads, vocabulary, context, batch, length):
    options = common.arguments(row, repeats, seconds)
    torch.manual_seed(1)
    for threads in options.thread_counts:
        torch.set_num_threads(threads)
        model = Gpt(layers, width, heads, vocabulary, context, length)
        tokens = (torch.arange(batch * length + 1) * 7919 % vocabulary)
        inputs, targets = tokens[:-1].view(batch, length), tokens[1:].view(batch, length)
        operation = common.step(model, common.adamw(model.parameters()), inputs, targets)
        common.report(options, threads, common.measure(options, operation), tokens=batch * length)
