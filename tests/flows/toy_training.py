"""A stage that writes a checkpoint at every step and resumes from an existing one."""

import shutil
import time
from pathlib import Path

N_STEPS = 10
FOLDER = Path(".semigen/checkpoints/train")


def save(step: int) -> None:
    scratch = FOLDER.with_name(".train")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    (scratch / "step").write_text(str(step))
    shutil.rmtree(FOLDER, ignore_errors=True)
    scratch.rename(FOLDER)


def main() -> None:
    start = int((FOLDER / "step").read_text()) if FOLDER.exists() else 0
    print(f"starts at step {start}", flush=True)
    for step in range(start, N_STEPS):
        time.sleep(1)
        save(step + 1)
    shutil.rmtree(FOLDER)
    Path("model").write_text(f"{N_STEPS} steps\n")


if __name__ == "__main__":
    main()
