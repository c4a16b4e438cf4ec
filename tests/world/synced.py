"""What `sync` makes of the store of a world when all is over."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

from raysearch.errors import TrackingError

from .books import hold
from .driver import Driver
from .machine import Fuse
from .store import Store, Tracked


def sync(world: Any) -> None:
    """Tell MLflow all that a silent server missed: twice changes nothing, and a fresh store shows the same."""
    world.fuse.left = None
    world.store.mend()
    world.store.p_error = world.store.p_lost_answer = world.setting.faults.store
    with contextlib.suppress(TrackingError):
        tracker = Tracked.on(world.store)
        Driver(world.setting, world.disk, world.clock, world.auditor, tracker).sync()
        if not tracker.n_lost:
            world.auditor.check_store(world.store.image())
    tracker.let_go()
    world.store.mend()
    images = []
    for _ in range(2):
        tracker = Tracked.on(world.store)
        Driver(world.setting, world.disk, world.clock, world.auditor, tracker).sync()
        hold(tracker.n_lost == 0, "a server that answers gets everything", tracker.n_lost)
        images.append(world.store.image())
    hold(images[0] == images[1], "a second sync changes nothing", *_difference(*images))
    world.auditor.check_store(world.store.image())
    if world.auditor.reopened or world.told["hopeless"]:
        return
    fresh = Store(Fuse(), world.g, world.clock)
    Driver(world.setting, world.disk, world.clock, world.auditor, Tracked.on(fresh)).sync()
    one, other = world.store.image(), fresh.image()
    hold(one.keys() == other.keys(), "live and synced show the same runs", one.keys() ^ other.keys())
    world.told["synced"] += 1


def _difference(one: dict[Any, Any], other: dict[Any, Any]) -> list[Any]:
    """Return where two images of a store differ: run, field, name, and both values."""
    found = []
    for key in one.keys() | other.keys():
        for a, b in itertools.zip_longest(one.get(key, ()), other.get(key, ()), fillvalue={}):
            for field in a.keys() | b.keys():
                mine, its = a.get(field, {}), b.get(field, {})
                if isinstance(mine, dict) and isinstance(its, dict):
                    names = [name for name in mine.keys() | its.keys() if mine.get(name) != its.get(name)]
                    found += [(key, field, name, mine.get(name), its.get(name)) for name in names]
                elif mine != its:
                    found.append((key, field, mine, its))
    return found
