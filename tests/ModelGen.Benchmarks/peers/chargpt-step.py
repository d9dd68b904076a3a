"""The 0.8M-parameter GPT of the CharGpt example, training step, batch 12 × 64 bytes."""

import gpt

gpt.run("chargpt-step", repeats=9, seconds=0.2, layers=4, width=128, heads=4, vocabulary=256, context=64, batch=12, length=64)
