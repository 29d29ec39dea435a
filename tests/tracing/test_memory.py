"""The estimate of a run's memory, beside what torch allocates in the run."""

import logging

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

import convlens
from convlens import ConvlensError
from convlens.capture.gradients import compute_gradients
from convlens.capture.nodes import capture_nodes
from convlens.tracing.memory import LIMIT_VARIABLE, count_values
from convlens.tracing.selection import find_channel_sources

SIDE = 96


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4 * channels, 1)
        self.norm = nn.BatchNorm2d(4 * channels)
        self.conv2 = nn.Conv2d(4 * channels, channels, 3, padding=1)

    def forward(self, x):
        return torch.relu(x + self.conv2(torch.relu(self.norm(self.conv1(x)))))


class Gate(nn.Module):
    """Depends on the whole image, so that what follows cannot be computed in tiles."""

    def forward(self, x):
        return x * torch.sigmoid(x.mean((2, 3), keepdim=True))


def head(channels):
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 4)


NETWORKS = {
    "plain": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 24, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(24, 8, 3), *head(8),
    ),
    "gate": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), Gate(), nn.ReLU(), nn.Conv2d(8, 8, 3), *head(8)
    ),
    "in place": lambda: nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(inplace=True),
        nn.Conv2d(16, 4, 3, stride=2), nn.ReLU(inplace=True), *head(4),
    ),
    "residual": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), Residual(8), Residual(8), nn.MaxPool2d(4), *head(8)
    ),
}  # fmt: skip


def model_of(name):
    torch.manual_seed(0)
    return convlens.wrap(NETWORKS[name]().eval(), size=SIDE)


