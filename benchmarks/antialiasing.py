"""Accuracy and consistency under shifts of networks trained with max and with blur pooling.

The same network is trained with max pooling and with max pooling that is blurred before it is
subsampled (Zhang 2019). Each is trained with several seeds and without shifts among the
augmentations. Consistency is the share of images of which two shifted views get the same
prediction.
"""

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

import convlens
from benchmarks.tables import TextTable, print_remarks, print_text_table, write_results
from convlens.training import Dataset, open_data, train

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "fashion-mnist"
SEEDS = (0, 1, 2)
TRAINING, VALIDATION = 6000, 2000  # images of Fashion-MNIST
EPOCHS = 8
POOLINGS = ("max", "blur")
METRICS = {
    "accuracy": "accuracy",
    "crop": "consistency of shifted crops",
    "circular": "consistency of circular shifts",
}
_Figures = Mapping[str, float]  # of a training, by metric


def run() -> None:
    """Train, print and write the results."""
    content: dict[str, object] = {"epochs": EPOCHS}
    rows = []
    datasets = _load_data()
    for name, data in datasets.items():
        runs = {pooling: [_train(data, pooling, seed) for seed in SEEDS] for pooling in POOLINGS}
        rows += [
            (name, words, *(_describe(runs[pooling], metric) for pooling in POOLINGS))
            for metric, words in METRICS.items()
        ]
        content[name] = {
            "training_images": len(data.train),
            "validation_images": len(data.validation),
            "runs": runs,
        }
    table = TextTable(
        f"mean of {len(SEEDS)} seeds (smallest to largest), {EPOCHS} epochs",
        ("data", "measure", *(f"{pooling} pooling" for pooling in POOLINGS)),
        tuple(rows),
    )
    remarks = [
        f"{name}: {len(data.train):,} training and {len(data.validation):,} validation images"
        for name, data in datasets.items()
    ]
    if "fashion-mnist" not in datasets:
        remarks.append(f"fashion-mnist: skipped, there is no {DATA}")
    print_text_table(table)
    print_remarks(remarks)
    write_results("antialiasing", content, tables=[table], remarks=remarks)


def _load_data() -> dict[str, Dataset]:
    """The digits, and a part of Fashion-MNIST if it is in the data folder."""
    datasets = {"digits": open_data("digits")}
    if not DATA.is_dir():
        return datasets
    whole = open_data(DATA)
    datasets["fashion-mnist"] = replace(
        whole,
        train=whole.train[torch.arange(TRAINING)],
        validation=whole.validation[torch.arange(VALIDATION)],
    )
    return datasets


def _train(data: Dataset, pooling: str, seed: int) -> _Figures:
    """Accuracy and consistency of a network that is trained with a kind of pooling."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        training = train(
            data, out=Path(folder) / "run", seed=seed, epochs=EPOCHS, pooling=pooling, shift=0
        )
        model = convlens.load(training.folder)
    images = data.validation.pixels.permute(0, 3, 1, 2).float() / 255
    labels = [[int(label)] for label in data.validation.classes]
    invariance = convlens.shift(model, images, labels=labels, shifts=[], every=0)
    figures = {"accuracy": training.accuracy}
    for protocol in invariance.consistency:
        figures[protocol.protocol] = protocol.agreement.share
    seconds = time.perf_counter() - start
    print(f"{pooling}, seed {seed}: {figures}, {seconds:.0f} s", flush=True)
    return figures


def _describe(runs: Sequence[_Figures], metric: str) -> str:
    shares = [figures[metric] for figures in runs]
    return f"{statistics.mean(shares):.1%} ({min(shares):.1%} to {max(shares):.1%})"
