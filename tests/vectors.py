"""Where the public test vectors are: `BRIDGE_VECTORS`, or beside the project."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def vectors_dir() -> Path:
    """The vectors' folder; skips the calling test with a reason where there is none."""
    folder = Path(os.environ.get("BRIDGE_VECTORS", ROOT.parent / "shared" / "vectors"))
    if not folder.is_dir():
        pytest.skip(f"no test vectors at {folder}: set BRIDGE_VECTORS")
    return folder
