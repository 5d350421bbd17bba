"""The pytest plugin of the testing kit: what a plugin's tests get by installing `voki-bots`.

pytest imports this module at every start, so it imports nothing heavy.
"""

from __future__ import annotations
