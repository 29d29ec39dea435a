"""Pictures of a result whose class says how to read them stand by themselves in the index."""

from dataclasses import dataclass
from typing import ClassVar

import torch

import convlens


@dataclass(frozen=True, eq=False)
class Explained(convlens.Result):
    """Two pictures, of which one is explained."""

    how_to_read: ClassVar[dict[str, str]] = {"first": "Bright is <more>."}

    number: int

    def pictures(self):
        """Two gray squares."""
        return {name: torch.full((8, 8, 3), 90, dtype=torch.uint8) for name in ("first", "second")}


def test_each_picture_has_a_heading_and_its_text(tmp_path):
    Explained(1).save(tmp_path / "out")
    page = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert page.count('class="group read"') == 1
    assert "<h2>First</h2>" in page and "<h2>Second</h2>" in page
    assert '<p class="text">Bright is &lt;more&gt;.</p>' in page
    assert 'alt="First"' in page
