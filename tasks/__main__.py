"""Run one stage: see ``tasks.command_line``."""

import sys

from tasks.forked import leave, run

if __name__ == "__main__":
    leave(run("tasks.command_line", sys.argv[1:]))
