"""A search as MLflow shows it: a search run, one run per configuration, one nested run per instance."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from raysearch.records import Configuration, InstanceResult, Phase, Progress, Status, Summary, Verdict
from raysearch.rules import Elimination
from raysearch.tracking import _mlflow_text as text
from raysearch.tracking._mlflow_reader import SEARCH, Key
from raysearch.tracking._mlflow_runs import Runs, metrics

RUN_STATUS = {
    Status.COMPLETE: "FINISHED",
    Status.DIVERGED: "FINISHED",
    Status.FAILED: "FAILED",
    Status.STOPPED: "KILLED",
}
_OWN_METRICS = ("loss", "final_loss", "seconds", "epochs", "attempt", "test_loss")
STATISTICS = ("criterion", "median", "q3", "iqr", "max", "mean", "std")


class Search:
    """Writes records as runs. Every method may be called again with the same arguments and changes nothing."""

    def __init__(self, runs: Runs, curves: bool) -> None:
        self.runs, self._curves = runs, curves
        self.name = "raysearch"
        self._retried: dict[Key, int] = {}
        """When runs had ended that were taken up again, in milliseconds."""

    @property
    def repeatable(self) -> frozenset[Callable[..., object]]:
        """What leaves nothing behind but runs, so that it can be carried out together with others, and again."""
        return frozenset(
            (self.configuration, self.instance, self.score, self.eliminate, self.standing, self.measure, self.conclude)
        )

    def begin(self, search: Mapping[str, Any], started_ms: int) -> None:
        """Open the search run with the experiment's settings, or take it up again."""
        self.name = str(search.get("name") or self.name)
        self.runs.open(SEARCH, f"search {self.name}", {"kind": "search", "status": "racing"}, started_ms)
        self.runs.reopen(SEARCH)
        if not self.runs.is_logged(SEARCH):
            self.runs.write(SEARCH, "experiment.json", json.dumps(search, indent=2, default=str))
            self.runs.log_once(SEARCH, params=text.flat(search))

    def configuration(self, configuration: Configuration, started_ms: int) -> str:
        """Return the id of a configuration's run, made if there is none."""
        key: Key = (configuration.id, None)
        tags = {"kind": "configuration", "status": "racing", "configuration": configuration.id}
        run_id = self.runs.open(key, text.configuration_name(configuration), tags, started_ms)
        params = {"configuration": configuration.id, **text.flat(configuration.parameters)}
        self.runs.log_once(key, params=params, tags=text.parameter_tags(configuration.parameters))
        return run_id

    def instance(
        self, configuration: Configuration, result: InstanceResult, phase: Phase, ended_ms: int, weights: Path | None
    ) -> None:
        """Write one instance at its end: one run, one batch."""
        key: Key = (result.key.configuration_id, result.key.seed)
        if self._is_written(key, result):
            return
        started_ms = ended_ms - round(1000 * result.seconds)
        parent = self.configuration(configuration, started_ms)
        numbers, names = _instance_values(result)
        tags = _instance_tags(configuration, result, phase) | names | {"mlflow.parentRunId": parent}
        self.runs.open(key, text.instance_name(result.key, phase), tags, started_ms)
        if self._is_written(key, result):  # by an attempt whose answer was lost
            return
        if self.runs.is_ended(key):  # had failed for good, and was retried
            self._retried[key] = self.runs.begin_again(key)
        ended_ms = max(ended_ms, self._retried.get(key, -1) + 1)  # MLflow shows the latest, whatever the clocks did
        if self.runs.is_half_written(key) and (shown_ms := self.runs.last_ms(key, "final_loss")) > ended_ms:
            ended_ms = shown_ms + 1
        curve = [point for epoch, loss in enumerate(result.curve, 1) for point in _curve_point(epoch, loss, ended_ms)]
        values, params = [*curve, *metrics(numbers, ended_ms)], _instance_params(configuration, result, phase)
        if key in self._retried or self.runs.is_half_written(key):
            shown = self.runs.params(key)  # they stand: MLflow lets none change
            params = {name: value for name, value in params.items() if name not in shown}
            self.runs.log_once(key, values, params, {"error": "", **tags})
        else:
            self.runs.log_once(key, values, params)
        self._instance_files(key, result, phase, weights)
        self.runs.end(key, RUN_STATUS[result.status], ended_ms)

    def _instance_files(self, key: Key, result: InstanceResult, phase: Phase, weights: Path | None) -> None:
        """Upload what is no number of an instance."""
        if self._curves and result.curve:
            self.runs.write(key, "loss_curve.csv", text.curve_csv(result.curve))
        if result.error.strip():
            self.runs.write(key, "error.txt", result.error)
        if weights is not None and weights.exists():
            self.runs.attach(key, weights, "weights.safetensors")
            if phase is Phase.RACE:  # the model is made of a confirmation instance
                weights.unlink()

    def _is_written(self, key: Key, result: InstanceResult) -> bool:
        return self.runs.is_ended(key, RUN_STATUS[result.status]) and not self._failed_otherwise(key, result)

    def _failed_otherwise(self, key: Key, result: InstanceResult) -> bool:
        """Return whether the run shows another error: it was retried, and failed again."""
        return result.status is Status.FAILED and self.runs.tags(key).get("error", "") != _last_line(result.error)

    def weights(self, key: Key, path: Path) -> None:
        """Upload kept weights of an instance."""
        if key in self.runs and path.exists():
            self.runs.attach(key, path, "weights.safetensors")

    def score(self, configuration: Configuration, round: int, summary: Summary, at_ms: int) -> None:
        """Write the statistics of a configuration at the end of a round; the step is the round."""
        self.configuration(configuration, at_ms)
        self.runs.log_step((configuration.id, None), _summary_values(summary), round, at_ms)

    def eliminate(self, configuration: Configuration, cut: Elimination[str], value: float, at_ms: int) -> None:
        """Mark a configuration as eliminated, with the round and the cutoff, and end its run."""
        key: Key = (configuration.id, None)
        self.configuration(configuration, at_ms)
        values = {"cutoff": cut.cutoff, "round": cut.round, "criterion_at_cut": value}
        tags = {"status": "eliminated"} | ({"dropped": cut.reason} if cut.reason else {})
        if self.runs.is_ended(key):  # told again, or a survivor of an earlier end that an extended search dropped
            cut_before = cut.reason and self.runs.tags(key).get("status") == "eliminated"  # its numbers stay those
            self.runs.log_changed(key, {} if cut_before else values, tags, at_ms)
        else:
            self.runs.log(key, metrics(values, at_ms), tags=tags)
            self.runs.end(key, "FINISHED", at_ms)

    def measure(self, configuration: Configuration, seed: int | None, numbers: Mapping[str, float], at_ms: int) -> None:
        """Write measures to the run of a configuration or of one of its instances, also where that has ended."""
        key: Key = (configuration.id, seed)
        if seed is None:
            self.configuration(configuration, at_ms)
        if key in self.runs:
            fits = text.fitted(numbers)
            fitting = {fits[name]: value for name, value in numbers.items()}
            self.runs.log_changed(key, fitting, text.renamed(fits), at_ms)

    def standing(self, progress: Progress, at_ms: int) -> None:
        """Write how the race stands at the beginning of a round."""
        values = {"survivors": float(progress.n_survivors), "incumbent": progress.incumbent_value}
        self.runs.log_step(SEARCH, values, progress.round, at_ms)

    def conclude(self, verdict: Verdict, at_ms: int) -> None:
        """Mark winner and survivors, and write the verdict to the search run."""
        self.configuration(verdict.winner, at_ms)
        winner: Key = (verdict.winner.id, None)
        before: Key = (self.runs.tags(SEARCH).get("winner", verdict.winner.id), None)
        # an extended search may crown another one, and may have dropped the first by now
        if before != winner and before in self.runs and self.runs.tags(before).get("status") == "winner":
            self.runs.log(before, tags={"status": "survivor"})
        self._settle(verdict, at_ms)
        final = {} if verdict.confirmation is None else _summary_values(verdict.confirmation, "confirmation_")
        if verdict.test_median is not None:
            final["test_median"] = verdict.test_median
        self.runs.log_changed(winner, final, {"status": "winner"}, at_ms)
        self.runs.end(winner, "FINISHED", at_ms)
        for one in verdict.finalists[1:]:
            key: Key = (one.configuration_id, None)
            values = _summary_values(one.fresh, "confirmation_")
            self.runs.log_changed(key, values, {"finalist": str(one.place)}, at_ms)
        counts = ("n_configurations", "n_instances", "n_exhaustive")
        final |= {name: float(getattr(verdict, name)) for name in counts} | _summary_values(verdict.race, "race_")
        tags = {"status": "finished", "winner": verdict.winner.id, "mlflow.note.content": text.search_note(verdict)}
        self.runs.log_changed(SEARCH, final, tags, at_ms)
        record = dataclasses.asdict(verdict)
        self.runs.write(SEARCH, "verdict.json", json.dumps(record, indent=2, default=str))

    def _settle(self, verdict: Verdict, at_ms: int) -> None:
        """End the runs of all configurations but the winner's; who is left after another rule decided is no loser."""
        still_open = {id_ for id_, _ in self.runs.open_configurations()} - {verdict.winner.id}
        for id_ in still_open:
            lost = verdict.survivors and id_ not in verdict.survivors
            self.runs.log((id_, None), tags={"status": "eliminated" if lost else "survivor"})
            self.runs.end((id_, None), "FINISHED", at_ms)
        for id_ in verdict.survivors:
            if (id_, None) in self.runs and id_ not in still_open and id_ != verdict.winner.id:
                self.runs.log_changed((id_, None), {}, {"status": "survivor"}, at_ms)

    def artifact(self, path: Path) -> None:
        """Upload a file that belongs to the search as a whole."""
        self.runs.attach(SEARCH, path, path.name)

    def end(self, finished: bool, at_ms: int) -> None:
        """End the search run; KILLED says that the race broke off."""
        if SEARCH in self.runs:
            self.runs.end(SEARCH, "FINISHED" if finished else "KILLED", at_ms)


