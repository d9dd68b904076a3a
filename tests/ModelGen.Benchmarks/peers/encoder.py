"""BERT-base and all-MiniLM-L6-v2's shape, the hidden states of a sentence of 128 tokens."""

import torch

import bert
import common

options = common.arguments("encoder", repeats=9, seconds=0.2)
torch.manual_seed(1)
for threads in options.thread_counts:
    torch.set_num_threads(threads)
    for case, sizes in {"bert-base": (12, 768, 12, 3072), "minilm": (6, 384, 12, 1536)}.items():
        model, inputs = bert.Encoder(*sizes, 30522, 512, 2, 1e-12).eval(), bert.sentence()
        with torch.inference_mode():
            common.report(options, threads, common.measure(options, lambda: model(*inputs)), case=case, tokens=128)
