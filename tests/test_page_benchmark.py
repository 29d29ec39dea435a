"""The benchmark of the page counts the runs of networks, and states what they alone would take."""

from collections import Counter

import torch
from benchmarks.page import WHOLE, Pass, Stage, _state_limit, _tabulate_passes

import convlens


def test_runs_are_counted_and_their_limit_is_stated() -> None:
    model = convlens.wrap(torch.nn.Conv2d(3, 2, 3), size=4)
    trace = convlens.trace(model)
    forward = Pass(model, trace, frozenset({1}), frozenset(), (8, 3, 4, 4), to_images=False)
    backward = Pass(model, trace, frozenset({1}), frozenset(), (2, 3, 4, 4), to_images=True)
    whole = Stage(wall=5.0, cpu=6.0, passes=Counter({forward: 3, backward: 2}))
    stages = {WHOLE: whole, "photos": Stage(1.0, 2.0, Counter({forward: 3})), "pictures": Stage()}
    times = {forward: 0.5, backward: 0.25}
    rows = _tabulate_passes("first page", stages, times).rows
    assert rows == ((WHOLE, "5", "24", "4", "2.0"), ("photos", "3", "24", "0", "1.5"))
    sentence = _state_limit("first page", whole, times)
    threads = torch.get_num_threads()
    assert "2.0 s of CPU time" in sentence and "everything else takes 4.0 s" in sentence
    assert f"at best {2 / threads:.1f} s" in sentence
