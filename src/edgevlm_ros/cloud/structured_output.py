# SPDX-License-Identifier: Apache-2.0
"""Whether replies are asked for with a JSON schema, and what a server makes of that.

Most engines can hold a model to a schema, some refuse the field, some take it and do nothing. What a server does is
found out with the first keyframes and remembered for as long as the client lives; nobody has to know it beforehand.
"""

from typing import Literal, get_args

from edgevlm_ros.words import clean_text

StructuredOutputMode = Literal["auto", "on", "off"]
STRUCTURED_OUTPUT_MODES: tuple[str, ...] = get_args(StructuredOutputMode)

_REFUSALS = (400, 404, 405, 415, 422, 500, 501)
_UNEXPLAINED = (400, 422)
_NAMES = ("response_format", "json_schema", "json schema", "schema", "structured", "guided", "grammar")


class StructuredOutput:
    """What is known of one endpoint. mode: auto asks until the server refuses or ignores it; on always; off never."""

    def __init__(self, mode: StructuredOutputMode = "auto") -> None:
        self._mode = mode
        self._kept = False
        self._unexplained = False
        self._reason = ""

    @property
    def asks(self) -> bool:
        """Whether the next request carries the schema."""
        return self._mode == "on" or (self._mode == "auto" and not self._reason)

    @property
    def words(self) -> str:
        """The state, for diagnostics."""
        if not self.asks:
            return f"off: {self._reason}" if self._reason else "off"
        return "asked for, and replies are JSON" if self._kept else "asked for"

    def tries_without(self, code: int, said: str) -> bool:
        """Whether a refused request that carried the schema goes again without it. code, said: of the HTTP reply.

        Yes if the server names it. A bare 400 may have any cause: then once, so that a server that refuses everything
        is not asked twice for ever.
        """
        if self._mode != "auto" or code not in _REFUSALS:
            return False
        if any(name in said.lower() for name in _NAMES):
            return True
        first = code in _UNEXPLAINED and not self._kept and not self._unexplained
        self._unexplained = True
        return first

    def went_without(self, said: str) -> str:
        """The same request was taken without the schema; what to tell people. said: how it was refused."""
        self._reason = f"the server refuses it ({clean_text(said, 160)})"
        return f"the server takes no JSON schema and is asked without one from now on: {clean_text(said, 160)}"

    def came(self, content: str, finished: bool) -> str:
        """A reply to a request with the schema; what to tell people, if anything. finished: by the model, not cut."""
        if content.lstrip().startswith("{"):
            self._kept = True
            return ""
        if self._mode != "auto" or not finished or self._reason:
            return ""
        self._kept, self._reason = False, "the server ignores it"
        return (
            "the server was asked for JSON by a schema and ignores it, so that it is asked by words alone from now on: "
            f"{clean_text(content[:400], 60)!r}"
        )
