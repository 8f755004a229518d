"""Refuse a body that is too large, before and while it is read."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ray_cluster.serving.problems import InvalidRequestError, Problem, problem_response

__all__ = ["BodyLimit"]


class BodyLimit:
    """ASGI middleware: 413 for a request whose body has more than ``most`` bytes.

    A declared Content-Length is refused unread; a body without one (chunked) is counted as it arrives, and the
    application that reads it gets an :class:`~ray_cluster.serving.problems.InvalidRequestError`.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app = app
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self.most:
            problem = self._problem(int(declared))
            await problem_response(scope, 413, problem.message, errors=[problem])(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self.most:
                    raise InvalidRequestError([self._problem(seen)], status=413)
            return message

        await self.app(scope, counted, send)

    def _problem(self, size: int) -> Problem:
        expected = f"at most {self.most} bytes"
        message = f"The body has {size} bytes or more: expected {expected}; send fewer rows per request."
        return Problem(field="", value=size, expected=expected, message=message)