def peak_values(run):
    """The most float32 values that torch has allocated at once during a call."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = [
        event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"
    ]
    size = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        size += event.nbytes()
        most = max(most, size)
    return most / 4


@pytest.fixture
def real_batches(monkeypatch):
    """The number of images of each run of a convolution on large images that are not fake."""
    batches, forward = [], nn.Conv2d.forward

    def recording_forward(module, images):
        if type(images) is torch.Tensor and images.shape[-1] > 1000:
            batches.append(len(images))
        return forward(module, images)

    monkeypatch.setattr(nn.Conv2d, "forward", recording_forward)
    return batches


@pytest.mark.parametrize("name", NETWORKS)
def test_estimate_is_near_what_torch_allocates(name):
    model = model_of(name)
    images = torch.rand(1, 3, SIDE, SIDE)
    trace = convlens.trace(model, images)
    (source,) = find_channel_sources(trace, ["0"])
    final = trace.final_layer.post

    def explain():
        activations = capture_nodes(
            model, trace, images, [trace.logits], gradient_nodes=[source.node]
        )
        output = activations[trace.logits]
        compute_gradients(output, [activations[source.node]], torch.ones(1, *output.shape))

    runs = {
        (final,): lambda: capture_nodes(model, trace, images, [final]),
        (trace.logits, source.node): explain,
    }
    for nodes, run in runs.items():
        run()
        estimate = count_values(trace, nodes, nodes[1:])
        assert 0.6 <= estimate / peak_values(run) <= 1.6


def test_large_images_are_refused_before_the_network_runs(monkeypatch, real_batches):
    model = model_of("gate")
    images = torch.rand(1, 3, 1500, 1500)
    trace = convlens.trace(model, images)
    needed = 4 * count_values(trace, [trace.logits], trace.final_layer.pre)
    monkeypatch.setenv(LIMIT_VARIABLE, str(0.9 * needed / 1e9))
    with pytest.raises(ConvlensError, match=r"memory for an image of 1500 x 1500, and .* allowed"):
        convlens.gradcam(model, images)
    with pytest.raises(ConvlensError, match=r"for 2 images .* or fewer images at once, or set"):
        # A function of the output receives all images, which classes of them do not.
        convlens.gradcam(model, images.expand(2, -1, -1, -1), target=lambda output: output[:, 0])
    assert not real_batches


def test_the_limit_can_be_raised_and_the_memory_is_stated(monkeypatch, caplog):
    model = model_of("in place")
    images = torch.rand(1, 3, 1500, 1500)
    monkeypatch.setenv(LIMIT_VARIABLE, "0.001")
    with pytest.raises(ConvlensError, match="allowed by CONVLENS_MEMORY_GB"):
        convlens.feature_maps(model, images)
    monkeypatch.setenv(LIMIT_VARIABLE, "64")
    with caplog.at_level(logging.INFO, logger="convlens.memory"):
        convlens.feature_maps(model, images)
    (record,) = caplog.records
    assert "GB of memory for an image of 1500 x 1500; 64.0 GB are allowed" in record.getMessage()


@pytest.mark.parametrize("text", ["many", "-1", "nan"])
def test_a_limit_that_is_no_number_is_refused(monkeypatch, text):
    monkeypatch.setenv(LIMIT_VARIABLE, text)
    with pytest.raises(ConvlensError, match=r"CONVLENS_MEMORY_GB=.* is no number of gigabytes"):
        convlens.gradcam(model_of("plain"), torch.rand(1, 3, 1500, 1500))


def test_small_images_are_not_examined(monkeypatch):
    monkeypatch.setenv(LIMIT_VARIABLE, "0.000001")
    convlens.gradcam(model_of("plain"), torch.rand(1, 3, SIDE, SIDE))


def test_a_pass_takes_few_large_images_at_once(real_batches):
    network = nn.Sequential(nn.Conv2d(3, 2, 3, stride=8), nn.ReLU(), *head(2)).eval()
    model = convlens.wrap(network, size=1200)
    images = torch.rand(1, 3, 1200, 1200).expand(7, -1, -1, -1)
    convlens.patches(model, images, top=1, show=0)
    assert max(real_batches) == 5  # 5 × 1200 × 1200 pixels are below 8 million
    real_batches.clear()
    convlens.predict(model, images)
    assert real_batches == [1] * 7  # an image, the largest tensor, has 17 of 26 MB


def test_crops_of_more_channels_need_no_further_runs_of_a_large_image(real_batches):
    network = nn.Sequential(nn.Conv2d(3, 20, 3, stride=8), nn.ReLU(), *head(20)).eval()
    model = convlens.wrap(network, size=1200)
    images = torch.rand(1, 3, 1200, 1200)
    convlens.patches(model, images, layers="0", show=1)
    runs = len(real_batches)
    (layer,) = convlens.patches(model, images, layers="0", show=20).layers
    assert len(layer.shown) == 20 and layer.crop_check.checked >= 20 and layer.crop_check.holds
    assert len(real_batches) <= 2 * runs


def test_freed_memory_is_released_before_a_run_is_refused(monkeypatch):
    """The memory of earlier runs counts as in use until it is released."""
    free = [1]
    monkeypatch.setattr("convlens.tracing.memory.free_memory", lambda device: free[0])
    monkeypatch.setattr("convlens.tracing.memory.release_freed_memory", lambda: None)
    model, images = model_of("plain"), torch.rand(1, 3, 1500, 1500)
    with pytest.raises(ConvlensError, match=r"0\.0 GB are free"):
        convlens.feature_maps(model, images, layer="0")
    monkeypatch.setattr(
        "convlens.tracing.memory.release_freed_memory", lambda: free.__setitem__(0, 10**11)
    )
    assert convlens.feature_maps(model, images, layer="0").maps.shape == (8, 1500, 1500)


@pytest.mark.parametrize("times", [0.5, 3])
def test_freed_memory_is_released_where_it_exceeds_what_a_run_takes(monkeypatch, times):
    model, images = model_of("plain"), torch.rand(1, 3, 1500, 1500)
    trace = convlens.trace(model, images)
    needed = 4 * count_values(trace, [find_channel_sources(trace, ["0"])[0].node], ())
    released = []
    monkeypatch.setattr("convlens.tracing.memory.kept_memory", lambda: times * needed)
    monkeypatch.setattr(
        "convlens.tracing.memory.release_freed_memory", lambda: released.append(True)
    )
    convlens.feature_maps(model, images, layer="0")
    assert bool(released) == (times > 2)
