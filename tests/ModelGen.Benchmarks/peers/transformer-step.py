"""A Transformer of the base model's width with one encoder and one decoder layer, vocabularies of 1,000, no dropout, training step, batch 8, 64 tokens on either side."""

import math

import torch
from torch import nn
from torch.nn import functional as F

import common

WIDTH, HEADS, FEED_FORWARD, VOCABULARY, BATCH, LENGTH = 512, 8, 2048, 1000, 8, 64


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.source, self.target = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(VOCABULARY, WIDTH)
        self.encoder = nn.TransformerEncoderLayer(WIDTH, HEADS, FEED_FORWARD, dropout=0, batch_first=True)
        self.decoder = nn.TransformerDecoderLayer(WIDTH, HEADS, FEED_FORWARD, dropout=0, batch_first=True)
        self.head = nn.Linear(WIDTH, VOCABULARY)
        angles = torch.arange(LENGTH)[:, None] * torch.exp(torch.arange(0, WIDTH, 2) * (-math.log(10000) / WIDTH))
        self.positions = torch.stack([angles.sin(), angles.cos()], dim=-1).view(LENGTH, WIDTH)
        self.causal = nn.Transformer.generate_square_subsequent_mask(LENGTH)

    def forward(self, source, tokens):
        memory = self.encoder(self.source(source) * math.sqrt(WIDTH) + self.positions)
        x = self.target(tokens[:, :-1]) * math.sqrt(WIDTH) + self.positions
        x = self.decoder(x, memory, tgt_mask=self.causal, tgt_is_causal=True)
        return F.cross_entropy(self.head(x).view(-1, VOCABULARY), tokens[:, 1:].reshape(-1))


options = common.arguments("transformer-step", repeats=5, seconds=0.2)
torch.manual_seed(1)
for threads in options.thread_counts:
    torch.set_num_threads(threads)
    model = Transformer()
    source = (torch.arange(BATCH * LENGTH) * 7919 % VOCABULARY).view(BATCH, LENGTH)
    tokens = (torch.arange(BATCH * (LENGTH + 1)) * 7919 % VOCABULARY).view(BATCH, LENGTH + 1)
    operation = common.step(model, common.adamw(model.parameters()), source, tokens)
    common.report(options, threads, common.measure(options, operation), tokens=BATCH * LENGTH)
