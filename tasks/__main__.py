"""Run one stage: see ``tasks.command_line``."""

import sys

from tasks.forked import run
from tasks.process_lifetime import leave

if __name__ == "__main__":
    leave(run("tasks.command_line", sys.argv[1:]))
