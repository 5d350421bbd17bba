"""``python -m voki_bots`` is ``voki-bots``."""

from voki_bots.cli.main import main

if __name__ == "__main__":
    main()
