# SPDX-License-Identifier: Apache-2.0
"""Chat requests inside `transformers serve`: those with features go to a Listener, the rest go on as ever."""

from __future__ import annotations

import time
from typing import Any

from transformers.cli.serving.chat_completion import JSONResponse  # of the framework that it brings along

from edgevlm_ros.cloud.eyes import identity
from edgevlm_ros.cloud.features import FeaturesError
from edgevlm_ros.cloud.image_embeds import Asked, asked
from edgevlm_ros.cloud.listener import Listener
from edgevlm_ros.edge.architectures.registry import architecture_of, known
from edgevlm_ros.edge.engine import Completion, EngineError


class FeatureHandler:
    """Stands before a ChatCompletionHandler of transformers. path: folder or hub id of the model that is served."""

    def __init__(self, handler: Any, generation_state: Any, path: str) -> None:
        self._handler = handler
        self._generation = generation_state
        self._path = path
        self._listeners: dict[str, Listener] = {}

    async def handle_request(self, body: dict[str, Any], request_id: str) -> Any:
        try:
            request = asked(body)
            if request is None:
                return await self._handler.handle_request(body, request_id)
            name, model, _ = self._handler._resolve_model(body)
            # pictures are looked at in this thread too, and two at once would take the model's configuration in turns
            thread = self._generation.get_manager(name, use_cb=False)
            completion = await thread.async_submit(self._answered, request, name, model)
        except FeaturesError as error:
            return _error(400, str(error))
        except EngineError as error:
            return _error(500, str(error))
        return JSONResponse(_reply(request_id, name, completion, request.max_tokens))

    def _answered(self, request: Asked, name: str, model: Any) -> Completion:
        if name not in self._listeners:
            self._listeners[name] = self._listener(name, model)
        return self._listeners[name].answer(request.features, request.system, request.question, request.max_tokens)

    def _listener(self, name: str, model: Any) -> Listener:
        path = self._path or model.config.name_or_path
        family = architecture_of(model.config.model_type)
        if family is None:
            raise FeaturesError(
                f"{name} is a {model.config.model_type!r} model, which takes no features; {known()} do. "
                "Set the bridge's upload to image"
            )
        processor = family.load_processor(path)
        if hasattr(processor.image_processor, "do_image_splitting"):
            processor.image_processor.do_image_splitting = False
        return Listener(family(model, processor), name, identity(path, family))


def _reply(request_id: str, name: str, completion: Completion, most: int) -> dict[str, Any]:
    """A chat completion of the OpenAI API."""
    message = {"role": "assistant", "content": completion.text}
    finish = "length" if len(completion.tokens) >= most else "stop"
    prompt, said = completion.prompt_tokens, len(completion.tokens)
    return {
        "id": request_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": name,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said},
    }


def _error(status: int, message: str) -> Any:
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, status)
