"""Who may see the board: who has its token, asks for this machine by name, and only reads.

The token comes in the first address, and is then kept in a cookie, so that links and copied
addresses don't have it.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Request, Response

TOKEN = "token"  # noqa: S105 - the name of a parameter
# Names of this machine, whatever the port: a tunnel of ssh has one of its own. A page elsewhere
# whose name was made to mean this machine (DNS rebinding) has another.
HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
_PORT = re.compile(r":[0-9]*\Z")
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class Access:
    """The token of a board, and its cookie.

    Args:
        port: of the board; browsers share cookies among the ports of a machine.
    """

    def __init__(self, port: int) -> None:
        self.token = secrets.token_urlsafe(24)
        self.cookie = f"sqgen-board-{port}"

    def refuse(self, request: Request) -> tuple[int, str] | None:
        """Return why a request is refused: status and reason; None where it is not."""
        if request.method not in ("GET", "HEAD"):
            return 405, "the board only shows"
        if _PORT.sub("", request.headers.get("Host", "")) not in HOSTS:
            return 403, "the board answers to 127.0.0.1 and localhost alone"
        if self._is_mine(request.cookies.get(self.cookie)) or self.has_token(request):
            return None
        return 403, "open the address that sqgen board printed; it has the token"

    def has_token(self, request: Request) -> bool:
        """Whether the address has the token."""
        return self._is_mine(request.args.get(TOKEN))

    def _is_mine(self, word: str | None) -> bool:
        given = (word or "").encode("utf-8", "surrogatepass")
        return secrets.compare_digest(given, self.token.encode())

    def keep(self, response: Response) -> None:
        """Give the browser the token as a cookie, which no script and no other site gets."""
        response.set_cookie(self.cookie, self.token, httponly=True, samesite="Strict")


def secure(response: Response, policy: str = PAGE_POLICY) -> None:
    """Set the headers that keep a page from running or asking for anything of others."""
    for name, value in _HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Content-Security-Policy", policy)
    response.headers.setdefault("Cache-Control", "no-store")
