"""`python -m netdsl`."""

from __future__ import annotations

import sys

from netdsl.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
