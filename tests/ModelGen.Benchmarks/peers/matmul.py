"""The matrix products of GPT-2's training step, batch 4 × 64 tokens, as PyTorch hands them to its BLAS, with the result in place."""

import torch

import common

ROWS = 256

options = common.arguments("matmul", repeats=5, seconds=0.02, threads=(1, 2))
torch.manual_seed(1)
for threads in options.thread_counts:
    torch.set_num_threads(threads)
    for inputs, outputs, count in ((768, 2304, 12), (768, 768, 12), (768, 3072, 12), (3072, 768, 12), (768, 50257, 1)):
        x, w, y = torch.randn(ROWS, inputs), torch.randn(outputs, inputs), torch.randn(ROWS, outputs)
        x_out, w_out, y_out = torch.empty_like(x), torch.empty_like(w), torch.empty_like(y)
        flops = 2 * ROWS * inputs * outputs
        for kind, operation in (
            ("forward", lambda: torch.mm(x, w.t(), out=y_out)),
            ("input gradient", lambda: torch.mm(y, w, out=x_out)),
            ("weight gradient", lambda: torch.mm(y.t(), x, out=w_out)),
        ):
            common.report(options, threads, common.measure(options, operation), case=f"{kind} {inputs}→{outputs}", flops=flops, count=count)
