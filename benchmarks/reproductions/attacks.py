"""FGSM and PGD on MNIST: logistic regression, softmax regression, and a certified network."""

from functools import cache

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import convlens
from benchmarks.reproductions.published_figure import (
    SHARED,
    Outcome,
    PublishedFigure,
    judge,
    percent,
)

_MNIST = SHARED / "data" / "mnist"
_CERTIFIED = SHARED / "weights" / "mnist_certified.safetensors"
_GOODFELLOW = "Goodfellow et al., Explaining and Harnessing Adversarial Examples, 2014"
_WONG = "Wong et al., convex_adversarial, 2018"


def reproductions() -> list[PublishedFigure]:
    """The figures, in the order of the table."""
    return [
        PublishedFigure(
            "errors of logistic regression, 3 against 7, FGSM at 0.25", "1.6 %, attacked 99 %",
            _GOODFELLOW, _attack_pair, (_MNIST,),
        ),
        PublishedFigure(
            "errors of softmax regression, ten digits, FGSM at 0.25", "attacked 99.9 %",
            _GOODFELLOW, _attack_digits, (_MNIST,),
        ),
        PublishedFigure(
            "errors of a certified network at 0.1",
            "FGSM 3.9 %, PGD 4.1 %, certified at most 5.8 %",
            _WONG, _attack_certified, (_MNIST, _CERTIFIED),
        ),
    ]  # fmt: skip


@cache
def _load(part: str) -> tuple[Tensor, Tensor]:
    """Images `(N, 1, 28, 28)` from 0 to 1 and classes of the training or validation part."""
    data = convlens.open_data(_MNIST)
    images = data.train if part == "train" else data.validation
    return images.pixels.permute(0, 3, 1, 2).float() / 255, images.classes


def _fit_linear(images: Tensor, classes: Tensor, outputs: int) -> nn.Module:
    """A linear classifier, fitted by L-BFGS with a little weight decay."""
    layer = nn.Linear(images[0].numel(), outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    network = nn.Sequential(nn.Flatten(), layer)
    optimizer = torch.optim.LBFGS(network.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = nn.functional.cross_entropy(network(images), classes)
        value = value + 1e-5 * layer.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return network


def _errors(
    network: nn.Module, images: Tensor, classes: Tensor, epsilon: float, pgd_steps: int = 0
) -> dict[str, tuple[float, float]]:
    """Shares of errors without and with each attack."""
    result = convlens.robustness(
        convlens.wrap(network, size=28, channels=1),
        images,
        [epsilon],
        labels=[(index,) for index in classes.tolist()],
        pgd_steps=pgd_steps,
        pass_options=convlens.PassOptions(batch_size=500),
    )
    return {
        curve.name: (1 - curve.accuracies[0], 1 - curve.accuracies[1]) for curve in result.curves
    }


def _attack_pair() -> Outcome:
    parts = []
    for part in ("train", "validation"):
        images, classes = _load(part)
        of_pair = (classes == 3) | (classes == 7)
        parts.append((images[of_pair], (classes[of_pair] == 7).long()))
    clean, attacked = _errors(_fit_linear(*parts[0], 2), *parts[1], 0.25)["FGSM"]
    return judge(
        f"{percent(clean)}, attacked {percent(attacked)}", clean < 0.03 and attacked > 0.97
    )


def _attack_digits() -> Outcome:
    clean, attacked = _errors(_fit_linear(*_load("train"), 10), *_load("validation"), 0.25)["FGSM"]
    return judge(f"{percent(clean)}, attacked {percent(attacked)}", attacked > 0.99)


def _attack_certified() -> Outcome:
    network = nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(1568, 100), nn.ReLU(), nn.Linear(100, 10),
    )  # fmt: skip
    network.load_state_dict(load_file(_CERTIFIED))
    errors = _errors(network, *_load("validation"), 0.1, pgd_steps=40)
    (clean, fgsm), (_, pgd) = errors["FGSM"], errors["PGD"]
    return judge(
        f"FGSM {percent(fgsm, 2)}, PGD {percent(pgd, 2)} (without attack {percent(clean, 2)})",
        abs(fgsm - 0.039) < 0.002 and abs(pgd - 0.041) < 0.002 and pgd <= 0.058,
    )
