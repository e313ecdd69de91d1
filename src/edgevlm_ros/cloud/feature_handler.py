# SPDX-License-Identifier: Apache-2.0
"""Chat requests inside `transformers serve`: those with features go to a Listener, the rest go on as ever.

Of transformers this needs the loaded model, by what its ModelManager offers, and the thread of inference, by what its
GenerationState offers. Neither is promised to stay: a release without them is named, and pictures are still answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import transformers
from transformers.cli.serving.chat_completion import JSONResponse  # of the framework that it brings along

from edgevlm_ros.cloud.eyes import identity
from edgevlm_ros.cloud.features import FeaturesError
from edgevlm_ros.cloud.image_embeds import Asked, asked
from edgevlm_ros.cloud.listener import Listener
from edgevlm_ros.edge.architectures.registry import architecture_of, known
from edgevlm_ros.edge.engine import Completion, EngineError
from edgevlm_ros.words import clean_text


class FeatureHandler:
    """Stands before a ChatCompletionHandler of transformers.

    models: its ModelManager, which has loaded the one model that is served. name: as the server was told it. path:
    folder of its weights.
    """

    def __init__(self, handler: Any, models: Any, generation_state: Any, name: str, path: str) -> None:
        self._handler = handler
        self._models = models
        self._generation = generation_state
        self._name = name
        self._path = path
        self._listeners: dict[str, Listener] = {}

    async def handle_request(self, body: dict[str, Any], request_id: str) -> Any:
        try:
            request = asked(body)
            if request is None:
                return await self._handler.handle_request(body, request_id)
            self._check_name(body.get("model"))
            name, model, submit = self._served()
            completion = await submit(self._answered, request, name, model)
        except FeaturesError as error:
            return _error(400, str(error))
        except EngineError as error:
            return _error(500, str(error))
        return JSONResponse(_reply(request_id, name, completion, request.max_tokens))

    def _check_name(self, asked_for: Any) -> None:
        if asked_for not in (None, self._name):
            raise FeaturesError(f"this server runs {self._name}, not {clean_text(str(asked_for), 100)!r}: name that")

    def _served(self) -> tuple[str, Any, Callable[..., Any]]:
        """The model's name in replies, the model, and what runs a function in the thread of inference.

        Pictures are looked at in that thread too, and two at once would take the model's configuration in turns.
        """
        try:
            name = self._models.process_model_name(self._name)
            model, _ = self._models.load_model_and_processor(name)
            return name, model, self._generation.get_manager(name, use_cb=False).async_submit
        except (AttributeError, TypeError, ValueError) as error:
            raise EngineError(
                f"transformers {transformers.__version__} serves its models in another way than is known here "
                f"({error}): install the release that requirements/run.txt names, or set the bridge's upload to image"
            ) from error

    def _answered(self, request: Asked, name: str, model: Any) -> Completion:
        if name not in self._listeners:
            self._listeners[name] = self._listener(name, model)
        return self._listeners[name].answer(request.features, request.system, request.question, request.max_tokens)

    def _listener(self, name: str, model: Any) -> Listener:
        family = architecture_of(model.config.model_type)
        if family is None:
            raise FeaturesError(
                f"{name} is a {model.config.model_type!r} model, which takes no features; {known()} do. "
                "Set the bridge's upload to image"
            )
        processor = family.load_processor(self._path)
        if hasattr(processor.image_processor, "do_image_splitting"):
            processor.image_processor.do_image_splitting = False
        return Listener(family(model, processor), name, identity(self._path, family))


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
