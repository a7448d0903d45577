"""What Prometheus can read of the service."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Counts:
    """Counters of one service, in a registry of their own.

    Attributes:
        answered: requests so far.
    """

    def __init__(self) -> None:
        self.answered = 0
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        labels = ["method", "route", "status"]
        self.requests = Counter("vlprompt_requests", "Requests that were answered.", labels, registry=self.registry)
        self.seconds = Histogram(
            "vlprompt_request_seconds",
            "From a request's head to the end of its answer.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.images = Counter("vlprompt_images", "Pictures by what became of them.", ["result"], registry=self.registry)
        self.batches = Histogram(
            "vlprompt_batch_images", "Pictures that the model saw at a time.", buckets=IMAGES, registry=self.registry
        )
        self.model = Histogram(
            "vlprompt_batch_seconds", "The model's time for a batch.", buckets=SECONDS, registry=self.registry
        )

    def gauge(self, name: str, about: str, value: Callable[[], float]) -> None:
        """A value that is asked for whenever it is read."""
        Gauge(name, about, registry=self.registry).set_function(value)

    def batch(self, images: int, seconds: float) -> None:
        """Count a batch."""
        self.batches.observe(images)
        self.model.observe(seconds)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self.answered += 1
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self.registry)
