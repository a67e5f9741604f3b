"""``python -m semigen.cli``, which is the same as ``semigen``."""

import sys

from semigen.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
