"""An S3-compatible server in this process that fails a share of its requests."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class FlakyS3:
    """A WSGI application: moto's S3, with a share of the requests answered by 503 and not done.

    share: of the requests, in [0, 1], that fail; may be changed at any time. answered: how many were answered how.
    """

    def __init__(self, share: float, rng: np.random.Generator) -> None:
        self.share = share
        self.rng = rng
        self.lock = threading.Lock()
        self.answered: Counter[str] = Counter()
        self.s3 = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self.lock:
            fails = self.rng.random() < self.share
            self.answered["failed" if fails else "done"] += 1
        if not fails:
            return self.s3(environ, start_response)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("503 Slow Down", [("Content-Type", "application/xml"), ("Content-Length", str(len(BUSY)))])
        return [BUSY]


@contextmanager
def serving(application: FlakyS3, bucket: str) -> Iterator[str]:
    """The URL of results in a new bucket of the application, while it serves."""
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        share, application.share = application.share, 0.0
        url = f"s3://{bucket}/results?scheme=http&endpoint_override=127.0.0.1:{server.port}&region=us-east-1"
        _make_bucket(f"http://127.0.0.1:{server.port}", bucket)
        application.share = share
        yield url
    finally:
        server.shutdown()
        thread.join()


def _make_bucket(endpoint: str, bucket: str) -> None:
    import boto3

    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=bucket)
