"""Whether an image that is about to be pulled is one of a signed bundle: asked of what was kept of it, a folder of statements.

    release/                     lockfile.toml, digests.toml and what else the release signs, with its statements
    contents/bundle.KEYID.json   the statements about the bundle's contents

Who signed release and contents is judged again, under the policy of now. What was said about each image by itself (provenance,
SBOMs, rebuilds) had to satisfy the policy when the bundle was verified (``bundle_check``); it is not kept. A name is bound to
its digest: a signed image under the name of another one is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kubewright.oci.model import CONTAINERD_NAME, Descriptor
from kubewright.verify import bundle_model as model
from kubewright.verify import strictjson
from kubewright.verify.bundle import SUFFIX
from kubewright.verify.bundle_contents import Said, signed_by
from kubewright.verify.bundle_errors import ImageRefusedError
from kubewright.verify.bundle_model import title
from kubewright.verify.check import verify_release
from kubewright.verify.errors import ReleaseError
from kubewright.verify.facts import Signed
from kubewright.verify.pinned import Folder
from kubewright.verify.policy import Policy
from kubewright.verify.rules import DIGESTS

RELEASE: Final = "release"
CONTENTS: Final = "contents"
_REMEDY: Final = "only images of the bundle that was installed can be pulled"


def accept_pull(
    kept: Path, policy: Policy, policy_file: Path, name: str, digest: str, now: Callable[[], float] = time.time
) -> str:
    """Who vouches for the image ``name`` having ``digest``; raises the VerifyError of the first rule that does not hold.

    ``name`` is REPOSITORY:TAG, REPOSITORY@DIGEST or both, as containerd resolves it.
    """
    signed, _ = verify_release(kept / RELEASE, policy, policy_file, now)
    by = _contents(kept / CONTENTS, policy)
    predicate = by[0].predicate
    if (predicate.sequence, predicate.lock) != (signed.release.sequence, signed.lock_digest) or any(
        each.digests()[DIGESTS] != predicate.digests for each in signed.by
    ):
        raise ReleaseError(f"{by[0].file} is about another release than {signed.by[0].file}", remedy="install the node again")
    image = _named(name, digest, [each.descriptor() for each in predicate.contents])
    _check_listed(image, digest, signed, predicate.platform, policy)
    return f"{title(image)} of release {predicate.sequence}, signed by {', '.join(sorted({each.operator for each in by}))}"


def _contents(folder: Path, policy: Policy) -> list[Said]:
    with Folder(folder) as opened:
        names = [name for name, is_folder in opened.names() if not is_folder and name.endswith(SUFFIX)]
        said, _ = signed_by([(name, opened.read(name, strictjson.ENVELOPE.size)) for name in names], policy)
        opened.recheck()
    return said


def _named(name: str, digest: str, contents: list[Descriptor]) -> Descriptor:
    """The image that the signed contents call ``name``, if it is the one with ``digest``."""
    bare, _, wanted = name.partition("@")
    found = [each for each in contents if title(each).startswith(model.IMAGES) and _is_called(each, bare)]
    if not found:
        raise ImageRefusedError(f"{name[:300]} is no image of this bundle", remedy=_REMEDY)
    if wanted and wanted != digest:
        raise ImageRefusedError(f"{name[:300]} was asked for, and {digest[:80]} was answered", remedy=_REMEDY)
    for each in found:
        if each.digest == digest:
            return each
    raise ImageRefusedError(
        f"{bare[:300]} is {digest[:80]}, and signed is {', '.join(sorted(each.digest for each in found))}", remedy=_REMEDY
    )


def _is_called(image: Descriptor, bare: str) -> bool:
    """Whether REPOSITORY:TAG, or REPOSITORY alone where a digest says which, is an image's name."""
    reference = image.annotations.get(CONTAINERD_NAME, "")
    return bare in (reference, reference.rpartition(":")[0])


def _check_listed(image: Descriptor, digest: str, signed: Signed, platform: str, policy: Policy) -> None:
    """As for an image of a bundle: what digests.toml lists, or nothing where the policy allows that."""
    component = image.annotations.get(model.COMPONENT, "")
    listed = signed.digests.find(component, platform)
    said = listed.images.get(title(image).removeprefix(model.IMAGES)) if listed else None
    if said != digest and (said is not None or policy.release.unlisted == "refuse"):
        raise ImageRefusedError(f"{title(image)} is {digest}, digests.toml lists {said or 'no such image'}", remedy=_REMEDY)
