"""Which image of ours stands for which reference of a manifest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kubewright.manifests import names
from kubewright.manifests.errors import ImageReferenceError, NoCounterpartError
from kubewright.manifests.names import ImageName

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Image:
    """An image of ours: the reference that it goes by (REPO:TAG), and the digest of its manifest (sha256:...).

    Raises ImageReferenceError for anything else.
    """

    reference: str
    digest: str

    def __post_init__(self) -> None:
        found = names.parse(self.reference)
        if found is None or not found.tag or found.digest:
            raise ImageReferenceError(
                f"an image of ours goes by {self.reference!r}",
                remedy="name it REPO:TAG: correct `reference` of its [[image]]",
            )
        if not _DIGEST.fullmatch(self.digest):
            raise ImageReferenceError(f"{self.reference}: {self.digest!r} is no digest of a manifest (sha256:HEX)")


def counterparts(images: Iterable[Image], replace: Mapping[str, str], where: str) -> dict[str, Image]:
    """What ``rewrite`` takes: every image under its own reference, and under those that it stands for.

    ``replace`` is that of a [[manifest]]: upstream's image, without a tag whatever its tag, -> reference of ours. ``where``
    names it in errors. Raises NoCounterpartError where one of ours is not there.
    """
    ours = {image.reference: image for image in images}
    found = dict(ours)
    for theirs, reference in replace.items():
        if reference not in ours:
            raise NoCounterpartError(
                f"{where}: {theirs} is to be replaced by {reference}, and there is no such image",
                remedy=f"correct `replace`; there are: {', '.join(sorted(ours)) or 'none'}",
            )
        found[theirs] = ours[reference]
    return found


class Table:
    """The mapping as it is asked: by repository and tag first, then by repository alone."""

    def __init__(self, images: Mapping[str, Image]) -> None:
        self._exact: dict[tuple[str, str], Image] = {}
        self._any: dict[str, Image] = {}
        self._digests = {(_full(image), image.digest): image for image in images.values()}
        for reference, image in images.items():
            found = names.parse(reference)
            if found is None or found.digest:
                raise ImageReferenceError(f"{reference!r} cannot stand in a manifest", remedy="name it REPO:TAG or REPO")
            if found.tag:
                self._exact[found.repository, found.tag] = image
            else:
                self._any[found.repository] = image
        self._repositories = {*self._any, *(repository for repository, _ in self._exact)}

    def knows(self, name: ImageName) -> bool:
        """Whether anything of ours stands for an image of this repository."""
        return name.repository in self._repositories

    def find(self, name: ImageName) -> Image | None:
        """The image that stands for ``name``, if there is one. Another digest than ours alone says no version."""
        tag = name.tag or ("" if name.digest else "latest")
        found = self._digests.get((name.repository, name.digest)) or self._exact.get((name.repository, tag))
        return found or self._any.get(name.repository)

    def near(self, name: ImageName) -> list[str]:
        """What there is of the same repository."""
        return sorted(f"{repository}:{tag}" for repository, tag in self._exact if repository == name.repository)


def _full(image: Image) -> str:
    name = names.parse(image.reference)
    return name.repository if name else ""
