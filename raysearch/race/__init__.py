"""Race: THE algorithm, ask and tell, pure: it knows no executor, no tracker and no torch.

Contract: `Race.ask(n)` gives instances to train, WAIT or DONE; `tell`, `fail`, `stop` and `screen_out` take in what
came of them. Every change is an event, journaled before it counts, so replaying a journal gives the same state.
"""

from __future__ import annotations

from raysearch.race.ports import Listener, Propose, Writer
from raysearch.race.race import Race

__all__ = ["Listener", "Propose", "Race", "Writer"]
