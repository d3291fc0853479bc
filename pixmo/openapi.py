"""`python -m pixmo.openapi`: the API's description, from which the page's types are made."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from pixmo import setup
from pixmo.app import create_app
from pixmo.settings import Settings


def document() -> dict[str, Any]:
    """The OpenAPI document of an empty store."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        setup.prepare(settings)
        return create_app(settings).openapi()


if __name__ == "__main__":
    json.dump(document(), sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")
