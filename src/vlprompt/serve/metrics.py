"""Prometheus metrics of the service."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Prometheus metrics of one service, in a separate registry.

    Attributes:
        answered: number of requests answered so far.
        images: counter of images by result ("answered" or "unreadable").
    """

    def __init__(self) -> None:
        self.answered = 0
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "vlprompt_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "vlprompt_request_seconds",
            "Seconds from the head of a request to the end of its response.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self.images = Counter("vlprompt_images", "Images by result.", ["result"], registry=registry)
        self._batch_images = Histogram(
            "vlprompt_batch_images", "Images per forward pass.", buckets=BATCH_SIZES, registry=registry
        )
        self._batch_seconds = Histogram(
            "vlprompt_batch_seconds", "Seconds per forward pass.", buckets=SECONDS, registry=registry
        )

    def add_gauge(self, name: str, about: str, value: Callable[[], float]) -> None:
        """Add a value that is computed whenever the metrics are read."""
        Gauge(name, about, registry=self._registry).set_function(value)

    def count_batch(self, images: int, seconds: float) -> None:
        """Count a forward pass."""
        self._batch_images.observe(images)
        self._batch_seconds.observe(seconds)

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self.answered += 1
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
