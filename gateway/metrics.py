"""The figures that Prometheus asks for, named as boxo names them where the meaning is the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

# boxo's buckets, in seconds: dashboards made for Kubo go on working.
_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 240, 480, 960, 1920)


class Metrics:
    """Labels are bounded: never a CID, a key, a path or a Host."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        self.responses = counter("ipfs_http_gw_responses_total", "Responses by status.", ["code"])
        self.concurrent = gauge(
            "ipfs_http_gw_concurrent_requests", "Requests under way.", multiprocess_mode="livesum"
        )
        self.durations = Histogram(
            "ipfs_http_gw_get_duration_seconds",
            "Time of reads that took more than a look into memory, by gateway type.",
            ["gateway"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.sent = counter("cidgate_sent_bytes_total", "Bytes of bodies sent.")
        self.uploads = counter("cidgate_uploads_total", "Writes by outcome.", ["outcome"])
        self.received = counter("cidgate_received_bytes_total", "Bytes of uploads received.")
        self.damaged = counter("cidgate_damaged_blocks_total", "Copies of blocks found missing or wrong.")
        self.expired = counter("cidgate_expired_files_total", "Files that the cleanup let go of.")
        self.swept = counter("cidgate_swept_objects_total", "Objects of unfinished uploads removed.")
        self.answers = counter("cidgate_answers_total", "Reads by where the answer came from.", ["source"])
        gauge("cidgate_info", "The version that runs.", ["version"], multiprocess_mode="max").labels(
            version
        ).set(1)
        self._add_store()
        self._hits: dict[int, int] = {}
        self._hit_bytes = 0
        self._statuses: dict[int, Counter] = {}
        self._sources: dict[str, Counter] = {}
        self._path_gateway = self.durations.labels("path")

    def _add_store(self) -> None:
        """What only a bucket has."""
        counter = partial(Counter, registry=self.registry)
        self.store_retries = counter("cidgate_store_retries_total", "Requests to the bucket made again.")
        self.store_hedges = counter(
            "cidgate_store_hedged_reads_total", "Slow reads that were begun a second time."
        )
        self.store_breaker = Gauge(
            "cidgate_store_breaker_open",
            "1 while the bucket is left alone after failures.",
            multiprocess_mode="max",
            registry=self.registry,
        )
        self.filebase_cids = counter(
            "cidgate_filebase_cids_total", "Objects by whether Filebase gave our CID.", ["outcome"]
        )

    def answered(self, status: int, sent: int, source: str | None, seconds: float) -> None:
        """Count one response; label look-ups are done once, they cost more than the counting."""
        counter = self._statuses.get(status)
        if counter is None:
            counter = self._statuses[status] = self.responses.labels(str(status))
        counter.inc()
        if sent:
            self.sent.inc(sent)
        if source is None:
            return
        counter = self._sources.get(source)
        if counter is None:
            counter = self._sources[source] = self.answers.labels(source)
        counter.inc()
        if status < 300:
            self._path_gateway.observe(seconds)

    def hit(self, status: int, sent: int) -> None:
        """Count a small answer out of memory: only noted here, because the counters of the library
        take their lock each time, and would be a tenth of such a request."""
        self._hits[status] = self._hits.get(status, 0) + 1
        self._hit_bytes += sent

    def flush(self) -> None:
        """Move what `hit` noted into the counters."""
        hits, self._hits = self._hits, {}
        for status, count in hits.items():
            self.responses.labels(str(status)).inc(count)
        self.answers.labels("memory").inc(sum(hits.values()))
        self.sent.inc(self._hit_bytes)
        self._hit_bytes = 0

    def render(self) -> bytes:
        """The text that `/metrics` answers; of all workers where there are several."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        everybody = CollectorRegistry()
        collect: Callable[[CollectorRegistry], object] = MultiProcessCollector
        collect(everybody)
        return generate_latest(everybody)
