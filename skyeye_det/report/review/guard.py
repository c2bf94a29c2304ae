"""Who is let in at the local port of the review.

Whatever runs on the machine, and every page open in its browser, can send requests to a local port. So each
needs the token of the printed address; the host must be the loopback's, against names that are bound to it
(DNS rebinding), and the origin the page's own.
"""

import secrets

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOST = "127.0.0.1"
CALLS = "/api/"
"""What begins so is called by the page, and shows the token in a header of its own."""

_TOKEN = "X-SkyEye-Token"
_NO_ADDRESS = "open the address that `skyeye review` printed, with its token"

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",  # another assessment may be at the same port tomorrow
}


class Guard:
    """Lets in what comes from the page of this server alone, and says to browsers what a page may do."""

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self._app, self._token = app, token.encode()
        self._hosts = {f"{HOST}:{port}", f"localhost:{port}"}
        self._origins = {f"http://{host}" for host in self._hosts}
        self._cookie = f"skyeye_{port}"  # cookies know no ports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or has the application do it; see Starlette's ``ASGIApp``."""
        if scope["type"] != "http":
            return
        request = Request(scope)
        is_call = scope["path"].startswith(CALLS)
        fault = self._fault(request, is_call)
        first = not fault and not is_call and self._is_token(request.query_params.get("token"))

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers[name] = value
                headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
                if first:
                    value = self._token.decode()
                    headers["Set-Cookie"] = f"{self._cookie}={value}; Path=/; HttpOnly; SameSite=Strict"
            await send(message)

        if fault:
            told = {"error": fault}
            if fault == _NO_ADDRESS:  # which the page itself meets, when the server was started anew
                told |= {"code": "no_address"}  # as of CodedError
            refusal = JSONResponse(told, 403) if is_call else PlainTextResponse(fault, 403)
            await refusal(scope, receive, answer)
        else:
            await self._app(scope, receive, answer)

    def _fault(self, request: Request, is_call: bool) -> str | None:
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return f"expected the host {HOST}, found another"
        if any(each not in self._origins for each in request.headers.getlist("origin")):
            return "expected a request of this page, found one of another"
        shown = [request.headers.get(_TOKEN)]
        if not is_call:
            shown = [request.query_params.get("token"), request.cookies.get(self._cookie)]
        return None if any(map(self._is_token, shown)) else _NO_ADDRESS

    def _is_token(self, text: str | None) -> bool:
        return text is not None and secrets.compare_digest(text.encode(errors="replace"), self._token)
