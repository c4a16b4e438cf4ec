"""What a world is: every feature and every fault, drawn from its seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from raysearch import registry
from raysearch.criteria.objectives import parse_all
from raysearch.execution.packing import Packer
from raysearch.race.race import Race
from raysearch.race.screening import Screening
from raysearch.records import Configuration, InstanceKey, InstanceResult, Phase
from raysearch.samplers.search_space import Choice, Space
from raysearch.seeds import Seeds
from raysearch.storage.events import Learn

CRITERIA = ("mean", "median", "q3", "q3_plus_iqr", "max", "std", "iqr", "cvar")
PURE = ("halving", "exhaustive", "significance", "sequential_halving")
"""Rules whose cuts follow from the first columns alone, whatever was trained beside them."""
N_COLUMNS = 64
SPACE = Space({"x": Choice(tuple(range(24)))})
OBJECTIVES = parse_all(["median", {"name": "max", "of": {"metric": "m"}}])
POOL = [Configuration.of({"x": x}) for x in range(24)]


@dataclass
class Faults:
    """How likely each is: per trial, per event, or per driver."""

    crash: float = 0.0
    twice: float = 0.0
    late: float = 0.0
    node: float = 0.0
    clock: float = 0.0
    visitor: float = 0.0
    kill: float = 0.0
    power: float = 0.0
    disk: float = 0.0
    store: float = 0.0


@dataclass
class Setting:
    """A search: what it races, how, and what is done with it when it has ended."""

    losses: Any
    rule: tuple[str, dict[str, Any]]
    criterion: str
    race: dict[str, Any]
    wave: int
    n: int
    n_workers: int
    failing: tuple[int, ...]
    raise_on_failure: bool
    screen: bool
    mlflow: bool
    measures: int
    confirm: int
    later: list[tuple[str, Any]]
    faults: Faults = field(default_factory=Faults)
    every: int = 1
    """Of events, after which the whole state is compared."""
    pack: int = 1
    tpe: bool = False
    objectives: tuple[Any, ...] = ()
    finalists: int = 1
    learnt: int = 0
    """So many first instances of every other configuration were trained by an earlier search of the same seed."""
    pace: float = 1.0
    """Of the workers: how long instances take, against 1 to 5 s."""

    def fails(self, key: Any, attempt: int) -> bool:
        """Which instances crash, and how often, is a property of the instance."""
        return attempt <= self.failing[(int(key.configuration_id, 16) + key.seed) % len(self.failing)]

    @property
    def settings(self) -> dict[str, Any]:
        """What a driver writes down as its experiment."""
        wanted = {"confirm": self.confirm, "finalists": self.finalists}
        return {"rule": [*self.rule], "n": self.n, **wanted}

    def changed(self, what: str, value: Any) -> None:
        """Take over what `resume --set` changes."""
        if what == "rule":
            self.rule = value
        elif what == "extend":
            self.n = value
        elif what == "confirm":
            self.confirm = value
        elif what == "finalists":
            self.finalists = value

    def propose(self, outcomes: Any) -> list[Configuration]:
        if self.tpe:
            own = loaded("samplers", "tpe", ("n_configurations", self.n), ("wave", self.wave))
            proposed: list[Configuration] = own.bind(SPACE, self.race["seed"], self.load()[0])(outcomes)
            return proposed
        return POOL[len(outcomes) : min(len(outcomes) + self.wave, self.n)]

    def lesson(self) -> Learn:
        """Return what the earlier search teaches: what is no failure of its machine."""
        seeds, own = Seeds(self.race["seed"]), POOL[::2]
        cells = [(one, column, seeds.seed(Phase.RACE, column)) for one in own for column in range(self.learnt)]
        told = tuple(
            InstanceResult.of(key, float(self.losses[one.parameters["x"], column]), metrics={"m": float(seed % 11)})
            for one, column, seed in cells
            if not self.fails(key := InstanceKey(one.id, seed), 1)
        )
        ids = {one.key.configuration_id for one in told}
        known = tuple(one for one in own if one.id in ids)
        return Learn("/world/earlier", "earlier", self.race["seed"], "0" * 64, True, True, "", known, told)

    @property
    def packer(self) -> Packer:
        """What makes packs, of configurations whose parameters allow it."""
        return Packer(self.pack, lambda parameters: (None, 0, 1)[parameters["x"] % 3])

    def promises(self, *, went_on: bool) -> bool:
        """Return whether the decisions must not depend on who carried the search out."""
        name, arguments = self.rule
        windowed = isinstance(arguments.get("window"), int) and not self.race["ahead"]
        if self.screen or (name == "top_two" and arguments.get("batch") is None and not windowed):
            return False
        return not went_on or (name in PURE and not self.race["ahead"])

    def load(self) -> tuple[Any, Any]:
        """Return criterion and rule."""
        name, arguments = self.rule
        return loaded("criteria", self.criterion), loaded("rules", name, *arguments.items())

    def race_of(self, journal: Any, clock: Any, *, ahead: bool) -> Race:
        """Return a new race of this search."""
        criterion, rule = self.load()
        own = {**self.race, "ahead": ahead, "confirm": self.confirm, "finalists": self.finalists}
        own["screening"] = self.screening
        return Race(self.propose, criterion, rule, journal=journal, clock=clock.time, **own)

    @property
    def screening(self) -> Screening | None:
        return Screening(n_startup=2) if self.screen else None


@cache
def loaded(room: str, name: str, *arguments: tuple[str, Any]) -> Any:
    """Return a plug-in; it is frozen, so that worlds may share it."""
    return registry.load(room, name, **dict(arguments))


def draw_rule(g: random.Random, n: int) -> tuple[str, dict[str, Any]]:
    """Return a rule and its parameters for `n` configurations."""
    batch = None if g.random() < 0.3 else g.randint(1, 9)
    budget = None if g.random() < 0.3 else n + g.randint(0, g.choice((4, 4, 8, 16)))
    rules: dict[str, dict[str, Any]] = {
        "halving": {"warmup": g.randint(1, 4)},
        "exhaustive": {"n_instances": g.randint(1, 4)},
        "significance": {"warmup": g.randint(2, 3), "max_instances": g.randint(4, 6)},
        "sequential_halving": {"budget": n + g.randint(0, g.choice((4, 4, 8, 16)))},
        "top_two": {
            "certify": g.choice((2, 3)),
            "cap": g.choice((4, 4, 10)),
            "batch": batch,
            "budget": budget,
            "keep": g.choice((2, 4, 256)),
        },
    }
    rules["top_two"]["window"] = g.choice((None, "auto", 1, 2, 5, 12))
    name = g.choices([*rules], [0.3, 0.1, 0.1, 0.2, 0.3])[0]
    return name, rules[name]


def draw_losses(g: random.Random, n: int) -> Any:
    """Return losses with ties, holes of infinities, or all of them infinite."""
    own = np.random.default_rng(g.getrandbits(62))
    spread = g.choice((0.01, 0.1, 0.3))
    losses = 1 + 0.3 * own.normal(size=(n, 1)) + spread * own.normal(size=(n, N_COLUMNS))
    kind = g.choices(["plain", "coarse", "diverging", "first", "all"], [0.5, 0.2, 0.15, 0.1, 0.05])[0]
    if kind == "coarse":
        losses = np.round(losses, 1)
    elif kind == "diverging":
        losses = np.where(own.random(losses.shape) < g.choice((0.05, 0.3, 0.7)), np.nan, losses)
    elif kind == "first":
        losses[:, g.randint(0, 2) : g.randint(1, 4)] = np.nan
    elif kind == "all":
        losses[:] = np.nan
    return losses


def draw_later(g: random.Random, n: int, confirm: int) -> list[tuple[str, Any]]:
    """Return what is done with the search when it has ended: a word, and what it needs."""
    found: list[tuple[str, Any]] = []
    for _ in range(g.choice((0, 0, 0, 1, 1, 2))):
        what = g.choice(("retry", "rule", "extend", "confirm"))
        if what == "rule":
            found.append((what, draw_rule(g, g.choice((n, n, 12)))))
        elif what == "extend":
            n = min(n + g.randint(1, 2), len(POOL))
            found.append((what, n))
        elif what == "confirm":
            confirm += g.randint(1, 3)
            found.append((what, confirm))
        else:
            found.append((what, g.random() < 0.7))
    return found


def draw_finalists(seed: int) -> dict[str, Any]:
    """Return how many finalists are confirmed, on how many instances more, and what becomes of that later."""
    g = random.Random(f"finalists {seed}")
    if g.random() < 0.7:
        return {"finalists": 1, "more": 0, "later": []}
    more = g.choices((1, 20, 27), (0.9, 0.05, 0.05))[0]  # some are told from the best, in one look or in two
    later = [("finalists", g.choice((1, 2, 4)))] if g.random() < 0.2 else []
    return {"finalists": g.choice((2, 3, 8)), "more": more, "later": later}


def draw(seed: int) -> Setting:
    """Return the setting of a seed."""
    g = random.Random(f"setting {seed}")
    # small: worlds with a fifth more events found the six rarest planted bugs at the same cost, 334 worlds of 13.5 ms a
    # find against 416 of 11.8 ms, 16 and 14 finds
    n = g.choice((1, 2, 2, 2, 3, 3, 3, 4, 4, 6))
    confirm = g.choice((0, 0, 1, 2))
    calm = g.random() < 0.1
    faults = Faults()
    if not calm:
        faults = Faults(
            crash=g.choice((0.0, 0.05, 0.2)),
            twice=g.choice((0.0, 0.1)),
            late=g.choice((0.0, 0.5)),
            node=g.choice((0.0, 0.0, 0.02)),
            clock=g.choice((0.0, 0.02)),
            visitor=g.choice((0.0, 0.02)),
            kill=g.choice((0.0, 0.5, 0.8)),
            power=g.choice((0.0, 0.5)),
            disk=g.choice((0.0, 0.0, 0.5)),
            store=g.choice((0.0, 0.05)),
        )
    confirmed = draw_finalists(seed)  # what is drawn for the worlds without them is what it was
    return Setting(
        losses=draw_losses(g, len(POOL)),
        rule=draw_rule(g, n),
        criterion=g.choice(CRITERIA),
        race={
            "block": g.choice((1, 1, 2, 3)),
            "retries": g.randint(0, 2),
            "ahead": g.random() < 0.3,
            "seed": g.randrange(2**40),
        },
        wave=g.randint(1, n) if g.random() < 0.4 else n,
        n=n,
        n_workers=g.randint(1, 9),
        failing=tuple(g.choice((0, 0, 0, 1, 9)) for _ in range(7)) if g.random() < 0.5 else (0,),
        raise_on_failure=g.random() < 0.1,
        screen=g.random() < 0.15,
        mlflow=g.random() < 0.06,
        measures=g.choice((0, 0, 2)),
        confirm=confirm + confirmed.pop("more"),
        later=draw_later(g, n, confirm) + confirmed.pop("later"),
        **confirmed,
        faults=faults,
        every=g.choice((1, 8, 32, 32)),
        pack=g.choice((1, 1, 2, 4)),
        tpe=g.random() < 0.02,
        objectives=g.choice(((), OBJECTIVES)),
        pace=g.choice((1.0, 0.01, 0.01)),
        learnt=random.Random(f"learnt {seed}").choice((*(0,) * 8, 1, 3)),
    )
