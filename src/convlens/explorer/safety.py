"""Gate: lets only the browser of the user who started a server reach it.

A page of any other site can send requests to a server on this machine, and with DNS rebinding it
can also read the answers. Five rules refuse that:

- The Host header must name this machine, so that a rebound name is refused.
- The Origin header, where there is one, must name this machine too. It is never compared with the
  Host header, which a rebound name would pass.
- A request that changes something must come from a page of this server, where the browser says so
  (Sec-Fetch-Site).
- Every request needs a cookie. The address that is printed at the start holds a token, for which
  the browser gets the cookie. `SameSite=Strict` keeps it from requests of other sites.
- The Content-Security-Policy allows no inline script and no address of another host.
"""

import ipaddress
import secrets
from http import HTTPStatus
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "token"  # the parameter of the printed address
_BYTES = 32  # of the token and of the cookie

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' data: blob:; style-src 'self'; "
        "style-src-attr 'unsafe-inline'; script-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-src 'self'; frame-ancestors 'self'; base-uri 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
}


class Gate:
    """Refuses requests that do not come from the user's own browser, and adds security headers.

    Args:
        app: the application behind the gate.
        port: port of the server; the cookie is named after it, so that two servers at once do not
            take each other's.

    Attributes:
        token: the secret in the printed address.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._cookie = f"convlens-{port}"
        self._secret = secrets.token_urlsafe(_BYTES)
        self.token = secrets.token_urlsafe(_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self._check(scope)
        await (self._app if answer is None else answer)(scope, receive, send_with_headers)

    def _check(self, scope: Scope) -> Response | None:
        """The answer to a request that goes no further; None for one that may pass."""
        headers = Headers(scope=scope)
        if not _is_local_host(headers.get("host", "")):
            return _refuse(
                "This server answers under the names localhost and 127.0.0.1 only. Open the "
                "address that convlens printed."
            )
        origin = headers.get("origin")
        if origin is not None and not is_local_origin(origin):
            return _refuse("Requests of pages of other sites are refused.")
        if scope["method"] not in ("GET", "HEAD") and headers.get(
            "sec-fetch-site", "same-origin"
        ) not in ("same-origin", "none"):
            return _refuse("Only the pages of this server may change something.")
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        tokens = [value for name, value in query if name == TOKEN]
        if tokens and _equal(tokens[0], self.token):
            return self._exchange(scope, query)
        if not _equal(self._read_cookie(headers), self._secret):
            return _refuse(
                "This browser is not known to the server. Open the address that convlens printed "
                "when it started; it holds a token."
            )
        return None

    def _exchange(self, scope: Scope, query: list[tuple[str, str]]) -> Response:
        """Give a browser the cookie for the token, and lead it to the address without the token."""
        query_without_token = urlencode([(name, value) for name, value in query if name != TOKEN])
        # A path that begins with two slashes would name another host.
        path = quote("/" + scope["path"].lstrip("/\\"), safe="/@,:")
        answer = RedirectResponse(
            f"{path}?{query_without_token}" if query_without_token else path, HTTPStatus.SEE_OTHER
        )
        answer.set_cookie(self._cookie, self._secret, httponly=True, samesite="strict", path="/")
        return answer

    def _read_cookie(self, headers: Headers) -> str:
        """The secret in a request's cookie, or an empty text."""
        lines = map(cookie_parser, headers.getlist("cookie"))
        return next((line[self._cookie] for line in lines if self._cookie in line), "")


def is_local_origin(origin: str) -> bool:
    """Whether an Origin header names this machine; the port does not matter.

    Example:
        >>> is_local_origin("http://localhost:8642"), is_local_origin("http://a.example")
        (True, False)
        >>> is_local_origin("null")
        False
    """
    scheme, separator, host = origin.partition("://")
    return bool(separator) and scheme == "http" and _is_local_host(host)


def _is_local_host(host: str) -> bool:
    """Whether a name with or without a port is localhost or an address of the loopback network."""
    try:
        parts = urlsplit(f"//{host}")
        name = parts.hostname or ""
        _ = parts.port  # raises where it is no number
        clean = parts.netloc == host and parts.username is None and not parts.path
    except ValueError:
        return False
    if not clean:
        return False
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _equal(text: str, secret: str) -> bool:
    """Compare a secret in a time that does not tell how much of it is right."""
    return secrets.compare_digest(text.encode(), secret.encode())


def _refuse(reason: str) -> Response:
    return PlainTextResponse(f"{reason}\n", HTTPStatus.FORBIDDEN)
