"""``python -m sparserec_np``: the same as the command ``sparserec-np``."""

from __future__ import annotations

import sys

from sparserec_np.cli import main

if __name__ == "__main__":
    sys.exit(main())
