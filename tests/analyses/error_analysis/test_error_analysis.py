"""Error analysis against scikit-learn, and its state in any order, grouping and engine."""

import csv
import json

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, top_k_accuracy_score
from torch import nn
from torchmetrics.functional.classification import multiclass_calibration_error

import convlens
from convlens import ConvlensError, PassOptions
from convlens.analyses.error_analysis import kept_photos

SIZE, CLASSES, COUNT = 8, 8, 60
NAMES = [f"kind {index}" for index in range(CLASSES)]


def model(outputs=CLASSES, *layers):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, outputs), *layers)
    # Sums of such numbers are exact, in whatever order and batch they are added.
    network[1].weight.data.mul_(64).round_().div_(16)
    network[1].bias.data.zero_()
    return convlens.wrap(network, size=SIZE, labels=NAMES if outputs == CLASSES else None)


def images(count=COUNT):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 17, (count, 3, SIZE, SIZE), generator=generator) / 16


def labels(wrapped, batch, wrong=3):
    """The predictions as labels, but for every `wrong`-th image, which has the second class."""
    classes = convlens.predict(wrapped, batch, top=2).classes
    return [(int(row[int(number % wrong == 0)]),) for number, row in enumerate(classes)]


@pytest.fixture(scope="module")
def analyzed():
    wrapped, batch = model(), images()
    right = labels(wrapped, batch)
    return wrapped, batch, right, convlens.error_analysis(wrapped, batch, right, examine=0)


def test_counts_equal_those_of_scikit_learn(analyzed):
    wrapped, batch, right, result = analyzed
    logits = convlens.predict(wrapped, batch).logits
    flat = [classes[0] for classes in right]
    expected = confusion_matrix(flat, logits.argmax(1), labels=range(CLASSES))
    assert result.accuracy.count == np.trace(expected) == COUNT - COUNT // 3
    assert result.class_counts.tolist() == expected.sum(axis=1).tolist()
    assert result.class_right.tolist() == np.diag(expected).tolist()
    off_diagonal = expected - np.diag(np.diag(expected))
    assert result.confusion.tolist() == off_diagonal.tolist()
    top5 = top_k_accuracy_score(flat, logits, k=5, labels=range(CLASSES), normalize=False)
    assert result.top5.count == top5 == int(result.class_top5.sum())
    pairs = [(pair.share.count, pair.label, pair.prediction) for pair in result.pairs]
    assert pairs[0][0] == off_diagonal.max()
    assert all(off_diagonal[label, prediction] == count for count, label, prediction in pairs)
    expected_error = multiclass_calibration_error(
        logits.softmax(1), torch.tensor(flat), CLASSES, n_bins=15, norm="l1"
    )
    assert result.calibration.equal_width.error.estimate == pytest.approx(
        float(expected_error), abs=1e-5
    )


def test_errors_are_listed_the_surest_first(analyzed):
    wrapped, batch, right, result = analyzed
    shares = convlens.predict(wrapped, batch).probabilities
    assert {error.number for error in result.wrong} == set(range(0, COUNT, 3))
    for error in result.wrong:
        row = shares[error.number]
        assert error.prediction == int(row.argmax())
        assert error.confidence == pytest.approx(float(row.max()), abs=1e-6)
        assert error.label_probability == pytest.approx(float(row[error.label]), abs=1e-6)
        assert error.label_rank == 1
        assert (error.label,) == right[error.number]
        assert error.prediction_name == NAMES[error.prediction]
    confidences = [error.confidence for error in result.wrong]
    assert confidences == sorted(confidences, reverse=True)
    assert result.shown == 16
    assert result.pixels.shape[1:] == (SIZE, SIZE, 3)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_result_does_not_depend_on_the_batches(analyzed, batch_size):
    wrapped, batch, right, result = analyzed
    options = PassOptions(batch_size=batch_size)
    assert convlens.error_analysis(wrapped, batch, right, examine=0, pass_options=options) == result


def test_the_kept_errors_do_not_depend_on_order_and_grouping():
    generator = torch.Generator().manual_seed(0)
    count = 50
    errors = {
        "key": torch.randint(0, 9, (count,), generator=generator),
        "photo": torch.randperm(count, generator=generator),
        "label": torch.arange(count), "prediction": torch.arange(count),
        "confidence": torch.rand(count, generator=generator).double(),
        "label_probability": torch.rand(count, generator=generator).double(),
        "label_rank": torch.arange(count),
    }  # fmt: skip
    merged_tables = []
    for parts in (1, 3, 50):
        tables = []
        for rows in torch.randperm(count, generator=generator).chunk(parts):
            table = kept_photos.empty_table(12)
            kept_photos.insert(table, {name: column[rows] for name, column in errors.items()})
            tables.append(table)
        merged = kept_photos.empty_table(12)
        for table in tables:
            merged = kept_photos.merge(merged, table)
        merged_tables.append(kept_photos.filled_entries(merged))
    expected = sorted(zip((-errors["key"]).tolist(), errors["photo"].tolist(), strict=True))[:12]
    for table in merged_tables:
        entries = zip((-table["key"]).tolist(), table["photo"].tolist(), strict=True)
        assert list(entries) == expected


