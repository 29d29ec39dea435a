"""A training that is refused leaves no run folder behind."""

import pytest

import convlens
from convlens import ConvlensError


def test_a_refused_training_leaves_no_folder(tmp_path):
    with pytest.raises(ConvlensError, match="too small"):
        convlens.train("digits", out=tmp_path / "run", network="lenet5", device="cpu")
    assert not (tmp_path / "run").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(ConvlensError, match="too small"):
        convlens.train("digits", out=tmp_path / "mine", network="lenet5", device="cpu")
    assert (tmp_path / "mine").is_dir()
