"""The contract of the room `rules`, held by every rule in it: `decide` is a pure function of the matrix."""

import inspect
import math

import numpy as np
import pytest

from raysearch import registry

RULES = registry.names("rules")
# for 7 configurations: enough to take every rule through several rounds
ARGUMENTS = {"sequential_halving": {"budget": 100}}


# these decide on whatever has finished, and meet other matrices where other instances end first, but for batches
IN_BATCHES = {"top_two": {"batch": 4}}
# this one has no batches: a race shows it results in the order of asking (tests/rules/test_surrogate.py)
IN_A_WINDOW = {"surrogate"}


def make(room, name, **arguments):
    return registry.load(room, name, **{**ARGUMENTS.get(name, {}), **arguments})


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


class Remembering:
    """A rule that keeps what it was asked and what it answered."""

    def __init__(self, rule):
        self.rule, self.decisions = rule, []

    def decide(self, losses, pending, criterion):
        decision = self.rule.decide(losses.copy(), pending.copy(), criterion)
        self.decisions.append((losses, pending, decision))
        return decision


def tables():
    generator = np.random.default_rng(4)
    levels = generator.normal(size=(7, 1))
    plain = levels + generator.normal(size=(7, 400))
    diverging = np.where(generator.random(plain.shape) < 0.1, math.inf, plain)
    return {"plain": plain, "diverging": diverging, "ties": np.ones((5, 400)), "one": plain[:1], "two": plain[:2]}


TABLES = tables()


def orders():
    """Return ways to choose which running instance ends next: the first, the last, any."""
    generator = np.random.default_rng(5)
    return (lambda running: 0, lambda running: -1, lambda running: int(generator.integers(len(running))))


@pytest.mark.parametrize("name", RULES)
class TestRule:
    def test_the_order_of_results_changes_no_decision(self, name):
        if name in IN_A_WINDOW:
            pytest.skip("it sees results in the order of asking")
        rule, criterion = make("rules", name, **IN_BATCHES.get(name, {})), make("criteria", "mean")
        for table, losses in TABLES.items():
            ends = [play(rule, criterion, losses, choose) for choose in orders()]
            assert len({n for _, n in ends}) == 1, table
            assert len({decisions[-1].verdict for decisions, _ in ends}) == 1, table
            assert len({decisions[-1].eliminated for decisions, _ in ends}) == 1, table

    def test_a_decision_depends_on_its_matrix_alone_whatever_was_decided_before(self, name):
        criterion, generator = make("criteria", "mean"), np.random.default_rng(8)
        seen = []
        for losses in TABLES.values():
            rule = Remembering(make("rules", name))
            play(rule, criterion, losses, orders()[2])
            seen += rule.decisions
        other = make("rules", name)
        for position in generator.permutation(len(seen)):
            matrix, pending, decision = seen[position]
            assert other.decide(matrix, pending, criterion) == decision

    def test_the_eliminated_stay_out_and_survivors_never_grow(self, name):
        for table, losses in TABLES.items():
            decisions, _ = play(make("rules", name), make("criteria", "mean"), losses, lambda running: 0)
            cuts = ()
            for decision in decisions:
                assert decision.eliminated[: len(cuts)] == cuts, f"{table}: a cut was taken back"
                cuts = decision.eliminated
                out = [row for cut in cuts for row in cut.configurations]
                assert len(out) == len(set(out)), table
                assert not set(out) & {*decision.train, *decision.ahead}, table
            verdict = decisions[-1].verdict
            assert verdict.leader not in out, table
            assert not set(verdict.indistinguishable) & set(out) or verdict.leader in verdict.indistinguishable, table

    def test_the_plan_bounds_what_is_asked_for(self, name):
        rule = make("rules", name)
        for table, losses in TABLES.items():
            least, most = rule.plan(len(losses))
            _, n = play(rule, make("criteria", "mean"), losses, lambda running: 0)
            assert least <= n <= most, table

    def test_each_cut_tells_who_why_and_when(self, name):
        for table, losses in TABLES.items():
            decisions, _ = play(make("rules", name), make("criteria", "mean"), losses, lambda running: 0)
            cuts = decisions[-1].eliminated
            assert [cut.round for cut in cuts] == sorted({cut.round for cut in cuts}), table
            for cut in cuts:
                assert cut.configurations, table
                assert len(cut.values) == len(cut.configurations), table
                assert cut.n_instances >= 1, table
                assert all(isinstance(row, int) for row in cut.configurations), table


@pytest.mark.parametrize("name", IN_BATCHES)
def test_without_batches_the_order_of_results_changes_the_way_and_not_the_end(name):
    """What is trained depends on what ends first; who is declared the best, and that it may be, does not."""
    rule, criterion = make("rules", name), make("criteria", "mean")
    for table, losses in TABLES.items():
        verdicts = [play(rule, criterion, losses, choose)[0][-1].verdict for choose in orders()]
        assert len({(v.leader, v.certified, v.indistinguishable) for v in verdicts}) == 1, table


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
