"""Classes that Grad-CAM explains: one or several, by name and index, of each image."""

import pytest
import torch
from torch import nn

from convlens import ConvlensError, gradcam, wrap
from support.gradcam_networks import SIZE, Pooled, assert_same, images

pytest_plugins = "support.gradcam_networks"


def test_several_classes_at_once_equal_one_by_one(pooled):
    together = gradcam(pooled, images(), classes=[2, 0, 3])
    for rank, index in enumerate((2, 0, 3)):
        alone = gradcam(pooled, images(), classes=index)
        assert_same(together.maps[:, rank], alone.maps[:, 0])
        assert torch.equal(together.scores[:, rank], alone.scores[:, 0])
    assert together.classes.tolist() == [[2, 0, 3]] * 2


def test_classes_of_each_image(pooled):
    classes = torch.tensor([[3, 1], [0, 2]])
    cam = gradcam(pooled, images(), classes=classes)
    assert torch.equal(cam.classes, classes)
    for image in range(2):
        alone = gradcam(pooled, images()[image : image + 1], classes=classes[image].tolist())
        assert_same(cam.maps[image], alone.maps[0])
        assert cam.names[image] == alone.names[0]


@pytest.mark.parametrize("normal", [nn.Identity(), nn.BatchNorm2d(6), nn.GroupNorm(2, 6)])
def test_a_map_does_not_depend_on_its_batch_mates(normal):
    network = Pooled(nn.Sequential(normal, nn.ReLU(inplace=True))).train()
    model = wrap(network, size=SIZE)
    four = images(4)
    together = gradcam(model, four, classes=[0, 1])
    for image in range(4):
        alone = gradcam(model, four[image : image + 1], classes=[0, 1])
        assert_same(together.maps[image], alone.maps[0])
    mates = torch.cat([four[:1], images(3, seed=9)])
    assert_same(gradcam(model, mates, classes=[0, 1]).maps[0], together.maps[0])


def test_default_is_the_highest_scoring_classes(pooled):
    cam = gradcam(pooled, images(), top=4)
    with torch.no_grad():
        logits = pooled.network(images())
    order = logits.argsort(dim=1, descending=True)
    assert torch.equal(cam.classes, order)
    torch.testing.assert_close(cam.scores, logits.gather(1, order))
    torch.testing.assert_close(cam.probabilities, logits.softmax(1).gather(1, order))
    assert gradcam(pooled, images()).classes.tolist() == order[:, :1].tolist()


def test_classes_by_name_and_index(pooled):
    cam = gradcam(pooled, images(), classes=["Tabby Cat", 1, "dog", "0"])
    assert cam.classes.tolist() == [[0, 1, 1, 0]] * 2
    assert cam.names[0] == ("tabby", "dog", "dog", "tabby")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("dgo", r"unknown class 'dgo'; nearest: dog"),
        ("crane", r"'crane' is the name of classes 2, 3"),
        (4, r"class 4 of 4; give an index of 0 to 3"),
        (-1, r"class -1 of 4"),
        (torch.tensor([[0], [4]]), r"class outside 0 to 3"),
        (torch.tensor([0, 1]), r"classes of shape \(2,\) for 2 images"),
        (torch.tensor([[0]]), r"classes of shape \(1, 1\) for 2 images"),
        ([], r"class"),
    ],
)
def test_class_that_cannot_be_used(pooled, classes, message):
    with pytest.raises(ConvlensError, match=message):
        gradcam(pooled, images(), classes=classes)


@pytest.mark.parametrize("top", [0, 5, -1])
def test_top_out_of_range(pooled, top):
    with pytest.raises(ConvlensError, match=f"top {top} of 4"):
        gradcam(pooled, images(), top=top)


def test_softmax_at_the_end_is_left_out(pooled):
    ended = nn.Sequential(pooled.network, nn.Softmax(dim=1))
    cam = gradcam(wrap(ended, size=SIZE), images(), classes=[1])
    assert_same(cam.maps, gradcam(pooled, images(), classes=[1]).maps)
