"""A 2-layer LSTM language model, hidden 512, vocabulary 10,000, training step, batch 32 × 35 tokens."""

import torch
from torch import nn
from torch.nn import functional as F

import common

HIDDEN, VOCABULARY, BATCH, LENGTH = 512, 10000, 32, 35


class WordLstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, HIDDEN)
        self.rnn = nn.LSTM(HIDDEN, HIDDEN, num_layers=2)
        self.decoder = nn.Linear(HIDDEN, VOCABULARY)
        self.state = (torch.zeros(2, BATCH, HIDDEN), torch.zeros(2, BATCH, HIDDEN))

    def forward(self, tokens, targets):
        output, state = self.rnn(self.embedding(tokens), self.state)
        self.state = tuple(part.detach() for part in state)
        return F.cross_entropy(self.decoder(output).view(-1, VOCABULARY), targets.view(-1))


options = common.arguments("lstm-step", repeats=4, seconds=0.2)
torch.manual_seed(1)
for threads in options.thread_counts:
    torch.set_num_threads(threads)
    model = WordLstm()
    tokens = torch.arange(BATCH * LENGTH + 1) * 7919 % VOCABULARY
    inputs, targets = tokens[:-1].view(LENGTH, BATCH), tokens[1:].view(LENGTH, BATCH)
    operation = common.step(model, common.adamw(model.parameters()), inputs, targets)
    common.report(options, threads, common.measure(options, operation), tokens=BATCH * LENGTH)
