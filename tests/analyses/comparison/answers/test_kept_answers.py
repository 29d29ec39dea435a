"""The answers of the photos that `diff` names are kept by its pass, in any batches and order."""

import pytest
import torch

import convlens
from convlens import PassOptions
from convlens.analyses.comparison.answers import answer_work
from convlens.analyses.comparison.answers.answer_work import KINDS, AnswerWork
from convlens.analyses.comparison.answers.class_pairing import pair_classes
from convlens.analyses.predictions.predictions import compute_logits
from support.compared_networks import changed, images, model


def other_model():
    return model(changed(lambda module: module[8].weight.copy_(module[8].weight.roll(1, 0))))


def labels_of(first, second, batch):
    """Each network is right for a third of the photos; the others have no label."""
    answers = [each(batch).argmax(dim=1).tolist() for each in (first, second)]
    return [
        ((own,), (other,), None)[number % 3]
        for number, (own, other) in enumerate(zip(*answers, strict=True))
    ]


@pytest.mark.parametrize("batch_size", [1, 7, 80])
def test_kept_answers_are_those_of_each_photo(batch_size):
    first, second, batch = model(), other_model(), images(80)
    result = convlens.compare_answers(
        first, second, batch, labels=labels_of(first, second, batch),
        pass_options=PassOptions(batch_size=batch_size),
    )  # fmt: skip
    assert {pair.kind for pair in result.pairs} == set(KINDS)
    for pair in result.pairs:
        for each, name in ((first, "first"), (second, "second")):
            shares = each(batch[pair.number : pair.number + 1]).detach().softmax(dim=1)[0]
            assert getattr(pair, f"{name}_class") == int(shares.argmax())
            assert getattr(pair, f"{name}_probability") == pytest.approx(float(shares.max()))


def test_every_photo_is_classified_once_by_each_network(monkeypatch):
    first, second, batch = model(), other_model(), images(80)
    counts = []

    def count(model, trace, images):
        counts.append(len(images))
        return compute_logits(model, trace, images)

    monkeypatch.setattr(answer_work, "compute_logits", count)
    result = convlens.compare_answers(first, second, batch, labels=labels_of(first, second, batch))
    assert len(result.pairs) > 20
    assert sum(counts) == 2 * 80


def test_parts_that_are_merged_in_any_order_keep_the_same_answers():
    first, second, batch = model(), other_model(), images(80)
    work = AnswerWork(
        first=first, second=second, photos=None, classes=pair_classes(first, second, 5, 5),
        labels=labels_of(first, second, batch), top=6, folds=False,
    )  # fmt: skip

    def state_of(start, stop):
        state = work.initial_state()
        work.process_batch(state, batch[start:stop], torch.arange(start, stop))
        return state

    parts = [state_of(start, start + 16) for start in range(0, 80, 16)]
    forward, backward = work.initial_state(), work.initial_state()
    for part in parts:
        forward = work.merge(forward, part)
    for part in reversed(parts):
        backward = work.merge(part, backward)
    whole = work.initial_state()
    for start in range(0, 80, 16):
        work.process_batch(whole, batch[start : start + 16], torch.arange(start, start + 16))
    assert bool(whole["classes"].any()) and len(whole["classes"].unique()) > 2
    for name, tensor in whole.items():
        assert torch.equal(tensor, forward[name]), name
        assert torch.equal(tensor, backward[name]), name
