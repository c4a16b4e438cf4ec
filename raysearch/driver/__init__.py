"""Driver: carries searches out, goes on with them, and tells how they stand; the only room that knows every part.

Contract: `run` (an experiment), `search` (any Python model), `resume`, `sync`, `status` and a run directory's report.
"""

from __future__ import annotations

from raysearch.driver.run import Plan, SearchResult, load, plan, run
from raysearch.errors import RaysearchError

__all__ = ["Plan", "RaysearchError", "SearchResult", "load", "plan", "run"]
