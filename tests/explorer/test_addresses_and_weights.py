"""Numbers in addresses, foreign cookies, and weights that change under a running explorer."""

import pytest
import torch
from starlette.testclient import TestClient

import convlens
from convlens.models.labels import find_class, read_class_index, write_class
from support.explorers import HOME, PORT, run, save_photos, small_network

pytest_plugins = ("support.explorers",)


def test_numbers_in_addresses_are_indices():
    labels = ["0", "1", "10", "2"] + ["a"] * 7
    assert [read_class_index(labels, str(index), 11) for index in range(11)] == list(range(11))
    assert [find_class(labels, write_class(labels, index, 11), 11) for index in range(11)] == list(
        range(11)
    )


def test_results_follow_the_weights(tmp_path):
    network = small_network()
    explorer = run(convlens.wrap(network, size=16), save_photos(tmp_path)[:1])
    before = explorer.get("/")
    with torch.no_grad():
        network[5].bias[2] += 100
    assert explorer.get("/") != before
    explorer.session.worker.close()


def test_results_follow_replaced_parameters_and_attributes(tmp_path):
    network = small_network()
    explorer = run(convlens.wrap(network, size=16), save_photos(tmp_path)[:1])
    address = f"/layer/0?photo={explorer.keys[0]}"
    pages = [explorer.get(address)]
    for scale in range(2, 7):  # a new tensor may get the identity of one that is gone
        weights = network[0].weight.detach() * scale / (scale - 1)
        network[0].weight = torch.nn.Parameter(weights)
        pages.append(explorer.get(address))
    network[0].stride = (1, 1)
    pages.append(explorer.get(address))
    assert len(set(pages)) == len(pages)
    assert "maps of 16 × 16" in pages[-1]
    assert explorer.get(address) == pages[-1]
    explorer.session.worker.close()


def test_a_foreign_cookie_locks_nobody_out(explorer):
    secret = explorer.client.cookies[f"convlens-{PORT}"]
    stranger = TestClient(explorer.gate, base_url=HOME)
    cookie = f'prefs={{"a":"b"}}; convlens-{PORT}={secret}'
    assert stranger.get("/", headers={"cookie": cookie}).status_code == 200


@pytest.mark.parametrize(
    ("address", "status"),
    [("/?page=", 200), ("/convolution?stride=", 400), ("/layer/0?page=", 200)],
)
def test_numbers_of_thousands_of_digits(explorer, address, status):
    assert explorer.client.get(address + "9" * 5000).status_code == status


@pytest.mark.parametrize("address", ["/channel/0/{}", "/channel/0/{}/image", "/kernel/0/{}"])
def test_channels_of_thousands_of_digits_have_no_page(explorer, address):
    answer = explorer.client.get(address.format("9" * 5000))
    assert (answer.status_code, "no page at this address" in answer.text) == (404, True)


@pytest.mark.parametrize("port", [-1, 65536])
def test_ports_out_of_range_are_refused(port):
    with pytest.raises(convlens.ConvlensError, match="give a port of 0 to 65535"):
        convlens.explore(convlens.wrap(small_network(), size=16), [], port=port)
