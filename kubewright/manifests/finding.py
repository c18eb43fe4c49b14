"""Where a manifest names images: in containers of any kind of workload, and in the strings that configure programs.

Three kinds of places, told apart by how sure it is that an image is meant there:

- a field that holds an image (``image``, ``reference`` of an image volume): whatever stands there is one;
- a setting called so (``--helper-image=X``, ``HELPER_IMAGE``, ``helperImage``): what stands there is one if it reads so;
- any other string: what names a registry and a tag or digest, and what names a repository of ours with one.

A string that holds YAML or JSON itself (a ConfigMap's data) is looked through in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kubewright.manifests import names
from kubewright.manifests.document import Mapping, Node, Scalar, Sequence, read
from kubewright.manifests.errors import ManifestError
from kubewright.manifests.names import ImageName

#: documents in strings of documents in strings ...
_MOST_NESTED = 4
#: what separates words of a string that could name images
_WORD = re.compile(r"[^\s\"'`,;=(){}<>|&]+")
_OPTION = re.compile(r"(?:^|\s)(?:--?(?:[A-Za-z0-9-]+-)?image|(?:[A-Z0-9]+_)*IMAGE)=[\"']?([^\s\"'`,;=(){}<>|&]+)")
_OPTION_ALONE = re.compile(r"--?(?:[A-Za-z0-9-]+-)?image")
_VARIABLE = re.compile(r"(?:[A-Z0-9]+_)*IMAGE|RELATED_IMAGE_[A-Z0-9_]+")
_SETTING = re.compile(r"[a-z][A-Za-z0-9]*Image")
_IMAGE_LINE = re.compile(r"^[ \t]*(?:- )?[\"']?image[\"']?[ \t]*:[ \t]*[^\s#]", re.MULTILINE)
_POLICIES = ("imagePullPolicy", "pullPolicy")


@dataclass(frozen=True, slots=True)
class Place:
    """``[start:end]`` of a scalar's value. ``scalars``: that scalar, and before it those whose values hold the documents that
    it is in, outermost first. ``object``, ``path``: as people name the place. ``line`` of the manifest."""

    scalars: tuple[Scalar, ...]
    start: int
    end: int
    object: str
    path: str
    line: int

    @property
    def text(self) -> str:
        return self.scalars[-1].value[self.start : self.end]


@dataclass
class Found:
    """What is in a manifest: its documents, the places in them that name images, and pull policies."""

    documents: list[Node] = field(default_factory=list)
    images: list[Place] = field(default_factory=list)
    policies: list[Place] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _At:
    """Where the search is."""

    object: str
    path: str = ""
    scalars: tuple[Scalar, ...] = ()

    def down(self, step: str) -> _At:
        dotted = step if step.startswith("[") or not self.path or self.path.endswith(": ") else f".{step}"
        return _At(self.object, self.path + dotted, self.scalars)


def find(name: str, text: str, ours: Callable[[ImageName], bool]) -> Found:
    """Everything in the manifest ``name`` that has to be looked at; ``ours``: whether it is a repository of ours.

    Raises ManifestError: for what ``document.read`` refuses, and for images written in parts or in text that is no YAML.
    """
    search = _Search(name, ours)
    search.found.documents = read(name, text)
    for number, node in enumerate(search.found.documents, 1):
        if isinstance(node, Mapping):
            search.node(node, _At(f"document {number}"))
        elif not isinstance(node, Scalar) or node.value not in ("", "~", "null"):
            raise ManifestError(f"{name}: document {number} is no object", remedy="correct the source with a declared patch")
    return search.found


class _Search:
    def __init__(self, name: str, ours: Callable[[ImageName], bool]) -> None:
        self._name, self._ours = name, ours
        self.found = Found()

    # -- nodes ------------------------------------------------------------------------------------------------------

    def node(self, node: Node, at: _At) -> None:
        if isinstance(node, Mapping):
            self._mapping(node, at)
        elif isinstance(node, Sequence):
            self._sequence(node, at)
        else:
            self._string(node, at)

    def _mapping(self, node: Mapping, at: _At) -> None:
        if node.text("apiVersion") and node.text("kind"):
            at = _At(_called(node), at.path) if not at.scalars else at
        variable = _VARIABLE.fullmatch(node.text("name"))
        for key, value in node.items:
            below = at.down(_step(key.value))
            if key.value == "description":
                continue  # prose, in the schemas of custom resources
            if isinstance(value, Scalar) and (
                key.value == "image" or (variable and key.value == "value" and _set(value.value))
            ):
                self._image(value, below)
            elif isinstance(value, Scalar) and key.value in _POLICIES:
                self.found.policies.append(_whole(value, below))
            elif isinstance(value, Scalar) and _SETTING.fullmatch(key.value) and _reads_as_image(value.value):
                self._image(value, below)
            elif isinstance(value, Mapping) and key.value == "image":
                self._image_in_parts(value, below)
            else:
                self.node(value, below)

    def _image_in_parts(self, node: Mapping, at: _At) -> None:
        """An image volume (reference, pullPolicy), a schema (default), or an image in parts, which cannot be replaced."""
        if node.text("repository"):
            raise ManifestError(
                f"{self._name}: {at.object}: {at.path}: an image in parts (repository {node.text('repository')})",
                remedy="write it as one reference, with a declared patch of the source",
            )
        for key, value in node.items:
            below = at.down(_step(key.value))
            if isinstance(value, Scalar) and key.value in ("reference", "default"):
                self._image(value, below)
            elif isinstance(value, Scalar) and key.value in _POLICIES:
                self.found.policies.append(_whole(value, below))
            elif key.value != "description":
                self.node(value, below)

    def _sequence(self, node: Sequence, at: _At) -> None:
        before = ""
        for number, item in enumerate(node.items):
            below = at.down(f"[{number}]")
            if isinstance(item, Scalar) and _OPTION_ALONE.fullmatch(before) and _set(item.value):
                self._image(item, below)
            else:
                self.node(item, below)
            before = item.value if isinstance(item, Scalar) else ""

    # -- strings ----------------------------------------------------------------------------------------------------

    def _image(self, scalar: Scalar, at: _At) -> None:
        self.found.images.append(_whole(scalar, at))

    def _string(self, scalar: Scalar, at: _At) -> None:
        if not self._document(scalar, at):
            for start, end in self._named(scalar.value):
                self.found.images.append(_part(scalar, at, start, end))

    def _named(self, text: str) -> Iterator[tuple[int, int]]:
        """The spans of a plain string that name images."""
        options = {match.start(1): match.end(1) for match in _OPTION.finditer(text) if _set(match.group(1))}
        yield from options.items()
        for match in _WORD.finditer(text):
            end = match.start() + len(match.group().rstrip(".:!?"))
            name = names.parse(text[match.start() : end])
            if match.start() in options or name is None or not (name.tag or name.digest):
                continue
            if self._ours(name) or (name.registry and "/" in name.name):
                yield match.start(), end

    def _document(self, scalar: Scalar, at: _At) -> bool:
        """Whether the string holds a document, which has been looked through then. Raises ManifestError where one that names
        images cannot be read."""
        text = scalar.value
        if "\n" not in text and not text.startswith(("{", "[")):
            return False
        inside = f"{self._name}: {at.object}: {at.path}"
        if len(at.scalars) >= _MOST_NESTED:
            remedy = "correct the source with a declared patch, or leave the manifest out"
            raise ManifestError(f"{inside}: documents in documents, {_MOST_NESTED} times", remedy=remedy)
        try:
            nodes = read(inside, text)
        except ManifestError as error:
            if _IMAGE_LINE.search(text):
                error.remedy = "it names images, and cannot be read as YAML: correct the source with a declared patch"
                raise
            return False
        if all(isinstance(node, Scalar) for node in nodes):
            return False
        for node in nodes:
            self.node(node, _At(at.object, f"{at.path}: ", (*at.scalars, scalar)))
        return True


# -- places -------------------------------------------------------------------------------------------------------


def _whole(scalar: Scalar, at: _At) -> Place:
    return _part(scalar, at, 0, len(scalar.value))


def _part(scalar: Scalar, at: _At, start: int, end: int) -> Place:
    """A line inside of a literal block is counted from the block's first; elsewhere the string's line has to do."""
    outer = at.scalars[0] if at.scalars else scalar
    line = scalar.line
    if at.scalars:
        line = outer.line + (scalar.line if outer.style in ("|", ">") and len(at.scalars) == 1 else 0)
    return Place((*at.scalars, scalar), start, end, at.object, at.path, line)


def _called(node: Mapping) -> str:
    metadata = node.get("metadata")
    if not isinstance(metadata, Mapping):
        return node.text("kind")
    words = [metadata.text("namespace"), metadata.text("name") or metadata.text("generateName")]
    return f"{node.text('kind')} {'/'.join(word for word in words if word)}".strip()


def _step(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f'["{key}"]'


def _set(text: str) -> bool:
    """Whether the value of a setting that is called so can be an image."""
    return names.parse(text) is not None and text not in ("true", "false") and not text.isdigit()


def _reads_as_image(text: str) -> bool:
    name = names.parse(text)
    return name is not None and bool(name.tag or name.digest or name.registry)
