"""The JSON schemas of the protocol, made from the types; `make schema` writes them, a test keeps them equal."""

from __future__ import annotations

import json
from pathlib import Path

from collector.events import EVENT
from collector.trial import TrialFile

PROTOCOL = Path(__file__).parent / "protocol"


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


if __name__ == "__main__":
    write_schemas()
