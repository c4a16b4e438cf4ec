"""Results as they count: what a workload says is not taken for granted."""

from __future__ import annotations

import math
from dataclasses import replace

from raysearch.records import InstanceResult, Status


def checked(result: InstanceResult, attempt: int) -> InstanceResult:
    """Return the result of a training as it counts: a loss that is NaN or infinite is DIVERGED and +inf.

    Raises ValueError for what is none: a loss, curve or metric that is no number, a status that no training ends with.
    """
    try:
        loss = float(result.loss)
        test_loss = None if result.test_loss is None else float(result.test_loss)
        curve = tuple(float(one) for one in result.curve)
        metrics = {str(name): float(value) for name, value in result.metrics.items()}
        status, seconds = Status(result.status), float(result.seconds)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"the workload's result {str(result)[:200]} is none: {error}") from error
    if status is Status.STOPPED:
        raise ValueError(f"the workload returned a result of status {status.value}: only the race stops an instance")
    if status is not Status.FAILED:
        status = Status.COMPLETE if math.isfinite(loss) and status is Status.COMPLETE else Status.DIVERGED
    return replace(
        result,
        loss=loss if status is Status.COMPLETE else math.inf,
        status=status,
        test_loss=test_loss,
        curve=curve,
        metrics=metrics,
        seconds=round(seconds, 6),
        attempt=attempt,
    )
