"""Record real trainings: 72 small networks on the digits, 960 instances each, as the table `selection.py` replays.

    python benchmarks/record_digits.py            (about ten minutes on one core)

Instances differ in initial weights and in the training sample; instance s has the same seed, hence the same sample,
for every configuration. All instances of a configuration train side by side, their weights stacked: every operation,
AdamW's included, works element by element or matrix by matrix, so each goes as it would alone.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch.nn import functional

TABLE = Path(__file__).parent / "data" / "digits_instances.parquet"
SPACE: dict[str, tuple[Any, ...]] = {
    "hidden": ((32,), (64,), (64, 32)),
    "activation": ("relu", "tanh"),
    "dropout": (0.0, 0.2),
    "lr": (0.003, 0.01, 0.03),
    "batch_size": (32, 64),
}
N_TRAIN, N_VALIDATION, EPOCHS = 400, 600, 8
BLOCK = 240
"""Instances that train side by side."""


class Stack:
    """The perceptrons of all instances of one configuration, as stacked weights `(n_instances, in, out)`."""

    def __init__(self, hidden: tuple[int, ...], activation: str, dropout: float, seeds: range) -> None:
        self.activation, self.dropout = getattr(torch, activation), dropout
        self.noise = torch.Generator().manual_seed(seeds[0])
        sizes = [64, *hidden, 10]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.layers = [
            torch.stack([(2 * torch.rand(n + 1, m, generator=g) - 1) / n**0.5 for g in generators]).requires_grad_()
            for n, m in itertools.pairwise(sizes)
        ]
        """The last row of each is the bias; uniform in +-1/sqrt(n), as torch.nn.Linear begins."""

    def __call__(self, x: torch.Tensor, training: bool) -> torch.Tensor:
        """Return the logits of images `x` `(n_instances, n, 64)`."""
        for index, layer in enumerate(self.layers):
            x = torch.baddbmm(layer[:, -1:], x, layer[:, :-1])
            if index < len(self.layers) - 1:
                x = self.activation(x)
                if training and self.dropout:
                    kept = torch.rand(x.shape, generator=self.noise) >= self.dropout
                    x = x * kept / (1 - self.dropout)
        return x


def record(configuration: dict[str, Any], seeds: range) -> NDArray[np.float64]:
    """Return the cross entropy (nats) `(n_seeds,)` on validation examples that no instance was taught."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x = torch.tensor(images[order] / 16.0, dtype=torch.float32)
    y = torch.tensor(labels[order])
    held_out, pool = slice(0, N_VALIDATION), np.arange(N_VALIDATION, len(y))
    samplers = [np.random.default_rng(seed) for seed in seeds]
    samples = [sampler.choice(pool, N_TRAIN, replace=False) for sampler in samplers]
    batch, lr = configuration["batch_size"], configuration["lr"]
    hidden, activation, dropout = (configuration[name] for name in ("hidden", "activation", "dropout"))
    networks = Stack(hidden, activation, dropout, seeds)
    optimizer = torch.optim.AdamW(networks.layers, lr=lr)
    for _ in range(EPOCHS):
        shuffled = np.stack([s.permutation(sample) for s, sample in zip(samplers, samples, strict=True)])
        for start in range(0, N_TRAIN, batch):
            rows = torch.tensor(shuffled[:, start : start + batch])
            logits = networks(x[rows], training=True)
            loss = functional.cross_entropy(logits.flatten(0, 1), y[rows].flatten(), reduction="sum") / rows.shape[1]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        logits = networks(x[held_out].expand(len(seeds), -1, -1), training=False)
        target = y[held_out].expand(len(seeds), -1)
        losses = functional.cross_entropy(logits.transpose(1, 2), target, reduction="none").mean(dim=1)
    return losses.numpy().astype(np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=960)
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    frames = []
    for number, values in enumerate(itertools.product(*SPACE.values())):
        start = time.perf_counter()
        configuration = dict(zip(SPACE, values, strict=True))
        blocks = [range(first, min(first + BLOCK, options.instances)) for first in range(0, options.instances, BLOCK)]
        losses = np.concatenate([record(configuration, seeds) for seeds in blocks])
        told = {name: str(value) for name, value in configuration.items()}
        rows = pd.DataFrame({"configuration": number, "seed": range(options.instances), "loss": losses, **told})
        frames.append(rows.astype({"configuration": "int16", "seed": "int16", "loss": "float32"}))
        print(f"{number:3d} {told} median {np.median(losses):.4f} {time.perf_counter() - start:.1f} s", flush=True)
    options.out.parent.mkdir(exist_ok=True)
    aside = options.out.with_suffix(".aside")
    pd.concat(frames).to_parquet(aside, compression="zstd", index=False)
    aside.replace(options.out)
    print(f"{options.out}: {options.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
