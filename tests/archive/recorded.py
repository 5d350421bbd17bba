"""A call without a network whose folder is a real one."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from voki_bots import Call
from voki_bots.archive.folder import CallFolder
from voki_bots.testing import FakeAttendance


class Recorded(FakeAttendance):
    """A call without a network, whose journal is a real one."""

    def __init__(
        self, root: Path, name: str = "c-1", wall: datetime = datetime(2026, 3, 1, tzinfo=UTC)
    ) -> None:
        call = Call("acme", name)
        self.folder = CallFolder.open(
            root, call, "minutes", clock=lambda: getattr(self, "_now", 0.0), wall=lambda: wall
        )
        super().__init__(self.folder.directory, call=call)

    def emit(self, event: Any) -> None:
        self.folder.record(event)
        super().emit(event)

    def journal(self, event: str, **facts: Any) -> None:
        self.folder.record(event, **facts)
