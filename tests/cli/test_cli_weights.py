"""Weight files and class names on the command line."""

import torch
from typer.testing import CliRunner

import convlens.cli.commands  # noqa: F401 # adds the commands to the app
from convlens.cli.app import app
from convlens.models.loading.load import load

pytest_plugins = "support.loadable"


def test_what_was_done_to_the_weights_is_printed_beside_the_result(tmp_path, nets):
    state = load(f"python:{nets}:network").network.state_dict()
    torch.save({"state_dict": {f"model.{k}": v for k, v in state.items()}}, tmp_path / "w.ckpt")
    spec = f"file:{tmp_path}/w.ckpt@python:{nets}:network"
    result = CliRunner().invoke(app, ["anatomy", "--model", spec, "--size", "16"])
    assert result.exit_code == 0
    assert "without the prefix 'model.'" in result.stderr and "prefix" not in result.stdout


def test_names_of_the_classes(tmp_path, nets):
    names = tmp_path / "names.txt"
    names.write_text("hen\nemu\nowl\n")
    words = ["anatomy", "--model", f"python:{nets}:network", "--size", "16"]
    result = CliRunner().invoke(app, [*words, "--class-names", str(names)])
    assert "has 2 outputs and 3 labels" in str(result.exception)
    names.write_text("hen\nemu\n")
    assert CliRunner().invoke(app, [*words, "--class-names", str(names)]).exit_code == 0
