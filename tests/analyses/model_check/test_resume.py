"""A check that was stopped continues, and ends with the findings of one that was not."""

import pytest
import torch
from torch import nn

import convlens
from convlens import PassOptions


class Stopped(Exception):
    pass


def test_a_check_that_was_stopped_continues(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    )
    model = convlens.wrap(network, size=8)
    images, labels = torch.rand(60, 3, 8, 8), [(number % 4,) for number in range(60)]
    events = []

    def stop(stage, done, total):
        if stage == "photos" and done >= 40:
            raise Stopped

    options = {"batch_size": 10, "resume_folder": tmp_path / "state", "save_interval": 0.0}
    with pytest.raises(Stopped):
        convlens.check(model, images, labels, pass_options=PassOptions(progress=stop, **options))
    resumed = convlens.check(
        model, images, labels,
        pass_options=PassOptions(progress=lambda *event: events.append(event), **options),
    )  # fmt: skip
    # The first event is of the pass over all photos, the later ones of a sample.
    assert next(done for stage, done, total in events if stage == "photos") >= 30
    assert resumed == convlens.check(model, images, labels, pass_options=PassOptions(batch_size=10))
