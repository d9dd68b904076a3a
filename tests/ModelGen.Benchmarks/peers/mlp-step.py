"""A 4→2→1 network, training step, batch 4. Without foreach: with four small parameters it only costs."""

import torch
from torch import nn
from torch.nn import functional as F

import common

options = common.arguments("mlp-step", repeats=5, seconds=0.1, threads=(1,))
torch.manual_seed(1)
for threads in options.thread_counts:
    torch.set_num_threads(threads)
    network = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 1))
    optimizer = torch.optim.Adam(network.parameters(), foreach=False)
    operation = common.step(lambda x, y: F.mse_loss(network(x), y), optimizer, torch.randn(4, 4), torch.randn(4, 1))
    common.report(options, threads, common.measure(options, operation))
