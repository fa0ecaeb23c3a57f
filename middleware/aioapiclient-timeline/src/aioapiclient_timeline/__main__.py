"""``python -m aioapiclient_timeline METHOD URL``: one call, and its attempts as bars in the terminal."""

from __future__ import annotations

import sys

from ._command import main

if __name__ == "__main__":
    sys.exit(main())
