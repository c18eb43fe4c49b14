"""What there is to install, as plain values, and where its bytes come from. Folders and bundles both become this.

A ``Source`` may be wrong or turn evil after it was verified: whoever reads from it compares with the digest that stands here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from kubewright.install.errors import ContentError

#: what a bundle has beside components, as if it were some: no recipe may be called so
INSTALLER: Final = "(installer)"
RELEASE_FILES: Final = "(release)"
STATEMENTS: Final = "(statements)"


@dataclass(frozen=True, slots=True)
class HostFile:
    """A file for the host: output ``name`` of ``component``. ``digest`` is ``sha256:...`` of its bytes."""

    component: str
    name: str
    digest: str
    size: int
    executable: bool = True


@dataclass(frozen=True, slots=True)
class Image:
    """A container image. ``digest`` is that of its manifest, ``reference`` is REPOSITORY:TAG, ``size`` that of its layers.

    ``names`` are further REPOSITORY:TAG that nodes have to know it by.
    """

    name: str
    reference: str
    digest: str
    size: int
    names: tuple[str, ...] = ()

    @property
    def pinned(self) -> str:
        """REPOSITORY@DIGEST: the name that says which bytes."""
        return f"{self.reference.rpartition(':')[0]}@{self.digest}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Kubernetes objects under one name, as the bundle has them; ``digest`` of the bytes there."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Content:
    """A stack for one platform, verified. ``sequence`` and ``release`` are those of the signed release; ``policy`` is the text
    of the site's policy that it satisfied. ``built``: seconds since 1970 of the last build in it, as its builder said."""

    stack: str
    platform: str
    sequence: int
    release: str
    versions: Mapping[str, str]
    files: tuple[HostFile, ...] = ()
    images: tuple[Image, ...] = ()
    manifests: tuple[Manifest, ...] = ()
    policy: str = ""
    built: int = 0

    def file(self, component: str, name: str) -> HostFile:
        """Raises ContentError where it is missing, as the others do."""
        found = next((each for each in self.files if (each.component, each.name) == (component, name)), None)
        if found is None:
            raise self._missing(f"the program {name} of {component}")
        return found

    def component(self, name: str) -> tuple[HostFile, ...]:
        """All files of a component, by name."""
        found = tuple(sorted((each for each in self.files if each.component == name), key=lambda each: each.name))
        if not found:
            raise self._missing(f"the component {name}")
        return found

    def has_image(self, name: str) -> bool:
        return any(each.name == name for each in self.images)

    def image(self, name: str) -> Image:
        found = next((each for each in self.images if each.name == name), None)
        if found is None:
            raise self._missing(f"the image {name}")
        return found

    def manifest(self, name: str) -> Manifest:
        found = next((each for each in self.manifests if each.name == name), None)
        if found is None:
            raise self._missing(f"the manifest {name}")
        return found

    def version(self, component: str) -> str:
        if component not in self.versions:
            raise self._missing(f"the component {component}")
        return self.versions[component]

    def _missing(self, what: str) -> ContentError:
        return ContentError(
            f"the content of stack {self.stack} for {self.platform} lacks {what}",
            remedy="make the bundle of the whole stack: ./doit bundle:" + self.stack,
        )


class Source(Protocol):
    """Where the bytes of a Content are."""

    def open_file(self, file: HostFile) -> BinaryIO:
        """The file's bytes, unchecked."""

    def export_images(self, images: Sequence[Image], target: BinaryIO) -> None:
        """Write one OCI archive (a tar of an image layout) with these images, every blob checked against its digest.

        Each manifest is listed in its index.json by all names of the image (``image_names``).
        """

    def read_manifest(self, manifest: Manifest) -> bytes:
        """The manifest's bytes, unchecked."""


def image_names(image: Image) -> tuple[str, ...]:
    """Under which names a node has to know an image: REPOSITORY:TAG, REPOSITORY@DIGEST (an offline import makes no name by
    digest by itself), and its further names."""
    return image.reference, image.pinned, *image.names
