"""PyTorch's side of gpu-check's figures, in the same run on the same card: python tests/gpu-check/pytorch.py > pytorch.json

Each row is the median of calls that were waited for. --small runs everything in small on whatever device there is, to see that it runs.
"""
import argparse, json, statistics, sys, time

import torch
from torch import nn
from torch.nn import functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--small", action="store_true")
small = parser.parse_args().small
device = "cuda" if torch.cuda.is_available() else "cpu"
wait = torch.cuda.synchronize if device == "cuda" else lambda: None


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (y.view(b, t, self.heads, -1).transpose(1, 2) for y in self.attn(self.ln_1(x)).split(c, -1))
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, c))
        return x + self.out(F.gelu(self.fc(self.ln_2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, layers, width, heads, vocab, context):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.blocks, self.ln_f = nn.ModuleList(Block(width, heads) for _ in range(layers)), nn.LayerNorm(width)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.ln_f(x) @ self.wte.weight.T


class WordLstm(nn.Module):
    def __init__(self, width, vocab):
        super().__init__()
        self.embedding, self.lstm, self.head = nn.Embedding(vocab, width), nn.LSTM(width, width, 2, batch_first=True), nn.Linear(width, vocab)

    def forward(self, tokens):
        return self.head(self.lstm(self.embedding(tokens))[0])


def median(call, count):
    times = []
    for i in range(count + 5):
        wait()
        start = time.perf_counter()
        call()
        wait()
        if i >= 5:
            times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def step(model, batch, length, vocab, bf16, compiled=False, count=20):
    model = model.to(device)
    run = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=device == "cuda")
    tokens, targets = (torch.randint(vocab, (batch, length), device=device) for _ in range(2))

    def once():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(run(tokens).flatten(0, 1), targets.flatten())
        loss.backward()
        optimizer.step()
        return loss.item()

    return median(once, count)


torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
rows = {}


def row(name, measure):
    try:
        rows[name] = measure()
    except Exception as error:
        rows[name] = f"{type(error).__name__}: {error}"
    print(f"{name}: {rows[name]}", file=sys.stderr)
    if device == "cuda":
        torch.cuda.empty_cache()


gpt2 = (1, 32, 2, 101, 64) if small else (12, 768, 12, 50257, 1024)
large, n = ((2, 16), 2) if small else ((16, 1024), 10)
row("0.8M GPT, B 12 x T 64, training step, ms", lambda: step(Gpt(4, 128, 4, 65, 64), 12, 64, 65, False, count=n))
row("LSTM 2 x 512, B 32 x T 35, V 10,000, training step, ms", lambda: step(WordLstm(16 if small else 512, 10000), 32, 35, 10000, False, count=n))
row("GPT-2 124M, B 4 x T 64, training step, bf16, ms", lambda: step(Gpt(*gpt2), 4, 64, gpt2[3], True, count=n))
row("GPT-2 124M, B 16 x T 1024, training step, bf16, eager, ms", lambda: step(Gpt(*gpt2), *large, gpt2[3], True, count=n))
if not small:
    row("GPT-2 124M, B 16 x T 1024, training step, bf16, compiled, ms", lambda: step(Gpt(*gpt2), *large, gpt2[3], True, compiled=True, count=n))
print(json.dumps({"card": torch.cuda.get_device_name() if device == "cuda" else None, "torch": torch.__version__, "rows": rows}, indent=2))
