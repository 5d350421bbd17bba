"""How full the disks are that calls are kept on."""

from pathlib import Path

from structlog.testing import capture_logs

from voki_bots.service.space import Space, used_share
from voki_bots.service.telemetry import Telemetry


class Disk:
    """A disk as full as a test says."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.telemetry = Telemetry()
        self.space = Space(
            [Path("calls/{tenant}/{call}")],
            alert=0.8,
            refuse=0.95,
            telemetry=self.telemetry,
            used=lambda _: self.share,
        )

    def look(self, share: float) -> list[str]:
        """Let it become as full; give what is logged."""
        self.share = share
        with capture_logs() as lines:
            self.space.look()
        return [str(line["event"]) for line in lines]


def test_each_mark_is_told_once() -> None:
    """An error when the first is passed, nothing while it lasts, and a word when there is room again."""
    disk = Disk(0.0)
    assert [disk.look(share) for share in (0.79, 0.8, 0.9, 0.7, 0.85)] == [
        [],
        ["disk_filling"],
        [],
        ["disk_has_room"],
        ["disk_filling"],
    ]


def test_a_full_disk_begins_no_call_and_says_why() -> None:
    """Below the mark nothing is refused."""
    disk, archive = Disk(0.0), Path("calls/{tenant}/{call}")
    disk.look(0.94)
    assert disk.space.refusal(archive) is None
    disk.look(0.96)
    assert disk.space.refusal(archive) == "the disk of calls is 96% full, and from 95% on no call is begun"


def test_a_directory_that_is_not_there_yet_is_as_full_as_where_it_will_be(tmp_path: Path) -> None:
    """The disk is that of the nearest folder above."""
    assert 0.0 < used_share(tmp_path / "a/b/c") == used_share(tmp_path) < 1.0
