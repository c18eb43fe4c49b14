"""What is in a bundle, read at random and believed in nothing: ``ls`` and ``show``. Digests are checked, signatures are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubewright.errors import UsageError
from kubewright.oci.errors import DocumentError
from kubewright.oci.model import CONTAINERD_NAME, EMPTY, MANIFEST, REF_NAME, Descriptor, Manifest
from kubewright.oci.reading import OpenLayout
from kubewright.verify import bundle_model as model
from kubewright.verify import strictjson
from kubewright.verify.bundle import parse_bundle
from kubewright.verify.bundle_model import BundlePredicate, read_predicate, title
from kubewright.verify.statement import parse_statement

#: bytes of a file that ``show`` prints
_LONGEST = 64 << 20
#: lines of a bundle; ours have hundreds
_MOST_LINES = 50_000
#: bytes of statements about a bundle that are read for what they claim
_CLAIMS = 16 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """A part of a bundle, or (``part`` is its part's name) a file in one. ``what``: image, component, statement, file, ..."""

    name: str
    what: str
    blob: Descriptor
    part: str = ""
    note: str = ""


def lines(layout: OpenLayout, *, statements: bool = False) -> Iterator[Line]:
    """Everything in a bundle that has a name; files behind their part. DocumentError for more than anybody could read."""
    for number, line in enumerate(_lines(layout, statements)):
        if number >= _MOST_LINES:
            raise DocumentError(f"{layout.name}: more than {_MOST_LINES} parts and files", remedy="do not use this bundle")
        yield line


def _lines(layout: OpenLayout, statements: bool) -> Iterator[Line]:
    for each in layout.index.manifests:
        name = title(each)
        if each.media_type != MANIFEST or not name:
            continue
        if each.artifact_type == model.STATEMENT_TYPE:
            if statements:
                yield Line(name, "statement", _only(layout.manifest(each)))
            continue
        manifest = layout.manifest(each)
        reference = each.annotations.get(CONTAINERD_NAME, "")
        if not manifest.artifact_type:
            yield Line(name, "image", each, note=reference or each.annotations.get(REF_NAME, ""))
            continue
        what = manifest.artifact_type.removeprefix("application/vnd.kubewright.").removesuffix(".v1")
        yield Line(name, what, each, note=_place(manifest))
        for layer in manifest.layers:
            if layer.media_type != EMPTY:
                kind = layer.annotations.get(model.KIND, "file")
                yield Line(f"{name}/{title(layer)}", kind, layer, name)


def _only(manifest: Manifest) -> Descriptor:
    return manifest.layers[0] if manifest.layers else manifest.config


def _place(manifest: Manifest) -> str:
    notes = manifest.annotations
    return " ".join(notes[key] for key in (model.VERSION, model.PLATFORM) if key in notes)


def find(layout: OpenLayout, name: str) -> Line:
    """The part or file called ``name``. Raises UsageError with what there is of the kind."""
    known = {line.name: line for line in lines(layout, statements=True)}
    if name in known:
        return known[name]
    from difflib import get_close_matches

    near = get_close_matches(name, known, 1)
    raise UsageError(
        f"{layout.name}: there is no {name!r} in it",
        remedy=f"did you mean {near[0]!r}?" if near else "kubewright bundle ls lists what there is",
    )


def content(layout: OpenLayout, line: Line) -> bytes | None:
    """The bytes of a file; of a statement its payload; None for a part."""
    if line.what == "statement":
        return parse_bundle(layout.read(line.blob, strictjson.ENVELOPE.size), line.name).payload
    return layout.read(line.blob, _LONGEST) if line.part else None


def as_text(found: list[Line]) -> str:
    """A table: size, digest, kind, name."""
    rows = [
        (size(each.blob.size), each.blob.digest[7:19], printable(each.what), printable(each.name), printable(each.note))
        for each in found
    ]
    width = max((len(row[2]) for row in rows), default=0)
    return "".join(f"{row[0]:>9}  {row[1]}  {row[2]:{width}}  {row[3]}  {row[4]}".rstrip() + "\n" for row in rows)


def as_data(found: list[Line]) -> list[dict[str, Any]]:
    """For ``--json``."""
    return [
        {
            "name": each.name,
            "kind": each.what,
            "digest": each.blob.digest,
            "size": each.blob.size,
            **({"part": each.part} if each.part else {}),
            **({"note": each.note} if each.note else {}),
        }
        for each in found
    ]


def printable(text: str) -> str:
    """Names are whoever's words: nothing in them may reach a terminal as a command."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def size(count: int) -> str:
    """``12 B``, ``24.8 MB``."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


# -- the whole ----------------------------------------------------------------------------------------------------


def claims(layout: OpenLayout) -> list[tuple[str, str, BundlePredicate]]:
    """What statements about the bundle itself claim: file, the key's fingerprint, predicate. Nothing of it is checked."""
    found = []
    left = _CLAIMS
    for line in lines(layout, statements=True):
        if line.what == "statement" and line.name.startswith(model.STATEMENT_KIND + ".") and "/" not in line.name:
            left -= line.blob.size
            if left < 0:
                raise DocumentError(f"{layout.name}: its statements are too long", remedy="do not use this bundle")
            bundle = parse_bundle(layout.read(line.blob, strictjson.ENVELOPE.size), line.name)
            statement = parse_statement(bundle.payload, line.name)
            found.append((line.name, bundle.hint, read_predicate(statement, line.name)))
    return found


def summary(layout: OpenLayout) -> dict[str, Any]:
    """What a bundle says it is."""
    found = list(lines(layout, statements=True))
    blobs = {each.digest: each.size for each in layout.walk()}
    signed = claims(layout)
    claimed: Mapping[str, Any] = {}
    if signed:
        said = signed[0][2]
        claimed = {"stack": said.stack, "version": said.version, "platform": said.platform, "sequence": said.sequence}
    counts: dict[str, int] = {}
    for line in found:
        counts[line.what] = counts.get(line.what, 0) + 1
    return {
        **claimed,
        "keys": [key for _, key, _ in signed],
        "parts": counts,
        "blobs": len(blobs),
        "bytes": sum(blobs.values()),
    }


def summary_text(layout: OpenLayout) -> str:
    """The same for people."""
    found = summary(layout)
    counts = ", ".join(f"{count} {what}" for what, count in sorted(found["parts"].items()))
    said = [f"{found['stack']} {found['version']} {found['platform']}, release {found['sequence']}"] if "stack" in found else []
    signers = [f"contents signed with the key {each}; no signature was checked" for each in found["keys"]]
    return "".join(
        printable(each) + "\n" for each in [*said, counts, f"{found['blobs']} blobs, {size(found['bytes'])}", *signers]
    )


def part_text(layout: OpenLayout, line: Line) -> str:
    """A part with its files or layers, its notes, and what statements are about it."""
    manifest = layout.manifest(line.blob)
    out = [f"{line.name}  {line.what}  {line.note}".rstrip(), f"  manifest  {line.blob.digest}"]
    out += [f"  {key}  {value}" for key, value in sorted(manifest.annotations.items())]
    out += [
        f"  {size(each.size):>9}  {each.digest}  {title(each) or each.media_type}"
        for each in manifest.layers
        if each.media_type != EMPTY
    ]
    for each in lines(layout, statements=True):
        if each.what == "statement" and each.name.startswith(line.name + "/"):
            out.append(f"  {size(each.blob.size):>9}  {each.blob.digest}  {each.name}")
    return "".join(printable(each) + "\n" for each in out)
