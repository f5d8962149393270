"""What an engine is to the measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from tsbs.questions import Question
from tsbs.rows import Workload


class Engine(Protocol):
    """An engine on a folder of its own. A statement is whatever its `ask` takes, made before the clock starts."""

    name: str
    how: str
    data: Path
    # By which share of its value a number may differ, beyond `answers.COMPUTED` for computed ones.
    tolerance: float

    def start(self) -> None:
        """Starts it, on what it has."""

    def stop(self) -> None: ...

    def load(self, workload: Workload, files: dict[str, Path]) -> None:
        """Takes the rows and comes to rest: flushed, merged. `files` has each table as Parquet, facts as they arrived."""

    def pid(self) -> int:
        """The process whose memory counts."""

    def trivial(self) -> Any:
        """The statement that costs nothing but the way there and back."""

    def statement(self, question: Question) -> Any | None:
        """Nothing where its language cannot ask this."""

    def variants(self, question: Question) -> dict[str, Any]:
        """Other ways to ask the same, measured beside."""

    def ask(self, statement: Any) -> tuple[float, Any]:
        """Seconds until the answer is complete with the client, and the answer."""

    def answer(self, raw: Any, question: Question) -> pa.Table: ...

    def comparable(self, table: pa.Table, question: Question) -> pa.Table:
        """The rows of an answer that mean the same to this engine and to SQL."""
