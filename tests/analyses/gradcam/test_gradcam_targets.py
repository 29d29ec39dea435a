"""Targets of Grad-CAM: differences of classes, pixels, areas, functions; several layers."""

import gc

import pytest
import torch
from torch import nn

import convlens
from convlens import ConvlensError, gradcam, gradcam_layers, wrap
from convlens.analyses.gradcam.gradcam import GradCamLayers
from convlens.models.labels import find_class_pair
from support.folders import SHARED

SIZE = 32
DOG_CAT = SHARED / "photos" / "dog_cat.png"


def images(count=2, seed=0):
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def pooled(classes=4):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(5, 6, 3, stride=2, padding=1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(6, classes),
    )  # fmt: skip


def dense(classes=4):
    """An output of `(N, classes, 32, 32)` at the image's own size."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, stride=2), nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, classes, 1),
        nn.Upsample(scale_factor=2, mode="bilinear"),
    )  # fmt: skip


def plain(network, layer, batch, number):
    """Grad-CAM at the input of the module `layer`, by a plain loop over images and channels."""
    maps = []
    for image in batch:
        x = network[:layer](image[None]).detach().requires_grad_()
        after = x.clone()
        for module in network[layer:]:
            after = module(after)
        (slope,) = torch.autograd.grad(number(after), x)
        total = torch.zeros(x.shape[2:])
        for channel in range(x.shape[1]):
            total += slope[0, channel].mean() * x[0, channel].detach()
        maps.append(total)
    return torch.stack(maps)


def mean_over(mask, index, subtracted=None):
    """The mean over a mask of the logit of a class, or of its difference from another class."""

    def number(out):
        values = out[0, index] if subtracted is None else out[0, index] - out[0, subtracted]
        return (values * mask).sum() / mask.sum().clamp(min=1)

    return number


def assert_same(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


# differences of classes


LABELS = ("tabby, tabby cat", "tiger", "x - y", "y", "x", "a - b - c", "a", "b - c", "a - b", "c")


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("tabby - tiger", (0, 1)),
        ("Tabby Cat - TIGER", (0, 1)),
        ("1 - 0", (1, 0)),
        ("x - y", (2, None)),  # a name, whole
        ("x - y - y", (2, 3)),
        ("tiger - x - y", (1, 2)),
        ("a - b - c", (5, None)),
        ("tabby-tiger", None),
        (3, (3, None)),
    ],
)
def test_pair_of_classes(text, pair):
    if pair is None:
        with pytest.raises(ConvlensError, match="unknown class"):
            find_class_pair(LABELS, text, len(LABELS))
    else:
        assert find_class_pair(LABELS, text, len(LABELS)) == pair


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tabby - tigre", r"unknown class 'tigre'; nearest: tiger"),
        ("tabyb - tiger", r"unknown class 'tabyb'; nearest: tabby"),
        ("tabby - tabby cat", r"minus itself"),
        ("2 - 17", r"class 17 of"),
    ],
)
def test_pair_that_cannot_be_used(text, message):
    with pytest.raises(ConvlensError, match=message):
        find_class_pair(LABELS, text, len(LABELS))


def test_text_that_can_be_parted_in_two_ways():
    with pytest.raises(ConvlensError, match="in 2 ways; give indices"):
        find_class_pair(("a", "b - c", "a - b", "c"), "a - b - c", 4)


def test_a_difference_has_the_difference_of_both_gradients_and_maps():
    network = pooled()
    model = wrap(network, size=SIZE, labels=("tabby", "tiger", "bee", "cat"))
    cam = gradcam(model, images(), classes=["tabby - tiger", "tabby", "tiger", "1 - 0"])
    alpha, maps = cam.alpha, cam.maps
    torch.testing.assert_close(alpha[:, 0], alpha[:, 1] - alpha[:, 2], rtol=1e-4, atol=1e-9)
    assert_same(maps[:, 0], maps[:, 1] - maps[:, 2])
    assert_same(maps[:, 3], -maps[:, 0])
    assert_same(maps[:, 0], plain(network, 4, images(), lambda out: out[0, 0] - out[0, 1]))
    assert cam.names[0][0] == "tabby - tiger"
    assert cam.classes[0].tolist() == [0, 0, 1, 1]
    assert cam.subtracted[0].tolist() == [1, -1, -1, 0]
    with torch.no_grad():
        logits = network(images())
    torch.testing.assert_close(cam.scores[:, 0], logits[:, 0] - logits[:, 1])
    two = logits[:, :2].softmax(1)[:, 0]
    torch.testing.assert_close(cam.probabilities[:, 0], two)
    torch.testing.assert_close(cam.probabilities[:, 1], logits.softmax(1)[:, 0])


def test_differences_of_each_image_as_a_tensor():
    model = wrap(pooled(), size=SIZE)
    classes = torch.tensor([[[0, 1], [2, -1]], [[3, 2], [0, 3]]])
    cam = gradcam(model, images(), classes=classes)
    for image, texts in enumerate((["0 - 1", "2"], ["3 - 2", "0 - 3"])):
        alone = gradcam(model, images()[image : image + 1], classes=texts)
        assert_same(cam.maps[image], alone.maps[0])
        assert torch.equal(cam.subtracted[image], alone.subtracted[0])


def test_evidence_of_a_difference_follows_one_of_two():
    network = pooled()
    model = wrap(network, size=SIZE)
    cam = gradcam(model, images(), classes=["0 - 1"])
    proof = convlens.deletion_insertion(model, cam, steps=2)
    torch.testing.assert_close(proof.deletion[:, 0, 0], cam.probabilities[:, 0])
    gray = images().mean((2, 3), keepdim=True).expand_as(images())
    with torch.no_grad():
        expected = network(gray)[:, :2].softmax(1)[:, 0]
    torch.testing.assert_close(proof.deletion[:, 0, -1], expected)


# outputs that are not one vector


def test_class_of_a_segmentation_is_its_mean_logit_where_it_is_the_answer():
    network = dense()
    model = wrap(network, size=SIZE, labels=("sky", "road", "tree", "car"))
    with torch.no_grad():
        out = network(images())
    answers = out.argmax(1)
    sizes = torch.stack([(answers == index).sum((1, 2)) for index in range(4)], 1)
    cam = gradcam(model, images(), top=4)
    assert torch.equal(cam.classes, sizes.sort(dim=1, descending=True, stable=True).indices)
    for image in range(2):
        for rank, index in enumerate(cam.classes[image].tolist()):
            mask = (answers[image] == index).float()
            expected = plain(network, 3, images()[image : image + 1], mean_over(mask, index))
            assert_same(cam.maps[image, rank], expected[0])
            share = (out[image].softmax(0)[index] * mask).sum() / mask.sum().clamp(min=1)
            assert float(cam.probabilities[image, rank]) == pytest.approx(float(share), abs=1e-6)
    both = gradcam(model, images(), classes=["road", "road - sky"])
    mask = (answers[0] == 1).float()
    assert_same(both.maps[0, 1], plain(network, 3, images()[:1], mean_over(mask, 1, 0))[0])


def test_one_channel_is_the_answer_above_zero():
    network = dense(1)
    with torch.no_grad():
        network[4].bias -= network(images()).median()
    cam = gradcam(wrap(network, size=SIZE), images(), classes=0)
    with torch.no_grad():
        mask = (network(images()[:1])[0, 0] > 0).float()
    assert 0 < mask.sum() < mask.numel()
    assert_same(cam.maps[0, 0], plain(network, 3, images()[:1], mean_over(mask, 0))[0])


def test_pixel():
    network = dense()
    model = wrap(network, size=SIZE)
    cam = gradcam(model, images(), pixel=(7, 30), top=2)
    with torch.no_grad():
        out = network(images())[:, :, 7, 30]
    assert torch.equal(cam.classes, out.topk(2, dim=1).indices)
    expected = plain(
        network, 3, images()[:1], lambda output: output[0, int(out[0].argmax()), 7, 30]
    )
    assert_same(cam.maps[:1, 0], expected)
    torch.testing.assert_close(cam.probabilities, out.softmax(1).gather(1, cam.classes))
    with pytest.raises(ConvlensError, match=r"pixel 7,32 of an output of 32 x 32"):
        gradcam(model, images(), pixel=(7, 32))
    with pytest.raises(ConvlensError, match=r"one answer, not one for each pixel"):
        gradcam(wrap(pooled(), size=SIZE), images(), pixel=(0, 0))


def test_target_of_ones_own():
    network = dense()
    model = wrap(network, size=SIZE)
    mask = torch.rand(SIZE, SIZE) > 0.5
    cam = gradcam(model, images(), target=lambda out: (out[:, 2] * mask).sum((1, 2)))
    assert_same(cam.maps[:, 0], plain(network, 3, images(), lambda out: (out[0, 2] * mask).sum()))
    assert cam.names == (("target",),) * 2 and cam.classes.tolist() == [[-1], [-1]]
    assert cam.probabilities.isnan().all()
    two = gradcam(model, images(), target=lambda out: out[:, 1:3].square().mean((2, 3)))
    expected = plain(network, 3, images(), lambda out: out[0, 2].square().mean())
    assert_same(two.maps[:, 1], expected)
    assert two.names[0] == ("target 1", "target 2")
    vector = gradcam(
        wrap(pooled(), size=SIZE), images(), target=lambda out: out[:, 0] - out[:, 1:].logsumexp(1)
    )
    expected = plain(pooled(), 4, images(), lambda out: out[0, 0] - out[0, 1:].logsumexp(0))
    assert_same(vector.maps[:, 0], expected)
    with pytest.raises(ConvlensError, match="explain a function of the output"):
        convlens.deletion_insertion(wrap(pooled(), size=SIZE), vector)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (lambda out: 3.0, "gives float; a tensor"),
        (lambda out: out.argmax(1), "gives type torch.int64"),
        (lambda out: out.sum(), r"gives \(\) for 2 images"),
        (lambda out: out[:1, 0], r"gives \(1,\) for 2 images"),
        (lambda out: out[:, 0].detach(), "without a gradient"),
        (lambda out: out[:, 0] / 0, "NaN or infinity"),
    ],
)
def test_target_that_cannot_be_used(target, message):
    with pytest.raises(ConvlensError, match=message):
        gradcam(wrap(pooled(), size=SIZE), images(), target=target)


def test_target_and_class_are_one_too_many():
    with pytest.raises(ConvlensError, match="give one of them"):
        gradcam(wrap(pooled(), size=SIZE), images(), target=lambda out: out[:, 0], classes=1)


# several layers


def test_layers_are_those_of_gradcam_from_coarse_to_fine():
    model = wrap(pooled(), size=SIZE)
    result = gradcam_layers(model, images(), layers=["0", "3", "2"], classes=[0, 2])
    assert [cam.nodes for cam in result.gradcams] == [("3",), ("2",), ("0",)]
    for cam in result.gradcams:
        alone = gradcam(model, images(), layer=cam.nodes[0], classes=[0, 2])
        assert_same(cam.maps, alone.maps)
        assert_same(cam.alpha, alone.alpha)
        assert result[cam.nodes[0]] is cam
    block = nn.Sequential(pooled()[:3], pooled()[3:])
    named = gradcam_layers(wrap(block, size=SIZE), images(), layers=["0", "1.3"])
    assert named.layers == ("1.3", "0") and named["0"].maps.shape[-1] == 16
    with pytest.raises(ConvlensError, match="no maps at '7'; there are: 3, 2, 0"):
        result["7"]
    with pytest.raises(ConvlensError, match="no layer"):
        gradcam_layers(model, images(), layers=[])


def test_layers_by_themselves_are_one_of_each_resolution(tmp_path):
    model = wrap(pooled(), size=SIZE)
    result = gradcam_layers(model, images())
    assert [cam.nodes for cam in result.gradcams] == [("3",), ("0",)]
    assert result.gradcams[0] == gradcam(model, images())
    post = gradcam_layers(model, images(), side="post")
    assert [cam.nodes for cam in post.gradcams] == [("4",), ("1",)]
    result.save(tmp_path / "strip")
    assert GradCamLayers.load(tmp_path / "strip") == result
    assert len(list((tmp_path / "strip").glob("image_*.png"))) == 2


# channels


def test_contributions_add_up_to_what_speaks_for_the_class():
    network = pooled()
    cam = gradcam(wrap(network, size=SIZE), images(), classes=[0, 1, 2, 3])
    with torch.no_grad():
        features = network[:4](images())
    silent = 0
    for image in range(2):
        for rank in range(4):
            above = cam.maps[image, rank] > 0
            whole = float(cam.maps[image, rank][above].sum())
            expected = [
                float((cam.alpha[image, rank, k] * features[image, k])[above].sum())
                for k in range(6)
            ]
            torch.testing.assert_close(
                cam.contributions[image, rank], torch.tensor(expected), rtol=1e-4, atol=1e-7
            )
            shares = cam.channel_shares(image, rank, top=6)
            if whole == 0:
                silent += 1
                assert shares == ()
                assert "nothing supports" in cam.summarize_map(image, rank)
                continue
            assert sum(expected) == pytest.approx(whole, rel=1e-4)
            ordered = sorted(
                (contribution / whole for contribution in expected if contribution > 0),
                reverse=True,
            )
            assert [channel.share for channel in shares] == pytest.approx(ordered, abs=1e-4)
            assert shares[0].address == f"3:{shares[0].channel}"
            assert cam.channel_shares(image, rank, top=2) == shares[:2]
    assert silent < 8


# pictures


def test_cells_have_hard_edges_half_way_between_centers():
    cam = gradcam(wrap(pooled(), size=SIZE), images(), classes=[0])
    drawn = cam.on_image(cells=True)
    ys, xs = cam.centers_y.tolist(), cam.centers_x.tolist()
    for y in range(SIZE):
        for x in range(0, SIZE, 3):
            row = min(range(len(ys)), key=lambda at: abs(ys[at] - y))
            column = min(range(len(xs)), key=lambda at: abs(xs[at] - x))
            assert torch.equal(drawn[:, :, y, x], cam.maps[:, :, row, column])
    assert drawn.unique().numel() == cam.maps.unique().numel()
    assert not torch.equal(cam.overlays(cells=True), cam.overlays())


def test_pictures_carry_the_bar_and_say_when_nothing_speaks():
    cam = gradcam(wrap(pooled(), size=SIZE), images(1), classes=[0])
    (picture,) = cam.pictures().values()
    times = 5  # to at least 160 pixels
    assert picture.shape[0] == SIZE * times
    overlay = cam.overlays()[0, 0].repeat_interleave(times, 0).repeat_interleave(times, 1)
    assert torch.equal(picture[:, : SIZE * times], overlay)
    beside = picture[:, SIZE * times :].int()
    reds = beside[4, :, 0] - beside[4, :, 2]
    blues = beside[-5, :, 2] - beside[-5, :, 0]
    assert reds.max() > 60 and blues.max() > 60
    assert (beside < 100).any()  # numbers
    silent = type(cam)(**{**vars(cam), "maps": -cam.maps.abs() - 1})
    (mute,) = silent.pictures().values()
    assert mute.shape[0] > picture.shape[0]
    assert "none of 64 cells" in silent.summarize_map(0, 0)
    # The bar shows the scale that the caller gives.
    (paler,) = cam.pictures(scale=10 * cam.scale).values()
    assert (paler[:, : SIZE * times].int() - overlay.int()).abs().max() > 20
    framed = cam.pictures(outlines=[[(4.0, 4.0, 20.0, 12.0)]])
    assert not torch.equal(next(iter(framed.values())), picture)


def test_figure_has_the_bar_with_its_numbers():
    cam = gradcam(wrap(pooled(), size=SIZE), images(), top=2)
    figure = cam.figure()
    *maps, bar = figure.axes
    assert len(maps) == 2 + 4 and bar.get_ylabel() == "logit"
    low, high = bar.get_ylim()
    assert (low, high) == pytest.approx((-cam.scale, cam.scale))
    assert cam.names[0][0] in maps[1].get_title(loc="left")


# the photo of the CAM literature


@pytest.mark.skipif(not DOG_CAT.is_file(), reason=f"no {DOG_CAT}")
def test_dog_and_cat_are_found_on_their_own_animals(tmp_path):
    model = convlens.load()
    table = tmp_path / "boxes.csv"
    table.write_text(
        "file,class,left,top,right,bottom\n"
        "dog_cat.png,243|242,78,12,166,152\ndog_cat.png,282|281|285,44,118,206,223\n"
    )
    boxes = convlens.boxes_on_image(model, DOG_CAT, convlens.read_boxes(table, model))
    cam = convlens.gradcam(model, model.prepare(DOG_CAT), classes=[243, 242, 282, 281, "282 - 243"])
    dog, cat = boxes
    for rank, (own, other) in enumerate([(dog, cat)] * 2 + [(cat, dog)] * 3):
        whole = cam.on_image()[0, rank]
        y, x = divmod(int(whole.argmax()), whole.shape[1])
        assert own.left <= x + 0.5 < own.right and own.top <= y + 0.5 < own.bottom
        assert not (other.left <= x < other.right and other.top <= y < other.bottom)
    game = convlens.pointing_game(cam, [boxes])
    assert game.hits.all()
    assert (game.energy > 2 * game.box_area).all()


# memory


@pytest.mark.slow
def test_nothing_is_kept_from_call_to_call():
    model = wrap(pooled(), size=SIZE)
    batch = images()

    def calls(count):
        for _ in range(count):
            gradcam(model, batch, classes=[0, "1 - 2"])
            gradcam_layers(model, batch)
        gc.collect()
        tensors = [
            candidate for candidate in gc.get_objects() if issubclass(type(candidate), torch.Tensor)
        ]
        return len(gc.get_objects()), len(tensors)

    calls(3)
    objects, tensors = calls(3)
    more, others = calls(40)
    assert others == tensors
    assert more - objects < 40  # fewer than one object a call
