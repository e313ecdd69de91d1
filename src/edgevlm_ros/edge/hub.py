# SPDX-License-Identifier: Apache-2.0
"""Why a model could not be had from the hub, in one line that says what to do.

The libraries answer with paragraphs, several exceptions deep, of which the last one seldom names the cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from edgevlm_ros.words import in_one_line


def why(error: BaseException, model: str, revision: str) -> str:
    """model: a folder or a hub id."""
    if Path(model).is_dir():
        return in_one_line(error)
    causes = list(_causes(error))
    fetch = f"hf download {model}" + ("" if revision == "main" else f" --revision {revision}")
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        return f"{model} is open to those only who accept its licence on its page: do that, then `hf auth login`"
    if any(isinstance(cause, RevisionNotFoundError) for cause in causes):
        return (
            f"the hub has no revision {revision!r} of {model} (any more): take one from "
            f"https://huggingface.co/{model}/commits/main"
        )
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
        return f"the hub has no model {model}, or shows it to others only: look for its name, or `hf auth login`"
    if any(isinstance(cause, LocalEntryNotFoundError | OfflineModeIsEnabled | ConnectionError) for cause in causes):
        return f"revision {revision!r} of it is not in the hub's cache here, and the hub cannot be reached: {fetch}"
    if any(isinstance(cause, HfHubHTTPError) for cause in causes):
        return f"the hub refuses it ({in_one_line(error)}): {fetch}"
    return in_one_line(error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
