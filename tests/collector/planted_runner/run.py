"""The NumPy runner with one error planted: the variant names it (plants.py); `none` plants nothing.

The test copies the runner's own files beside this one, its run.py as honest.py.
"""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))
import honest
import plants
from _python.program import main
from _python.trial import read_trial

variant = read_trial(Path(sys.argv[1]))["variant"]
plants.PLANTS[variant]()
main(honest.START, {**honest.SUPPORTED, "variant": (variant,)}, honest.describe)
