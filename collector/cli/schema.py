"""What is made from the types and kept beside them: `make schema` writes it, tests keep it equal.

The JSON schemas of the protocol, and the roster of every runner, which the analysis reads.
"""

from __future__ import annotations

import json
from pathlib import Path

from collector.plan.roster import list_contenders
from collector.protocol.events import EVENT
from collector.protocol.trial import TrialFile
from store.roster import ROSTER, roster_text

PROTOCOL = Path(__file__).parent.parent / "protocol"


def schemas() -> dict[str, str]:
    """Return the text of each schema file by its name."""
    trial = TrialFile.model_json_schema(by_alias=True)
    event = EVENT.json_schema()
    return {
        "trial.schema.json": json.dumps(trial, indent=1, sort_keys=True) + "\n",
        "event.schema.json": json.dumps(event, indent=1, sort_keys=True) + "\n",
    }


def write_schemas(folder: Path = PROTOCOL) -> None:
    """Write every schema into `folder`."""
    for name, text in schemas().items():
        (folder / name).write_text(text, encoding="utf-8")


def write_roster(path: Path = ROSTER) -> None:
    """Write the roster of the runners as they are now."""
    path.write_text(roster_text(list_contenders()), encoding="utf-8")


if __name__ == "__main__":
    write_schemas()
    write_roster()
