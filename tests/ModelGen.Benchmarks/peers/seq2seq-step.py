"""A GRU encoder-decoder, hidden 512, vocabularies of 2,000, training step, batch 32, 30 tokens on either side: without attention, with dot and with additive attention."""

import torch
from torch import nn
from torch.nn import functional as F

import common

HIDDEN, VOCABULARY, BATCH, LENGTH = 512, 2000, 32, 30


class EncoderDecoder(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.source, self.target = nn.Embedding(VOCABULARY, HIDDEN), nn.Embedding(VOCABULARY, HIDDEN)
        self.encoder = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.decoder = nn.GRU(HIDDEN * (1 + (kind == "additive")), HIDDEN, batch_first=True)
        self.query, self.key = nn.Linear(HIDDEN, HIDDEN, bias=False), nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.energy = nn.Linear(HIDDEN, 1, bias=False)
        self.combine = nn.Linear(2 * HIDDEN, HIDDEN)
        self.head = nn.Linear(HIDDEN, VOCABULARY)

    def forward(self, source, tokens):
        rows, state = self.encoder(self.source(source))
        x = self.target(tokens[:, :-1])
        if self.kind == "additive":
            keys, hs, contexts = self.key(rows), [], []
            for t in range(LENGTH):
                scores = self.energy(torch.tanh(self.query(state[-1])[:, None] + keys))[..., 0]
                context = torch.bmm(F.softmax(scores, dim=-1)[:, None], rows)
                h, state = self.decoder(torch.cat([x[:, t:t + 1], context], dim=-1), state)
                hs.append(h)
                contexts.append(context)
            h, context = torch.cat(hs, dim=1), torch.cat(contexts, dim=1)
        else:
            h, _ = self.decoder(x, state)
            if self.kind == "dot":
                context = F.softmax(h @ rows.transpose(1, 2), dim=-1) @ rows
        if self.kind != "none":
            h = torch.tanh(self.combine(torch.cat([context, h], dim=-1)))
        return F.cross_entropy(self.head(h).view(-1, VOCABULARY), tokens[:, 1:].reshape(-1))


options = common.arguments("seq2seq-step", repeats=4, seconds=0.2)
torch.manual_seed(1)
for threads in options.thread_counts:
    torch.set_num_threads(threads)
    for kind in ["none", "dot", "additive"]:
        model = EncoderDecoder(kind)
        source = (torch.arange(BATCH * LENGTH) * 7919 % VOCABULARY).view(BATCH, LENGTH)
        tokens = (torch.arange(BATCH * (LENGTH + 1)) * 7919 % VOCABULARY).view(BATCH, LENGTH + 1)
        operation = common.step(model, common.adamw([p for n, p in model.named_parameters() if kind == "additive" or n.split(".")[0] not in ("query", "key", "energy")]), source, tokens)
        common.report(options, threads, common.measure(options, operation), case=kind, tokens=BATCH * LENGTH)
