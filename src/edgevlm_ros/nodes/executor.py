# SPDX-License-Identifier: Apache-2.0
"""The executor of our nodes: an error in one callback is logged and counted, and the next callback is served.

rclpy raises such an error out of the spin, and its own callbacks raise too: a /clock before 1970 or a parameter of an
unknown type would end the node.
"""

import time
import traceback
from typing import Any

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

_LOG_PERIOD_S = 5.0
_PAUSE_S = 0.01
_PAUSED_AFTER = 10  # errors in a row: one that returns at once for ever must not take a core


class NodeExecutor(SingleThreadedExecutor):
    """errors: raised by callbacks so far."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.errors = 0
        self._in_a_row = 0

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Raises ExternalShutdownException when ROS is shut down, and nothing else."""
        try:
            super().spin_once(timeout_sec)
            self._in_a_row = 0
        except ExternalShutdownException:
            raise
        except Exception as error:
            self.errors += 1
            self._in_a_row += 1
            self._log(error)
            if self._in_a_row > _PAUSED_AFTER:
                time.sleep(_PAUSE_S)

    def _log(self, error: Exception) -> None:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"a callback failed, {self.errors} so far: {error!r} in {where.name} ({where.filename}:{where.lineno})"
        for node in self.get_nodes()[:1]:
            node.get_logger().error(text, throttle_duration_sec=_LOG_PERIOD_S)
