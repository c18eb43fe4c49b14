"""What a verified bundle is said to be, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kubewright.errors import plain
from kubewright.verify.bundle_check import VerifiedBundle


def as_text(bundle: VerifiedBundle, *, explain: bool = False) -> str:
    """For people; ``explain`` adds which rule was satisfied by which statement."""
    return plain("\n".join(_lines(bundle, explain))) + "\n"


def _lines(bundle: VerifiedBundle, explain: bool) -> Iterator[str]:
    for place in bundle.places:
        for file in bundle.files:
            if file.component == place.place.split("/")[0]:
                yield f"{file.digest.removeprefix('sha256:')}  {place.place}/{file.path}"
        if explain:
            width = max(len(each.rule) for each in place.passed)
            yield f"  {place.place}"
            yield from (f"    {each.rule:{width}}  {each.says}: {each.note}" for each in place.passed)
    for image in bundle.images:
        yield f"{image.digest.removeprefix('sha256:')}  {image.reference}"
    for place in bundle.places:
        yield from (f"dissent: {each}" for each in place.dissent)
    if explain:
        yield f"contents: signed in {', '.join(f'{each.file} by {each.operator}' for each in bundle.contents.by)}"
        yield from (f"note: {note}" for place in bundle.places for note in place.notes)
        yield from (f"not evidence: {each}" for each in bundle.notes)
    where = f"; copied to {bundle.copied_to}" if bundle.copied_to else ""
    yield (
        f"verified: {bundle.stack} {bundle.version} {bundle.platform}: {len(bundle.files)} files, {len(bundle.images)} images, "
        f"{bundle.total / 1e6:.1f} MB in all, release {bundle.sequence} signed by {', '.join(_signers(bundle))}{where}"
    )


def _signers(bundle: VerifiedBundle) -> list[str]:
    return sorted({each.operator for each in bundle.signed.by})


def as_data(bundle: VerifiedBundle) -> dict[str, Any]:
    """For ``--json``."""
    return {
        "verified": True,
        "bundle": {
            "stack": bundle.stack,
            "version": bundle.version,
            "platform": bundle.platform,
            "bytes": bundle.total,
            "signed_by": sorted({each.operator for each in bundle.contents.by}),
        },
        "release": {"sequence": bundle.sequence, "lock": bundle.signed.lock_digest, "signed_by": _signers(bundle)},
        "files": [
            {
                "component": file.component,
                "version": file.version,
                "path": file.path,
                "kind": file.kind,
                "sha256": file.digest.removeprefix("sha256:"),
                "size": file.size,
            }
            for file in bundle.files
        ],
        "images": [
            {
                "name": image.name,
                "component": image.component,
                "reference": image.reference,
                "digest": image.digest,
                "size": image.size,
            }
            for image in bundle.images
        ],
        "manifests": sorted(bundle.manifests),
        "rules": {
            place.place: [{"rule": each.rule, "satisfied_by": each.says, "note": each.note} for each in place.passed]
            for place in bundle.places
        },
        "dissent": [str(each) for place in bundle.places for each in place.dissent],
        "notes": [note for place in bundle.places for note in place.notes],
        "ignored": list(bundle.notes),
        **({"copied_to": bundle.copied_to} if bundle.copied_to else {}),
    }