def _last_line(error: str) -> str:
    lines = error.strip().splitlines()
    return lines[-1][:1000] if lines else ""


def _curve_point(epoch: int, loss: float, at_ms: int) -> list[Any]:
    return metrics({"loss": loss}, at_ms, epoch) if math.isfinite(loss) else []


def _instance_params(configuration: Configuration, result: InstanceResult, phase: Phase) -> dict[str, str]:
    own = {"configuration": configuration.id, "seed": str(result.key.seed), "phase": str(phase)}
    if result.node:
        own["node"] = result.node
    # a parameter of the user may have one of these names: tags say the same
    return {**own, **text.flat(configuration.parameters)}


def _instance_tags(configuration: Configuration, result: InstanceResult, phase: Phase) -> dict[str, str]:
    tags = {
        "kind": "instance",
        "status": str(result.status),
        "configuration": configuration.id,
        "raysearch.phase": str(phase),
        **text.parameter_tags(configuration.parameters),
    }
    if result.node:
        tags["raysearch.node"] = result.node
    if result.error.strip():
        tags["error"] = _last_line(result.error)
    return tags


def _instance_values(result: InstanceResult) -> tuple[dict[str, float], dict[str, str]]:
    """Return the metrics of an instance, and the tags that keep the names of those that MLflow would not take."""
    values = {"final_loss": result.loss, "seconds": result.seconds, "epochs": float(result.epochs)}
    values["attempt"] = float(result.attempt)  # also the first: a retried success had another one before
    if result.test_loss is not None:
        values["test_loss"] = result.test_loss
    fits = text.fitted(result.metrics, taken=_OWN_METRICS)
    return {**{fits[name]: value for name, value in result.metrics.items()}, **values}, text.renamed(fits)


def _summary_values(summary: Summary, prefix: str = "") -> dict[str, float]:
    values = {prefix + name: float(getattr(summary, name)) for name in STATISTICS}
    if summary.interval is not None:
        of = prefix or "criterion_"
        values[f"{of}low"], values[f"{of}high"] = summary.interval
    return {prefix + "n_instances": float(summary.n_instances), **values}
