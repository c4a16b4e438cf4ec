"""A live view below a notebook's cell: rich's own HTML, drawn again in its place, without any widget."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rich.console import RenderableType
from rich.constrain import Constrain

_EVERY_S = 0.5
_WIDTH = 96
"""Characters: what a notebook shows without a bar to scroll by."""


class Cell:
    """Shows what `view` returns until it is stopped, and leaves the last of it standing; as `rich.live.Live` does."""

    def __init__(self, view: Callable[[], RenderableType]) -> None:
        self._view, self._ended = view, threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="raysearch-cell", daemon=True)
        self._handle: Any = None

    def start(self) -> None:
        """Show it, and draw it again from a thread."""
        from IPython.display import display

        self._handle = display(self._drawn(), display_id=True)
        self._thread.start()

    def stop(self) -> None:
        """Draw it once more, and no further."""
        self._ended.set()
        self._thread.join()
        self._handle.update(self._drawn())

    def _go_on(self) -> None:
        while not self._ended.wait(_EVERY_S):
            self._handle.update(self._drawn())

    def _drawn(self) -> Constrain:
        """Return the view as what shows itself in a notebook, which not all of rich does."""
        return Constrain(self._view(), _WIDTH)
