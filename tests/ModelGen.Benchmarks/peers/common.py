"""What every peer shares: the command line, the clock, and the line of JSON that the comparison reads."""

import argparse
import json
import os
import time

import torch


def arguments(row, repeats, seconds, threads=(2,)):
    """Parses the options that the measured program has too, with what suits the row as defaults."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--round", type=int, default=0)
    parser.add_argument("--side", default="torch")
    options = parser.parse_args()
    options.row = row
    options.repeats = options.repeats or repeats
    options.seconds = options.seconds or seconds
    options.thread_counts = (options.threads,) if options.threads else threads
    return options


def measure(options, operation):
    """Seconds for one operation, for each repeat: first some that do not count, then batches long enough for the clock."""

    def batch(count):
        start = time.perf_counter()
        for _ in range(count):
            operation()
        return time.perf_counter() - start

    operation()
    count = 1
    enough = options.seconds / 2
    while True:
        elapsed = batch(count)
        if enough <= elapsed < 10 * enough:
            # An interruption can make a short batch look like a long one, but hardly twice.
            elapsed = min(elapsed, batch(count))
        if elapsed >= enough:
            break
        count *= 8 if elapsed < enough / 8 else 2
    count = max(1, round(count * options.seconds / elapsed))
    return [batch(count) / count for _ in range(options.repeats)]


def report(options, threads, seconds, case="", flops=0, bytes_moved=0, tokens=0, **values):
    line = {
        "row": options.row,
        "case": case,
        "side": options.side,
        "round": options.round,
        "threads": threads,
        "runtime": f"PyTorch {torch.__version__}",
        "seconds": seconds,
        "flops": flops,
        "bytes": bytes_moved,
        "tokens": tokens,
        "values": values,
    }
    print(json.dumps(line), flush=True)


def adamw(parameters, learning_rate=1e-4, weight_decay=0.01):
    """The quickest of the AdamW implementations that this PyTorch has on a CPU; see adamw.py."""
    return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, foreach=os.environ.get("PEER_FOREACH", "1") == "1")


def step(model, optimizer, inputs, targets):
    """One training step, returned as an operation to be timed."""

    def operation():
        optimizer.zero_grad(set_to_none=True)
        loss = model(inputs, targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return operation