def test_photos_without_labels_and_with_several(analyzed):
    wrapped, batch, right, result = analyzed
    some = [None if number < 6 else classes for number, classes in enumerate(right)]
    part = convlens.error_analysis(wrapped, batch, some)
    assert (part.unlabeled, part.images) == (6, COUNT - 6)
    assert part.wrong == tuple(error for error in result.wrong if error.number >= 6)
    predicted = convlens.predict(wrapped, batch, top=1).classes[:, 0].tolist()
    either = [(*classes, index) for classes, index in zip(right, predicted, strict=True)]
    both = convlens.error_analysis(wrapped, batch, either)
    assert both.accuracy.count == COUNT
    assert not both.wrong
    assert both.confusion.sum() == 0


def test_a_network_with_one_output():
    wrapped, batch = model(1), images()
    predicted = convlens.predict(wrapped, batch, top=1)
    right = [(int(row),) for row in predicted.classes[:, 0]]
    right[5] = (-1 - right[5][0],)
    result = convlens.error_analysis(wrapped, batch, right, examine=0)
    assert result.classes == (0, -1)
    assert result.class_names == ("class 0", "not class 0")
    assert result.accuracy.count == COUNT - 1
    assert result.top5 is None
    (error,) = result.wrong
    assert (error.label, error.prediction) == (right[5][0], -1 - right[5][0])
    assert error.confidence == pytest.approx(float(predicted.confidences[5, 0]), abs=1e-6)
    logit = predicted.logits[:, 0].double()
    signs = torch.tensor([1.0 if classes == (0,) else -1.0 for classes in right])
    loss = -nn.functional.logsigmoid(signs * logit).mean()
    assert result.calibration.loss == pytest.approx(float(loss), abs=1e-5)


def test_outputs_that_are_probabilities_have_no_temperature():
    result = convlens.error_analysis(model(CLASSES, nn.Sigmoid()), images(), [(0,)] * COUNT)
    assert result.calibration.temperature is None
    assert result.calibration.loss is None


def test_labels_that_may_be_wrong():
    class Sure(nn.Module):
        """Predicts the class that the first pixel names, surely where the second one is white."""

        def forward(self, x):
            kind = nn.functional.one_hot((x[:, 0, 0, 0] * 2).round().long(), 3)
            return kind * (1 + 5 * x[:, 0, 0, 1:2])

    batch = torch.zeros(40, 3, SIZE, SIZE)
    batch[:, 0, 0, 0] = torch.arange(40) % 2 / 2
    batch[:, 0, 0, 1] = torch.linspace(0, 1, 40)
    right: list[tuple[int, ...]] = [(number % 2,) for number in range(40)]
    right[2], right[38] = (2,), (2,)  # the first is unsure, the other one sure
    result = convlens.error_analysis(convlens.wrap(Sure(), size=SIZE), batch, right, examine=0)
    assert [error.number for error in result.wrong] == [38, 2]
    assert [error.number for error in result.suspicious] == [38]


def test_the_folder_and_the_result_loaded_again(analyzed, tmp_path):
    *_, result = analyzed
    result.save(tmp_path / "errors")
    assert convlens.Result.load(tmp_path / "errors") == result
    with (tmp_path / "errors" / "errors.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [error.photo for error in result.wrong]
    with (tmp_path / "errors" / "classes.csv").open(encoding="utf-8") as file:
        counts = [int(row["right"]) for row in csv.DictReader(file)]
    assert counts == result.class_right.tolist()
    numbers = json.loads((tmp_path / "errors" / "numbers.json").read_text())
    assert len(numbers["wrong"]) == result.shown
    names = {path.name for path in (tmp_path / "errors").glob("*.png")}
    assert {"surest_errors.png", "most_frequent_confusions.png"} <= names


def test_a_resumed_pass_ends_with_the_same_result(analyzed, tmp_path):
    wrapped, batch, right, result = analyzed

    class Stop(Exception):
        pass

    def stop(stage, done, total):
        if done >= 30:
            raise Stop

    options = {"batch_size": 10, "resume_folder": tmp_path / "state", "save_interval": 0.0}
    with pytest.raises(Stop):
        convlens.error_analysis(
            wrapped,
            batch,
            right,
            examine=0,
            pass_options=PassOptions(progress=stop, **options),
        )
    resumed = convlens.error_analysis(
        wrapped, batch, right, examine=0, pass_options=PassOptions(**options)
    )
    assert resumed == result


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"labels": [(0,)]}, "1 labels for 60 photos; give one entry per photo"),
        ({"labels": [(9,)] * COUNT}, "a label outside 0 to 7"),
        ({"labels": [None] * COUNT}, "none of the photos has a label; give the right classes"),
        ({"bins": 1}, "1 bins, show 16, examine 32; give at least 2 bins"),
        ({"model": convlens.wrap(nn.Conv2d(3, 4, 3), size=SIZE)}, "needs one vector"),
    ],
)
def test_refusals(analyzed, changed, words):
    wrapped, batch, right, _ = analyzed
    arguments = {"model": wrapped, "photos": batch, "labels": right, **changed}
    if "model" in changed:
        arguments["labels"] = [(0,)] * COUNT
    with pytest.raises(ConvlensError, match=words):
        convlens.error_analysis(**arguments)
