"""Folders: the tests', and the one of real weights and photos beside the checkout."""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]

# Tests skip what needs these files where the folder does not exist.
SHARED = TESTS.parents[1] / "shared"
