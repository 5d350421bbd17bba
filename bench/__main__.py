"""`python -m bench NAME …` runs one measurement; without a name, each with its defaults."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

INNER = {"__main__", "check", "counters", "generator", "places", "process", "receiver", "report", "speech"}


def names() -> list[str]:
    """Name the measurements: every module beside this one that has a `main`."""
    found = {module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if not module.ispkg}
    return sorted(found - INNER)


def main() -> int:
    """Run what was asked for, or everything."""
    known = names()
    if len(sys.argv) > 1:
        name = sys.argv[1]
        if name not in known:
            print(f"usage: python -m bench [{' | '.join(known)}] …", file=sys.stderr)
            return 2
        return int(importlib.import_module(f"bench.{name}").main(sys.argv[2:]))
    return max([int(importlib.import_module(f"bench.{name}").main([])) for name in known], default=0)


if __name__ == "__main__":
    sys.exit(main())
