# SPDX-License-Identifier: Apache-2.0
"""The time from a node's activation to its deactivation, as its inference thread and whoever ends it see it.

Deactivating must not wait for a forward pass, and nothing may be published after it: so the end is asked for between
tokens, and what is published goes through here.
"""

import threading
from collections.abc import Callable

from edgevlm_ros.nodes.watchdog import Pulse


class Activity:
    """One active time. Any thread may wake and end it; it ends once and for all."""

    def __init__(self) -> None:
        self.pulse = Pulse()
        self._woken = threading.Event()
        self._publishing = threading.Lock()
        self._over = False

    def wake(self) -> None:
        """Tells who waits that there may be something to do."""
        self._woken.set()

    def wait(self) -> bool:
        """Waits until it is woken; false once the activity is over."""
        self._woken.wait()
        self._woken.clear()
        return not self._over

    def over(self) -> bool:
        return self._over

    def stop(self) -> bool:
        """What a model asks before each token, so that it is progress: whether to end the answer there."""
        self.pulse.beat()
        return self._over

    def end(self) -> None:
        """Nothing is published from now on. Waits for the one message that is being published, if there is one."""
        with self._publishing:
            self._over = True
        self._woken.set()

    def publish(self, publish: Callable[[], None]) -> bool:
        """Lets something be published, unless the activity is over; whether it was."""
        with self._publishing:
            if not self._over:
                publish()
            return not self._over
