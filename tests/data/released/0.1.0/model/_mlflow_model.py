"""The code of a logged model ("models from code"): it is data plus this file, nothing is unpickled.

MLflow copies this file beside the weights and runs it by itself, so it imports raysearch by name only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.models import set_model

from raysearch import registry


class RobustModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """One trained instance of the winner: its workload predicts from safetensors weights."""

    def load_context(self, context: Any) -> None:
        """Read weights, parameters and the workload's section from the model's files."""
        self.weights = Path(context.artifacts["weights"]).read_bytes()
        recipe = json.loads(Path(context.artifacts["recipe"]).read_text(encoding="utf-8"))
        self.parameters = recipe["parameters"]
        self.workload = registry.load_section("workloads", recipe["workload"])

    # the bare array type: MLflow then checks inputs against the signature, and warns of nothing
    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> Any:
        """Return the workload's prediction for `model_input`."""
        return self.workload.predict(self.parameters, self.weights, model_input)


set_model(RobustModel())
