"""A call's folder on a clock that tests turn."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from voki_bots.archive.folder import CallFolder
from voki_bots.calls import Call

CALL = Call("acme", "c-1", customer_name="Ana")
BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Desk:
    """Opens folders of one call below one root, and holds the time."""

    root: Path
    now: float = 0.0
    began: float = 0.0
    opened: list[CallFolder] = field(default_factory=list)

    def open(self, bot: str = "minutes", call: Call = CALL) -> CallFolder:
        self.began = self.now
        folder = CallFolder.open(
            self.root,
            call,
            bot,
            clock=lambda: self.now - self.began,
            wall=lambda: BEGAN + timedelta(seconds=self.now),
        )
        self.began -= folder.elapsed
        self.opened.append(folder)
        return folder


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "archive")
    yield desk
    for folder in desk.opened:
        folder.close()
