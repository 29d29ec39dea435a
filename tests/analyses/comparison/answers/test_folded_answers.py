"""Answers of copies with folded batch normalizations, where two networks differ."""

import pytest
from torch.nn import functional

import convlens
from support.compared_networks import changed, images, model, network


@pytest.fixture
def normalized(monkeypatch):
    """The number of images of each batch normalization that runs."""
    counts = []
    batch_norm = functional.batch_norm

    def count(batch, *arguments, **options):
        counts.append(len(batch))
        return batch_norm(batch, *arguments, **options)

    monkeypatch.setattr(functional, "batch_norm", count)
    return counts


def double_one_class(module):
    module[8].weight[2] *= 2


def change_an_unused_channel(module):
    """A weight by which no logit changes, because the channel does not reach the last layer."""
    module[8].weight[:, 3] = 0
    module[4].weight[3] += 1


def ignore_a_channel(module):
    module[8].weight[:, 3] = 0


def test_networks_that_differ_answer_without_batch_norms(normalized):
    result = convlens.compare_answers(model(), model(changed(double_one_class)), images(20))
    assert 20 not in normalized
    assert not result.identical
    before, after = model()(images(20)), model(changed(double_one_class))(images(20))
    largest = float((before - after).detach().abs().max())
    assert result.largest_change == pytest.approx(largest, rel=1e-5)


def test_equal_networks_answer_themselves(normalized):
    assert convlens.compare_answers(model(), model(network()), images(20)).identical
    assert normalized.count(20) == 2


def test_equal_logits_of_copies_are_computed_again_by_the_networks(normalized, tmp_path):
    models = model(changed(ignore_a_channel)), model(changed(change_an_unused_channel))
    options = convlens.PassOptions(resume_folder=tmp_path / "resume")
    result = convlens.compare_answers(*models, images(20), pass_options=options)
    assert result.identical
    assert result.images == 20
    assert normalized.count(20) == 2
