"""GPT-2 124M, training step, batch 4 × 64 tokens."""

import gpt

gpt.run("gpt2-step", repeats=2, seconds=0.01, layers=12, width=768, heads=12, vocabulary=50257, context=1024, batch=4, length=64)
