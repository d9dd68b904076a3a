"""AdamW over GPT-2's 124M parameters, in its 148 tensors; the environment variable PEER_FOREACH=0 tries the other implementation."""

import torch

import common
from gpt import Gpt

options = common.arguments("adamw", repeats=3, seconds=0.1, threads=(1, 2))
for threads in options.thread_counts:
    torch.set_num_threads(threads)
    parameters = [p.detach().requires_grad_() for p in Gpt(12, 768, 12, 50257, 1024, 64).parameters()]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 1e-3)
    optimizer = common.adamw(parameters)
    count = sum(p.numel() for p in parameters)
    common.report(options, threads, common.measure(options, optimizer.step), bytes_moved=28 * count)
