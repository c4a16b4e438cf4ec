"""The contract of the room `rules`, held by every rule in it: `decide` is a pure function of the matrix."""

import inspect
import math

import numpy as np
import pytest

from raysearch import registry

RULES = registry.names("rules")
# for 7 configurations: enough to take every rule through several rounds
ARGUMENTS = {"sequential_halving": {"budget": 100}}


# decides on whatever has finished: with other orders of results it meets other matrices on its way
ASYNCHRONOUS = {"top_two"}


def make(room, name):
    return registry.load(room, name, **ARGUMENTS.get(name, {}))


def play(rule, criterion, losses, choose):
    """Run a rule to its verdict; `choose(running)` picks which running instance ends next. Returns all decisions."""
    n = len(losses)
    seen, started, pending = np.full_like(losses, np.nan), np.zeros(n, dtype=np.intp), np.zeros(n, dtype=np.intp)
    running, decisions = [], []
    while True:
        visible = seen[:, : started.max(initial=0)]
        decision = rule.decide(visible.copy(), pending.copy(), criterion)
        assert rule.decide(visible.copy(), pending.copy(), criterion) == decision, "the same matrix, another decision"
        decisions.append(decision)
        if decision.verdict is not None:
            return decisions, int(started.sum())
        for row in decision.train:
            running.append((row, int(started[row])))
            started[row] += 1
            pending[row] += 1
        assert running, "it asks for nothing, waits for nothing and has no verdict"
        row, column = running.pop(choose(running))
        seen[row, column] = losses[row, column]
        pending[row] -= 1


def tables():
    generator = np.random.default_rng(4)
    levels = generator.normal(size=(7, 1))
    plain = levels + generator.normal(size=(7, 400))
    diverging = np.where(generator.random(plain.shape) < 0.1, math.inf, plain)
    return {"plain": plain, "diverging": diverging, "ties": np.ones((5, 400)), "one": plain[:1], "two": plain[:2]}


TABLES = tables()


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", RULES)
class TestRule:
    def test_the_order_of_results_changes_no_decision(self, name, table):
        rule, criterion = make("rules", name), make("criteria", "mean")
        generator = np.random.default_rng(5)
        orders = (lambda running: 0, lambda running: -1, lambda running: int(generator.integers(len(running))))
        ends = [play(rule, criterion, TABLES[table], choose) for choose in orders]
        if name in ASYNCHRONOUS:
            return  # that the same matrix gives the same decision, `play` has checked at every step
        assert len({n for _, n in ends}) == 1
        assert len({decisions[-1].verdict for decisions, _ in ends}) == 1
        assert len({decisions[-1].eliminated for decisions, _ in ends}) == 1

    def test_the_eliminated_stay_out_and_survivors_never_grow(self, name, table):
        decisions, _ = play(make("rules", name), make("criteria", "mean"), TABLES[table], lambda running: 0)
        cuts = ()
        for decision in decisions:
            assert decision.eliminated[: len(cuts)] == cuts, "a cut was taken back"
            cuts = decision.eliminated
            out = [row for cut in cuts for row in cut.configurations]
            assert len(out) == len(set(out))
            assert not set(out) & set(decision.train)
            assert not set(out) & set(decision.ahead)
        verdict = decisions[-1].verdict
        assert verdict.leader not in out
        assert not set(verdict.indistinguishable) & set(out) or verdict.leader in verdict.indistinguishable

    def test_the_plan_bounds_what_is_asked_for(self, name, table):
        rule, losses = make("rules", name), TABLES[table]
        least, most = rule.plan(len(losses))
        _, n = play(rule, make("criteria", "mean"), losses, lambda running: 0)
        assert least <= n <= most

    def test_each_cut_tells_who_why_and_when(self, name, table):
        decisions, _ = play(make("rules", name), make("criteria", "mean"), TABLES[table], lambda running: 0)
        cuts = decisions[-1].eliminated
        assert [cut.round for cut in cuts] == sorted({cut.round for cut in cuts})
        for cut in cuts:
            assert cut.configurations
            assert len(cut.values) == len(cut.configurations)
            assert cut.n_instances >= 1
            assert all(isinstance(row, int) for row in cut.configurations)


@pytest.mark.parametrize("name", RULES)
class TestRuleOnMatrices:
    def test_what_runs_is_not_asked_for_again(self, name):
        rule, criterion = make("rules", name), make("criteria", "mean")
        first = rule.decide(np.full((4, 0), np.nan), np.zeros(4, dtype=np.intp), criterion)
        assert first.train
        pending = np.bincount(first.train, minlength=4)
        width = int(pending.max())
        second = rule.decide(np.full((4, width), np.nan), pending, criterion)
        assert second.train == ()
        assert second.verdict is None

    def test_a_hole_is_waited_for(self, name):
        rule, criterion = make("rules", name), make("criteria", "mean")
        losses = np.random.default_rng(6).normal(size=(4, 400))
        losses[2, 0] = np.nan  # still running, whatever has finished behind it
        decision = rule.decide(losses, np.array([0, 0, 1, 0]), criterion)
        assert decision.verdict is None
        assert not decision.eliminated

    def test_the_matrix_is_left_as_it_was(self, name):
        losses, pending = np.random.default_rng(7).normal(size=(4, 3)), np.zeros(4, dtype=np.intp)
        before = losses.copy()
        make("rules", name).decide(losses, pending, make("criteria", "mean"))
        np.testing.assert_array_equal(losses, before)
        assert not pending.any()

    def test_docstring_names_its_source(self, name):
        assert "Source:" in inspect.getdoc(registry.plugin("rules", name))
