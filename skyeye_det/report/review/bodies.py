"""What calls of the page say, checked, and the form of answers."""

from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from skyeye_det.errors import InputError
from skyeye_det.files import json_bytes

_MOST_BYTES = 64 << 10

Body = TypeVar("Body", bound=msgspec.Struct)


async def body_of(request: Request, kind: type[Body]) -> Body:
    """What a call says; InputError where it is none, or too long."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > _MOST_BYTES:
            raise InputError(f"the request: expected {_MOST_BYTES} bytes or less, found more")
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"the request: {error}") from error


def json_answer(content: Any, status: int = 200) -> Response:
    """JSON."""
    return Response(json_bytes(content), status, media_type="application/json")
