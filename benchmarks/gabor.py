"""Gabor fits: error under noise beside the Cramér-Rao bound, and the time of a layer with its null.

The bound is computed here, from numerical slopes of the function in all its parameters: no unbiased
estimate has a smaller deviation. Errors are compared by their medians, which a few fits to another
peak of the spectrum do not move, and the share of those is told.
"""

import json
import math
import statistics
import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import convlens
from benchmarks.tables import RESULTS, tell
from benchmarks.timing import machine
from convlens.analyses.gabor.function import gabor
from convlens.analyses.gabor.least_squares import fit_gabor_parameters

COUNT = 500
SIDES = (7, 11)
NOISE = 0.3  # of the filter's deviation
TARGET = 1.25  # times the bound
SECONDS = 30.0  # for 96 filters of 7 x 7 x 3 and 5,000 of noise
MEDIAN_OF_NORMAL = 0.6745  # of the absolute value, in deviations
LOST = 5.0  # deviations from which a fit counts as one to another peak

Parameters = NDArray[np.float64]  # x0, y0, θ, ω, σ along, σ across, then sine and cosine parts


def run() -> None:
    """Measure, print and keep."""
    found: dict[str, object] = {"machine": machine()}
    for side in SIDES:
        found[f"{side} x {side}"] = _errors(side)
    found["seconds"] = _seconds()
    tell(())
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "gabor.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"written: {path}")


def _errors(side: int) -> dict[str, float]:
    rng = np.random.default_rng(side)
    drawn = [_drawn(rng, side) for _ in range(COUNT)]
    clean = np.stack([_filter(one, side) for one in drawn])
    deviation = NOISE * clean.reshape(COUNT, -1).std(axis=1)
    noisy = clean + deviation[:, None, None, None] * rng.normal(size=clean.shape)
    fit = fit_gabor_parameters(torch.from_numpy(noisy))
    ratios: dict[str, list[float]] = {"orientation": [], "frequency": []}
    for number, one in enumerate(drawn):
        slopes = _slopes(one, side)
        bound = np.sqrt(np.diag(np.linalg.inv(slopes.T @ slopes))) * deviation[number]
        turned = float(fit.theta[number]) - one[2]
        error = abs((turned + math.pi / 2) % math.pi - math.pi / 2)
        ratios["orientation"].append(error / bound[2])
        omega = 2 * math.pi * float(fit.frequency[number])
        ratios["frequency"].append(abs(omega - one[3]) / bound[3])
    told = {}
    for name, values in ratios.items():
        told[name] = statistics.median(values) / MEDIAN_OF_NORMAL
        lost = sum(value > LOST for value in values) / COUNT
        print(
            f"{side} x {side} x 3, noise {NOISE:g}: error of {name} {told[name]:.2f} times the "
            f"bound (target {TARGET:g}: {'met' if told[name] <= TARGET else 'MISSED'}); "
            f"{lost:.1%} further than {LOST:g} deviations"
        )
    return told


def _seconds() -> float:
    """A layer of 96 filters like those of the errors, with the null."""
    rng = np.random.default_rng(0)
    layer = nn.Conv2d(3, 96, 7)
    made = np.stack([_filter(_drawn(rng, 7), 7) for _ in range(96)])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(made + 0.05 * rng.normal(size=made.shape)))
    model = convlens.wrap(nn.Sequential(layer), size=32)
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        convlens.fit_gabor(model, null_size=5000)
        taken.append(time.perf_counter() - began)
    seconds = statistics.median(taken)
    print(
        f"96 filters and 5,000 of noise, 7 x 7 x 3: {seconds:.1f} s ({min(taken):.1f} to "
        f"{max(taken):.1f}; target {SECONDS:g}: {'met' if seconds <= SECONDS else 'MISSED'})"
    )
    return seconds


def _drawn(rng: np.random.Generator, side: int) -> Parameters:
    amplitude, phase = rng.uniform(0.3, 1, 3), rng.uniform(-math.pi, math.pi, 3)
    shared = [
        *rng.uniform(-0.5, 0.5, 2),
        rng.uniform(-math.pi / 2, math.pi / 2),
        2 * math.pi * rng.uniform(0.14, 0.35),
        *(rng.uniform(0.18, 0.35, 2) * side),
    ]
    return np.array([*shared, *(amplitude * np.cos(phase)), *(amplitude * np.sin(phase))])


def _filter(parameters: Parameters, side: int) -> Parameters:
    """`(3, M, M)`."""
    axis = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    x0, y0, theta, omega, along, across = map(float, parameters[:6])

    def wave(phase: float) -> Tensor:
        return gabor(x, y, 1.0, 0.5 / along**2, 0.5 / across**2, omega, phase, x0, y0, theta)

    sine, cosine = (torch.from_numpy(part)[:, None, None] for part in np.split(parameters[6:], 2))
    return (sine * wave(0.0) + cosine * wave(math.pi / 2)).numpy()


def _slopes(parameters: Parameters, side: int) -> Parameters:
    columns = []
    for number in range(len(parameters)):
        step = np.zeros_like(parameters)
        step[number] = 1e-5
        ahead, behind = _filter(parameters + step, side), _filter(parameters - step, side)
        columns.append((ahead - behind).ravel() / 2e-5)
    return np.stack(columns, axis=1)
