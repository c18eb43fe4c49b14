"""Shows by doing it that containerd verifies what it pulls: a signed image is pulled, its unsigned twin is refused.

The registry is a server in this process, on loopback, where containerd's configuration looks for everything; it answers for a
moment. The twin has the signed image's layers and name, and one label more. Both are pulled through the CRI, as pods' are. The
verifier's log has to show both calls: a configuration that goes past it (an empty directory, a CRI setting) is found here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from kubewright.files.digest import sha256_bytes
from kubewright.install.cri import pull_image
from kubewright.install.errors import JournalError, PullCheckError
from kubewright.install.host import Host
from kubewright.install.journal import Journal
from kubewright.install.judge import Judgement, judgements, log_size
from kubewright.install.pulls import ADVICE, CHECK_PORT
from kubewright.install.runtime import CTR, SOCKET

#: the smallest image of all, and every node has it
IMAGE: Final = "pause"
_LARGEST: Final = 64 << 20
_REMEDY: Final = (
    "until this is put right, any image that a registry offers would run here: look at containerd's configuration "
    "(kubewright node status) and at journalctl -u containerd"
)


@dataclass(frozen=True, slots=True)
class Offer:
    """An image as a registry has it: ``blobs`` by digest, its manifest among them."""

    digest: str
    media_type: str
    blobs: Mapping[str, bytes]


@dataclass(slots=True)
class Registry:
    """What the server answers with at the moment, and what it was asked."""

    offer: Offer
    asked: list[str] = field(default_factory=list)


def prove(host: Host, journal: Journal) -> str:
    """What was shown. Raises PullCheckError where an unsigned image gets in, or a signed one does not."""
    reference, digest = _image(journal)
    signed = _signed(host, digest)
    twin = twin_of(signed)
    with _serving(Registry(signed)) as registry:
        allowed = _pull(host, reference, registry, signed, wanted=True)
        try:
            refused = _pull(host, reference, registry, twin, wanted=False)
        finally:  # the name is the signed image's again, whatever happened, and image collection leaves it alone
            host.run((*CTR, "images", "tag", "--force", f"{reference.rpartition(':')[0]}@{digest}", reference))
            host.run((*CTR, "images", "label", reference, "io.cri-containerd.pinned=pinned"))
    return f"pulled: {reference} ({allowed.reason}); its unsigned twin was refused: {refused.reason}"


def _image(journal: Journal) -> tuple[str, str]:
    for step in journal.plan.get("steps", ()):
        for image in step.get("images", ()):
            if image["name"] == IMAGE:
                return image["reference"], image["digest"]
    raise JournalError("nothing that pulls images is installed here", remedy="kubewright install BUNDLE --policy FILE")


def _signed(host: Host, digest: str) -> Offer:
    """The image as containerd has it."""
    manifest = _blob(host, digest)
    value = json.loads(manifest)
    parts = [value["config"]["digest"], *(layer["digest"] for layer in value["layers"])]
    return Offer(digest, value["mediaType"], {digest: manifest, **{each: _blob(host, each) for each in parts}})


def _blob(host: Host, digest: str) -> bytes:
    result = host.run_bytes((*CTR, "content", "get", digest))
    if len(result) > _LARGEST or sha256_bytes(result) != digest:
        raise PullCheckError(f"containerd has no blob {digest} of {IMAGE}", remedy="kubewright install imports it again")
    return result


def twin_of(offer: Offer) -> Offer:
    """The same layers under the same name, with a label that nobody signed."""
    manifest = json.loads(offer.blobs[offer.digest])
    config = json.loads(offer.blobs[manifest["config"]["digest"]])
    config.setdefault("config", {}).setdefault("Labels", {})["unsigned"] = "twin"
    data = json.dumps(config).encode()
    manifest["config"] |= {"digest": sha256_bytes(data), "size": len(data)}
    made = json.dumps(manifest).encode()
    return Offer(sha256_bytes(made), offer.media_type, {**offer.blobs, sha256_bytes(data): data, sha256_bytes(made): made})


def _pull(host: Host, reference: str, registry: Registry, offer: Offer, *, wanted: bool) -> Judgement:
    registry.offer = offer
    registry.asked.clear()
    since = log_size(host)
    pulled = bool(pull_image(host.path(SOCKET), reference))
    calls = [each for each in judgements(host, since) if each.digest == offer.digest]
    what = f"the {'signed' if wanted else 'unsigned'} image {reference} ({offer.digest})"
    if not registry.asked:
        raise PullCheckError(f"containerd did not ask where {what} was offered", remedy=_REMEDY)
    if pulled != wanted:
        reason = calls[-1].reason if calls else "the verifier was not asked"
        raise PullCheckError(f"{what} was {'pulled' if pulled else 'refused'}: {reason}", remedy=_REMEDY)
    if not calls or calls[-1].allowed != wanted:
        raise PullCheckError(f"{what} was {'pulled' if pulled else 'refused'}, and not by the verifier", remedy=_REMEDY)
    return calls[-1]


# -- the registry ----------------------------------------------------------------------------------------------------------


@contextmanager
def _serving(registry: Registry) -> Iterator[Registry]:
    try:
        server = ThreadingHTTPServer(("127.0.0.1", CHECK_PORT), _handler(registry))
    except OSError as reason:
        message = f"port {CHECK_PORT} on 127.0.0.1: {reason.strerror}"
        raise PullCheckError(message, remedy="end what listens there; only this check may") from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()


def _handler(registry: Registry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """The part of the OCI distribution API that a pull uses."""

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, *, body: bool) -> None:
            path = self.path.partition("?")[0]
            registry.asked.append(path)
            folder, _, name = path.rpartition("/")
            offer = registry.offer
            if folder.endswith("/manifests") and not name.startswith("sha256:"):
                name = offer.digest
            data = offer.blobs.get(name) if path.startswith(ADVICE) else None
            self.send_response(200 if data is not None else 404)
            self.send_header("Content-Type", offer.media_type if name == offer.digest else "application/octet-stream")
            self.send_header("Content-Length", str(len(data or b"")))
            self.send_header("Docker-Content-Digest", name)
            self.end_headers()
            if body and data:
                self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """What was asked is in the registry's list."""

    return Handler
