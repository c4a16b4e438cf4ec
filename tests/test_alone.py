"""One search at a time trains in a process: the other is refused before it has begun, and may come later."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import raysearch
from raysearch.errors import ResourceError

HERE = {"space": {"x": [1, 2]}, "execution": "local", "tracking": None, "progress": False, "confirm": 0}


def draws(config, seed):
    """Draw as many functions of users do, from a generator of the process."""
    random.seed(seed)
    return config["x"] + random.random()


@pytest.mark.parametrize("goes_on", [False, True], ids=["search", "resume"])
def test_a_second_search_beside_one_that_trains_is_refused_and_changes_nothing(tmp_path, goes_on):
    def second():
        if goes_on:
            return raysearch.resume(tmp_path / "alone", workload=draws)
        return raysearch.search(draws, run_dir=tmp_path / "second", **HERE)

    alone = raysearch.search(draws, run_dir=tmp_path / "alone", **HERE)
    began, may_end = threading.Event(), threading.Event()

    def waits(config, seed):
        began.set()
        assert may_end.wait(60)
        return draws(config, seed)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(raysearch.search, waits, run_dir=tmp_path / "first", **HERE)
        assert began.wait(60)
        try:
            with pytest.raises(ResourceError, match=r"already, in the thread 'ThreadPool.*of its own: `raysearch run"):
                second()
        finally:
            may_end.set()
        assert first.result(60).instances.loss.equals(alone.instances.loss)
    assert not (tmp_path / "second").exists()
    assert second().instances.loss.equals(alone.instances.loss)


def test_a_search_inside_an_instance_of_another_is_its_own_affair(tmp_path):
    def nested(config, seed):
        return raysearch.search(draws, run_dir=tmp_path / f"{config['x']}-{seed}", **HERE).verdict.n_instances

    found = raysearch.search(nested, run_dir=tmp_path / "outer", **HERE)
    assert set(found.instances.status) == {"COMPLETE"}
