"""Causal attention forward and backward, 12 heads of 64, batch 4."""

import torch

import common
from gpt import attention

HEADS, WIDTH, BATCH = 12, 768, 4

options = common.arguments("attention", repeats=5, seconds=0.1)
torch.manual_seed(1)
for threads in options.thread_counts:
    torch.set_num_threads(threads)
    for length in (64, 256, 1024):
        qkv = torch.randn(BATCH, length, 3 * WIDTH, requires_grad=True)
        gradient = torch.randn(BATCH, length, WIDTH)
        mask = torch.ones(length, length, dtype=torch.bool).triu(1)

        def operation():
            qkv.grad = None
            attention(qkv, HEADS, mask).backward(gradient)

        common.report(options, threads, common.measure(options, operation), case=f"T {length}")
