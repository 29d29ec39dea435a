"""The page says what the model was not given."""

import numpy as np
import torch
from PIL import Image
from torch import nn

import convlens
from convlens.page import sections


def test_missing_settings_are_findings(tmp_path, monkeypatch):
    monkeypatch.setattr(sections, "SECTIONS", ("network",))
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "black.png")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    bare = convlens.wrap(network, size=8)
    complete = convlens.wrap(network, size=8, mean=0.5, labels=["cat", "dog"])
    sentences = []
    for number, model in enumerate((bare, complete)):
        out = tmp_path / f"page-{number}"
        report = convlens.report(model, [tmp_path / "black.png"], out=out)
        looks = [finding for finding in report.findings if finding.mark == "look"]
        sentences.append([finding.sentence.partition(" set:")[0] for finding in looks])
    assert {"No normalization is", "No class names are"} <= set(sentences[0])
    assert not any(sentence.startswith("No ") for sentence in sentences[1])
