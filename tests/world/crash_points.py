"""Every crash point of one search: its driver dies at each step of each append, and so does the one that takes over."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable
from typing import Any

import numpy as np

from .calm import Calm
from .setting import Setting
from .world import World

N_INSTANCES = 53


def search_of_53() -> Setting:
    """12 configurations, halving after 3 instances each, 8 to confirm: 45 + 8 instances on two workers."""
    return Setting(
        losses=1 + np.random.default_rng(7).normal(size=(24, 160)) * 0.2,
        rule=("halving", {"warmup": 3}),
        criterion="q3",
        race={"block": 1, "retries": 1, "ahead": False, "seed": 7},
        wave=12,
        n=12,
        n_workers=2,
        failing=(0, 0, 1),
        raise_on_failure=False,
        screen=False,
        mlflow=False,
        measures=0,
        confirm=8,
        later=[],
    )


class Dying(World):
    """A world whose drivers die after so many steps each, one after another, with the power in every second one."""

    def __init__(self, steps: Iterable[int], calm: Calm) -> None:
        setting = search_of_53()
        super().__init__(0, setting=setting)
        self.steps, self.calm, self.n_drivers = list(steps), calm, 0
        setting.faults.power = 0.5
        self.g = self.disk.g = random.Random(str(self.steps))

    def _arm(self, *, last: bool) -> None:
        self.fuse.left = self.steps[self.n_drivers] if self.n_drivers < len(self.steps) else None
        self.n_drivers += 1


def all_steps() -> tuple[int, Calm]:
    """Return how many steps an undisturbed driver takes, and the undisturbed world."""
    calm = Calm(copy.deepcopy(search_of_53()))
    whole = Dying([], calm)
    whole.run()
    assert whole.auditor.n_asked == N_INSTANCES
    return whole.fuse.n_steps, calm


def die_at(steps: Iterable[int], calm: Calm) -> Any:
    """Carry the search out with drivers that die there; raises Broken where a promise is."""
    return Dying(steps, calm).run()


def pairs(n: int, n_steps: int, seed: int = 0) -> list[tuple[int, int]]:
    """Return random pairs: where the first driver dies, and where the next one."""
    g = random.Random(seed)
    first = [g.randrange(n_steps) for _ in range(n)]
    return [(one, g.randrange(n_steps - one)) for one in first]
