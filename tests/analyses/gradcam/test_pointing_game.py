"""Boxes through EXIF and preprocessing, and the pointing game, against plain loops."""

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps
from torch import nn

from convlens import ConvlensError, boxes_on_image, gradcam, pointing_game, read_boxes, wrap
from convlens.analyses.gradcam.boxes import ObjectBox
from convlens.data.preprocessing import Preprocessing

HEADER = "file,class,left,top,right,bottom\n"


def tiny(**options):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 4, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 4),
    )  # fmt: skip
    return wrap(network, **{"size": 64, "labels": ["ant", "bee", "cat", "dog"], **options})


# boxes


def painted(size, box):
    """A photo that is white in the box and black around it."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing((64, 64), resize=80, interpolation="bilinear"),
        Preprocessing((64, 96), interpolation="bilinear"),
        Preprocessing((128, 64), resize=70, interpolation="bilinear"),
    ],
)
def test_a_box_lies_where_its_pixels_do(tmp_path, orientation, preprocessing):
    """The photo is white in the box, so that its prepared image shows where the box lies."""
    stored, box = (120, 90), (40, 20, 85, 60)
    picture = painted(stored, box)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    model = tiny(size=preprocessing.size)
    model = type(model)(**{**vars(model), "preprocessing": preprocessing})
    (mapped,) = boxes_on_image(model, tmp_path / "a.png", {"a.png": (ObjectBox((1,), *box),)})
    white = model.prepare(tmp_path / "a.png")[0, 0] > 0.5
    rows, columns = white.any(1).nonzero().flatten(), white.any(0).nonzero().flatten()
    expected = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert mapped.edges == pytest.approx([float(side) for side in expected], abs=1.01)
    assert mapped.classes == (1,)


def test_oracle_turns_photos():
    # Without this, the test above would not show that EXIF is respected.
    picture = painted((120, 90), (40, 20, 85, 60))
    exif = picture.getexif()
    exif[ExifTags.Base.Orientation] = 6
    assert ImageOps.exif_transpose(picture).size == (90, 120)


def test_edges_are_clipped_and_boxes_outside_have_no_area(tmp_path):
    painted((200, 100), (0, 0, 1, 1)).save(tmp_path / "a.png")
    table = {"a.png": (ObjectBox((0,), 0, 0, 200, 100), ObjectBox((1,), 0, 0, 10, 100))}
    model = tiny(size=64, resize=64)
    whole, outside = boxes_on_image(model, tmp_path / "a.png", table)
    assert whole.edges == (0, 0, 64, 64)
    assert outside.left == outside.right == 0
    assert boxes_on_image(model, tmp_path / "b.png", table) == ()


def test_boxes_of_a_file(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text(
        "class, File,left,top,right,bottom\ncat|dog,photos/a.png,1,2.5,3,4\n"
        "0,photos/a.png,0,0,9,9\n"
        "Bee,b.png,1,1,2,2\n"
    )
    boxes = read_boxes(path, tiny())
    assert boxes == {
        "photos/a.png": (ObjectBox((2, 3), 1, 2.5, 3, 4), ObjectBox((0,), 0, 0, 9, 9)),
        "b.png": (ObjectBox((1,), 1, 1, 2, 2),),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,class,left,top,right\n", r"no column bottom; start the file with a line such as"),
        (HEADER + "a.png,cat,1,2,3\n", "line 2: bottom is missing"),
        (HEADER + "a.png,cat,1,2,x,4\n", "line 2: edges 1, 2, x, 4"),
        (HEADER + "a.png,cat,1,2,nan,4\n", "line 2: edges"),
        (HEADER + "a.png,cat,5,2,3,4\n", r"line 2: a box from 5,2 to 3,4 is empty"),
        (HEADER + "a.png,cta,1,2,3,4\n", r"line 2: unknown class 'cta'; nearest: cat"),
        (b"\xff\xfe\x00", "not CSV in UTF-8"),
    ],
)
def test_file_that_cannot_be_read(tmp_path, text, message):
    path = tmp_path / "boxes.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConvlensError, match=message):
        read_boxes(path, tiny())
    with pytest.raises(ConvlensError, match="cannot read"):
        read_boxes(tmp_path / "none.csv", tiny())


# pointing


def test_hits_energy_and_area_by_a_plain_loop():
    model = tiny()
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    cam = gradcam(model, images, classes=[0, 3])
    boxes = [
        [
            ObjectBox((0,), 3.2, 10.7, 40.1, 50),
            ObjectBox((3, 0), 30, 0, 64, 20),
            ObjectBox((1,), 0, 0, 64, 64),
        ],
        [ObjectBox((3,), 20, 20, 44.5, 44)],
        [],
    ]
    game = pointing_game(cam, boxes)
    assert game.has_box.tolist() == [[True, True], [False, True], [False, False]]
    on_image = cam.on_image()
    positive_maps = 0
    for image in range(3):
        for rank, index in enumerate((0, 3)):
            mine = [box for box in boxes[image] if index in box.classes]
            if not mine:
                assert game.energy[image, rank].isnan() and not game.hits[image, rank]
                continue
            best, where, inside, above, area = -1e9, None, 0.0, 0.0, 0
            for y in range(64):
                for x in range(64):
                    value = float(on_image[image, rank, y, x])
                    here = any(
                        box.left <= x + 0.5 < box.right and box.top <= y + 0.5 < box.bottom
                        for box in mine
                    )
                    if value > best:
                        best, where = value, here
                    above += max(value, 0)
                    inside += max(value, 0) * here
                    area += here
            assert bool(game.hits[image, rank]) == (where and best > 0)
            assert float(game.energy[image, rank]) == pytest.approx(
                inside / above if above else 0, abs=1e-5
            )
            assert float(game.box_area[image, rank]) == pytest.approx(area / 64**2, abs=1e-6)
            positive_maps += above > 0
    assert positive_maps
    assert game.center_hits.tolist() == [[True, False], [False, True], [False, False]]
    totals = game.totals()
    counts = (totals.maps, totals.hits, totals.center_hits)
    assert counts == (3, int(game.hits.sum()), 2)
    assert f"in {totals.hits} of 3 maps (the middle of the image in 2)" in game.summary()


def test_a_map_that_speaks_against_the_class_hits_nothing():
    model = tiny()
    cam = gradcam(model, torch.rand(1, 3, 64, 64), classes=0)
    subtracted = type(cam)(**{**vars(cam), "maps": -cam.maps.abs() - 1})
    game = pointing_game(subtracted, [[ObjectBox((0,), 0, 0, 64, 64)]])
    assert game.has_box.all() and not game.hits.any() and float(game.energy) == 0


def test_tolerance_widens_the_boxes_for_the_greatest_value_only():
    model = tiny()
    cam = gradcam(model, torch.rand(1, 3, 64, 64), classes=0)
    maps = torch.zeros_like(cam.maps)
    maps[0, 0, 0, 0] = 1  # its center is pixel 1.5, constant towards the corner
    cam = type(cam)(**{**vars(cam), "maps": maps})
    box = [[ObjectBox((0,), 10, 10, 20, 20)]]
    strict, loose = pointing_game(cam, box), pointing_game(cam, box, tolerance=10)
    assert not strict.hits.any() and loose.hits.all()
    assert torch.equal(strict.energy, loose.energy)


def test_nothing_to_point_at_and_boxes_of_other_images():
    cam = gradcam(tiny(), torch.rand(1, 3, 64, 64), classes=0)
    assert "no class that was explained has a box" in pointing_game(cam, [[]]).summary()
    with pytest.raises(ConvlensError, match="boxes of 2 images for maps of 1"):
        pointing_game(cam, [[], []])
