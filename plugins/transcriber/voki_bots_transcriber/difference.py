"""Where two transcripts of one call differ, and by how much. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from voki_bots import UtteranceHeard


@dataclass(frozen=True, slots=True)
class Difference:
    """What is different.

    Attributes:
        lines: Utterances that are only in the former (``-``) or only in the latter (``+``).
        same: The share of the words that are in both, 0.0 to 1.0.
    """

    lines: tuple[str, ...]
    same: float

    def __str__(self) -> str:
        """Lines, and the share at the end."""
        return "\n".join([*self.lines, f"{self.same:.1%} of the words are the same", ""])


def difference(former: Sequence[UtteranceHeard], latter: Sequence[UtteranceHeard]) -> Difference:
    """Compare what was said by each role."""
    lines: list[str] = []
    kept = count = 0
    for role in sorted({heard.role for heard in (*former, *latter)}):
        before = [heard for heard in former if heard.role == role]
        after = [heard for heard in latter if heard.role == role]
        matcher = SequenceMatcher(None, [h.text for h in before], [h.text for h in after], autojunk=False)
        for tag, a, b, c, d in matcher.get_opcodes():
            if tag != "equal":
                lines += [f"- [{h.start:8.2f}] {h.role}: {h.text}" for h in before[a:b]]
                lines += [f"+ [{h.start:8.2f}] {h.role}: {h.text}" for h in after[c:d]]
        old, new = _words(before), _words(after)
        blocks = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
        kept += sum(block.size for block in blocks)
        count += max(len(old), len(new))
    return Difference(tuple(lines), kept / count if count else 1.0)


def _words(said: Sequence[UtteranceHeard]) -> list[str]:
    return [word for heard in said for word in heard.text.split()]
