"""Connections that are not kept for those who do not say what they want."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

# For the head of a request. uvicorn closes what says nothing after an answer, but waits for a first word for ever.
HEAD_SECONDS = 10.0


class Impatient(H11Protocol):
    """uvicorn's HTTP/1.1; a connection is closed if the head of its first or next request takes too long."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a head."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Go on waiting, or not, if that was the rest of it."""
        super().data_received(data)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        super().connection_lost(exc)
        if self._patience:
            self._patience.cancel()

    def _wait(self) -> None:
        if self._answering:
            if self._patience:
                self._patience.cancel()
            self._patience = None
        elif not self._patience:
            self._patience = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._patience = None
        if not self._answering:
            self.transport.close()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete
