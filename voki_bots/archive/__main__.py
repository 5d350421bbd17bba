"""``python -m voki_bots.archive``: finish one call; see `voki_bots.archive.pool`."""

import os
import sys

from voki_bots.archive.pool import run

if __name__ == "__main__":
    status = run(sys.argv[1:])
    # Whatever closed our output has been told off already; the interpreter must not complain once more.
    os._exit(status)
