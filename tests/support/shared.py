"""Where real weights and photos lie, beside the checkout; tests skip where there are none."""

from pathlib import Path

SHARED = Path(__file__).resolve().parents[3] / "shared"
