"""Mistyped commands end in one line before torch is imported, and before a folder is written."""

import json
import subprocess
import sys

import pytest
from PIL import Image

# Runs commands in a process in which the import of torch fails.
RUNNER = """
import contextlib, io, json, sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise RuntimeError("torch is imported")

sys.meta_path.insert(0, NoTorch())
from convlens.cli import main

answers = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["convlens", *words]
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        try:
            main()
        except SystemExit as stop:
            status = stop.code
        except RuntimeError as error:
            status = str(error)
    answers.append([status, errors.getvalue()])
print(json.dumps(answers))
"""

CASES = {
    "gradcamm cat.png": "No such command 'gradcamm'. Did you mean 'gradcam'",
    "gradcam ct.png": "ct.png does not exist; nearest: cat.png",
    "gradcam": "Missing argument",
    "gradcam cat.png --clas tabby": "No such option: --clas",
    "gradcam cat.png --side pree": "'pree' is not one of 'pre', 'post', 'output'",
    "gradcam cat.png --top many": "'many'",
    "gradcam cat.png --top 0": "greater than or equal to 1, not '0'",
    "gradcam cat.png --pixel 3": "position '3' is not Y,X",
    "gradcam cat.png --size 22y4": "size '22y4' is not a number of pixels",
    "gradcam cat.png --boxes label.csv": "label.csv does not exist; nearest: labels.csv",
    "gradcam text.png": "text.png is not an image that can be read",
    "gradcam cat.png --model weights.pth": "there is no file weights.pth",
    "gradcam cat.png --model file:weights.pth@default": "there is no file weights.pth",
    "gradcam cat.png --model python:mine.py:make": "there is no file mine.py",
    "gradcam cat.png --model make.py": "give make.py:FACTORY",
    "gradcam cat.png --class-names names.txt": "names.txt cannot be read",
    "gradcam cat.png --engine rai": "'rai' is not one of 'local', 'ray'",
    "gradcam cat.png --actors 2": "--actors is an option of --engine ray",
    "gradcam cat.png --column photo": "is an option of Parquet files",
    "gradcam cat.png --out cat.png": "cat.png: it is a file",
    "gradcam cat.png --resume": "there is nothing to resume",
    "fgsm cat.png --epsilons 8/25x": "epsilon '8/25x' is not a number",
    "fgsm cat.png --epsilons=-1/255": "epsilon -1/255 is negative",
    "fgsm cat.png --epsilons 9/8": "outside 0 to 1",
    "fgsm cat.png --loss crossentropy": "'crossentropy' is not one of 'cross-entropy', 'margin'",
    "fgsm cat.png --labels columns.csv": "no column file or filename",
    "fgsm cat.png --labels others.csv": "--labels names none of the photos: it has dog.png",
    "fgsm cat.png --labels labels.csv --no-labels": "do not go together",
    "report --model resnet50": "demonstration photos are for the embedded network; give photos",
    "shift cat.png --shifts a": "'a' is not a list of numbers of pixels",
    "filters --fit --sort": "--fit and --sort do not go together",
    "maps cat.png --pooling mx": "'mx' is not one of 'max', 'average'",
    "maximize": "nothing to maximize",
    "maximize --class tabby --start ct.png": "ct.png does not exist",
    "maximize --class tabby --patches nofolder": "nofolder does not exist",
    "dream cat.png --guide ct.png": "ct.png does not exist",
    "tuning --orientations 1": "greater than or equal to 2, not '1'",
    "field cat.png --layer conv1 --at middle": "position 'middle' is not Y,X",
    "doctor cat.png --labels label.csv": "label.csv does not exist; nearest: labels.csv",
    "gradcam cat.png --class tabbycat": "unknown class 'tabbycat'; nearest: tabby cat",
    "gradcam cat.png --class 1000": "class 1000 of 1000; give an index of 0 to 999",
    "fgsm cat.png --class taby": "unknown class 'taby'; nearest: tabby",
    "fgsm cat.png --target goun": "unknown class 'goun'; nearest: gown",
    "fgsm cat.png --labels wrong.csv": "wrong.csv, line 2: unknown class 'tabbby'; nearest: tabby",
    "report cat.png --class taby": "unknown class 'taby'; nearest: tabby",
    "report cat.png --labels wrong.csv": "wrong.csv, line 2: unknown class 'tabbby'",
    "check cat.png --labels wrong.csv": "wrong.csv, line 2: unknown class 'tabbby'",
    "doctor cat.png --labels labels.csv --class-names classes2.txt": "unknown class 'tabby'",
    "maximize --class -taby": "unknown class 'taby'; nearest: tabby",
    "gabor --sigma 0": "0 is not above 0",
    "errors cat.png": "no labels; give --labels FILE",
    "errors cat.png --class-names classes.txt": "no labels; give --labels FILE",
    "selectivity cat.png": "no labels; give --labels FILE",
    "selectivity cat.png --model torchvision:resnet18@random": "no labels; give --labels FILE",
    "train digitz": "no data 'digitz'; nearest: digits; give",
    "train mak.py": "no data 'mak.py'; nearest: make.py; give",
    "train flat": "flat holds no folders; make one for each class",
    "train digits --epochs 0": "greater than or equal to 1, not '0'",
    "train digits --pooling mx": "'mx' is not one of 'max', 'average', 'blur'",
    "train digits --network lenet": "no network 'lenet'; nearest: lenet5",
    "train digits --device gpu": "'gpu' is not one of 'auto', 'cpu', 'cuda', 'mps'",
    "train digits --strategy fsdp": "'fsdp' is not one of 'auto', 'ddp'",
    "train digits --log cvs": "'cvs' is not one of 'csv', 'tensorboard'",
    "gradcam cat.png --device gpu": "there is no device 'gpu'; give cpu, cuda",
    "report --device cuda:first": "there is no device 'cuda:first'",
    "anatomy --draw network.gif": "ends in .svg, .pdf or .png",
    "anatomy --draw network": "ends in .svg, .pdf or .png",
    "image cat.png --at corner": "position 'corner' is not Y,X",
    "convolution --stride 0": "greater than or equal to 1, not '0'",
    "window --padding sam": "padding 'sam'; nearest: same",
    "layer --channels-in 0": "greater than or equal to 1, not '0'",
    "pooling --map 1,x": "holds something that is no number",
    "pooling --shift 3": "shift '3' is not Y,X",
    "translation cat.png --shift far": "shift 'far' is not Y,X",
    "gabor --wavelength 1": "greater than or equal to 2, not '1'",
    "learn-filters ct.png": "ct.png does not exist; nearest: cat.png",
    "learn-filters --null-size 5": "greater than or equal to 100, not '5'",
    "chapter --out cat.png": "cannot write cat.png: it is a file",
    "patches cat.png --channel conv1": "channel 'conv1' is not LAYER:K",
    "shift cat.png --channel conv1:x": "channel 'conv1:x' is not LAYER:K",
    "report ct.png": "ct.png does not exist; nearest: cat.png",
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Exit status and standard error of every command, all of one process without torch."""
    folder = tmp_path_factory.mktemp("mistyped")
    Image.new("RGB", (8, 8)).save(folder / "cat.png")
    (folder / "text.png").write_text("no photo")
    (folder / "make.py").write_text("def make(): ...\n")
    (folder / "labels.csv").write_text("file,class\ncat.png,tabby\n")
    (folder / "others.csv").write_text("file,class\ndog.png,tabby\n")
    (folder / "columns.csv").write_text("photo_id,answer\ncat.png,tabby\n")
    (folder / "classes.txt").write_text("tabby\nbeagle\n")
    (folder / "classes2.txt").write_text("cow\nsheep\n")
    (folder / "wrong.csv").write_text("file,class\ncat.png,tabbby\n")
    (folder / "flat").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "flat" / "cat.png")
    files = sorted(folder.iterdir())
    commands = json.dumps([command.split() for command in CASES])
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, commands],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert sorted(folder.iterdir()) == files
    return dict(zip(CASES, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("command", CASES)
def test_a_mistyped_command_needs_no_torch(command, answers):
    status, error = answers[command]
    assert status == 2
    assert CASES[command] in error
    assert error.startswith("convlens: ") and error.count("\n") == 1
