"""FGSM and shifts on the photo page: the answers of the library."""

import base64
import html
import io
import re

import numpy as np
import pytest
from PIL import Image

import convlens
from convlens.explorer.session import LEVELS

pytest_plugins = ("support.explorers",)


@pytest.fixture
def photo(explorer):
    return next(stored for stored in explorer.session.photos if stored.path == explorer.paths[0])


def test_answers_by_epsilon_are_those_of_fgsm(explorer, photo):
    attack = convlens.fgsm(explorer.session.model, photo.path, [f"{level}/255" for level in LEVELS])
    text = explorer.get(f"/photo/{photo.key}?overlay=epsilon&level=4")
    rows = re.findall(r'<tr data-level="(\d+)".*?</tr>', text, re.DOTALL)
    assert rows == ["0", *map(str, LEVELS)]
    cells = re.findall(
        r'<tr data-level.*?<td class="number">.*?</td><td>(.*?)</td>.*?value="([^"]+)"'
        r".*?</td><td>(.*?)</td></tr>", text, re.DOTALL
    )  # fmt: skip
    shares = attack.adversarial_logits.softmax(2).amax(2)[:, 0].tolist()
    for number, (answer, share, noise) in enumerate(cells[1:]):
        name = html.escape(attack.adversarial_names[number][0])
        assert f'<span class="name">{name}</span>' in answer
        assert ("changed" in answer) == bool(attack.flipped[number, 0])
        assert ("changed" in noise) == bool(attack.noise_flipped[number, 0])
        assert float(share) == pytest.approx(shares[number], rel=1e-6)
    source = re.search(r'id="signs" src="data:image/png;base64,([^"]+)"', text)[1]
    sent = np.array(Image.open(io.BytesIO(base64.b64decode(source)))).astype(int)
    assert np.array_equal(np.sign(sent - 128), attack.signs[0].permute(1, 2, 0).numpy())
    assert re.search(r'<tr data-level="4"[^>]* class="chosen"', text)


@pytest.mark.parametrize(
    ("query", "offset"), [("shift=-2,3", (-2, 3)), ("down=4&right=", (4, 0)), ("", (0, 0))]
)
def test_the_answer_for_a_shifted_photo(explorer, photo, query, offset):
    model = explorer.session.model
    image = model.prepare(photo.path).roll(offset, dims=(2, 3))
    predictions = convlens.predict(model, image)
    text = explorer.get(f"/photo/{photo.key}?overlay=shift&{query}", follow_redirects=True)
    for share in predictions.confidences[0].tolist():
        assert f'<data value="{share}">' in text
    assert f".roll({offset}, dims=(2, 3))" in html.unescape(text)


def test_the_form_of_the_shift_leads_to_the_address_of_the_shift(explorer, photo):
    answer = explorer.client.get(f"/photo/{photo.key}?overlay=shift&down=4&right=-3")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/photo/{photo.key}?overlay=shift&shift=4%2C-3"


@pytest.mark.parametrize("query", ["shift=x", "shift=1", "level=x", "down=a"])
def test_what_is_no_shift_and_no_level_is_said(explorer, photo, query):
    answer = explorer.client.get(f"/photo/{photo.key}?overlay=shift&{query}")
    assert answer.status_code == 400
