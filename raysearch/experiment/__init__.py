"""Experiment: one YAML file = one search, parsed and checked before anything trains.

Contract: `from_file`, `from_data` and `--set` give one frozen `Experiment`; its `load(section)` makes plug-ins.
"""

from __future__ import annotations

from pathlib import Path

from raysearch.experiment.experiment import Experiment, RaceSettings, from_data, from_file, parse_settings

__all__ = ["Experiment", "RaceSettings", "from_data", "from_file", "parse_settings"]

DEMO = Path(__file__).with_name("demo.yaml")
"""The file of `raysearch demo`."""
