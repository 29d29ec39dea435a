"""The table of benchmarks, written from the first lines of their modules."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config


ROOT = Path(__file__).parents[2]


def _write(app: "Sphinx", config: "Config") -> None:
    sys.path.insert(0, str(ROOT))
    from benchmarks.__main__ import LONG, NAMES, summarize

    lines = [".. list-table::", "   :widths: 20 80", ""]
    for name in NAMES:
        remark = " Only when named." * (name in LONG)
        lines += [f"   * - ``{name}``", f"     - {summarize(name)}{remark}"]
    path = Path(app.srcdir) / "development" / "benchmark_list.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def setup(app: "Sphinx") -> dict[str, bool]:
    """Write the table before its page is read."""
    app.connect("config-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
