"""The long campaign: `python -m fuzz --networks 1000 --seed 0`, run in the folder `tests`."""

import argparse
import re
import time
from collections import Counter

from fuzz.campaign import check_network, set_up


def main() -> int:
    """Check networks of consecutive seeds; print those with a wrong value, and a summary."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--networks", type=int, default=100, help="how many networks")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first network")
    parser.add_argument("--brief", action="store_true", help="do not print the networks' code")
    arguments = parser.parse_args()
    set_up()
    started = time.monotonic()
    failures, refusals, notes = 0, Counter[str](), Counter[str]()
    for seed in range(arguments.seed, arguments.seed + arguments.networks):
        report = check_network(seed)
        for attempt, message in report.refused.items():
            refusals[_kind(f"{attempt.split()[0]}: {message}")] += 1
        for note in report.notes:
            notes[_kind(note)] += 1
        if report.wrong:
            failures += 1
            print(
                f"--- {report}"
                if not arguments.brief
                else "\n".join(
                    f"{seed} {check}: {problem}" for check, problem in report.wrong.items()
                ),
                flush=True,
            )
    seconds = time.monotonic() - started
    print(f"\n{arguments.networks} networks in {seconds:.0f} s")
    print(f"{failures} with a wrong value or a traceback")
    for title, counts in (("refused", refusals), ("notes", notes)):
        for text, count in counts.most_common(60):
            print(f"{title} {count:5} × {text}")
    return 1 if failures else 0


def _kind(message: str) -> str:
    """The message without what differs between networks."""
    return re.sub(r"\d+", "N", message)


if __name__ == "__main__":
    raise SystemExit(main())
