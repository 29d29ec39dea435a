"""Who may reach the server: host, origin, token, cookie, and the headers of every answer."""

import pytest
from starlette.testclient import TestClient

from convlens.explorer.safety import Gate, is_local_origin
from support.explorers import HOME, PORT

pytest_plugins = ("support.explorers",)


@pytest.fixture
def stranger(explorer):
    """A client without the cookie."""
    return TestClient(explorer.gate, base_url=HOME, follow_redirects=False)


def test_nothing_is_shown_without_the_cookie(explorer, stranger):
    addresses = ["/", f"/photo/{explorer.keys[0]}", "/fields.json", "/search.json", "/assets/x.js"]
    for address in addresses:
        answer = stranger.get(address)
        assert answer.status_code == 403
        assert "tabby" not in answer.text
    assert stranger.post("/photos", content=b"x").status_code == 403
    assert stranger.get("/?token=wrong").status_code == 403
    assert stranger.get("/?token=").status_code == 403
    assert stranger.get("/?token=é").status_code == 403


def test_the_token_is_exchanged_for_a_cookie_and_leaves_the_address(explorer, stranger):
    answer = stranger.get(f"/photo/{explorer.keys[0]}?token={explorer.gate.token}&layer=2%2Frelu")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/photo/{explorer.keys[0]}?layer=2%2Frelu"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"convlens-{PORT}=")
    assert {"httponly", "samesite=strict"} <= {part.strip().lower() for part in cookie.split(";")}
    assert explorer.gate.token not in cookie
    assert stranger.get("/").status_code == 200


def test_the_redirect_stays_on_this_server(explorer, stranger):
    for path in ("//evil.example/", "/\\evil.example", "///evil.example"):
        answer = stranger.get(f"{HOME}{path}?token={explorer.gate.token}")
        location = answer.headers["location"]
        assert location.startswith("/")
        assert not location.startswith(("//", "/\\"))


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8642", "localhost.evil.example", "127.0.0.1.nip.io",
     "192.168.0.1", "0.0.0.0", "", "localhost:port", "a@localhost", "localhost/x", "[::2]", "["],
)  # fmt: skip
def test_another_host_is_refused(explorer, host):
    assert explorer.client.get("/", headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:9", "127.8.0.1", "[::1]:8642"]
)
def test_names_of_this_machine_pass_with_any_port(explorer, host):
    assert explorer.client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://localhost", "http://localhost.evil.example",
               "file://", "", "localhost"],
)  # fmt: skip
def test_another_origin_is_refused(explorer, origin):
    """Also where it equals the Host header, as after DNS rebinding."""
    assert not is_local_origin(origin)
    assert explorer.client.get("/", headers={"origin": origin}).status_code == 403
    assert explorer.client.post("/photos", headers={"origin": origin}).status_code == 403
    rebound = {"origin": "http://evil.example", "host": "evil.example"}
    assert explorer.client.get("/", headers=rebound).status_code == 403


def test_own_origin_passes_and_other_pages_of_this_machine_change_nothing(explorer):
    assert explorer.client.get("/", headers={"origin": HOME}).status_code == 200
    for site in ("same-site", "cross-site"):
        headers = {"origin": "http://localhost:1", "sec-fetch-site": site}
        assert explorer.client.post("/photos", headers=headers).status_code == 403


def test_every_answer_has_the_security_headers(explorer, stranger):
    answers = [explorer.client.get("/"), explorer.client.get("/none"), stranger.get("/")]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "default-src 'none'" in policy
        assert "'unsafe-inline'" not in policy.replace("style-src-attr 'unsafe-inline'", "")
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
    assert [answer.status_code for answer in answers] == [200, 404, 403]


def test_two_servers_do_not_share_cookies(explorer):
    other = Gate(explorer.gate, PORT + 1)
    client = TestClient(other, base_url=HOME, cookies=dict(explorer.client.cookies))
    assert client.get("/").status_code == 403
    damaged = {"cookie": f"a b=c; {'x' * 3000}; convlens-{PORT}=wrong"}
    assert TestClient(explorer.gate, base_url=HOME).get("/", headers=damaged).status_code == 403
