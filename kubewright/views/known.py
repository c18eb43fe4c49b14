"""Which output a file is: by its digest alone, so that a renamed copy is known, and a changed one is not."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from difflib import get_close_matches
from pathlib import Path

from kubewright import record
from kubewright.errors import UsageError
from kubewright.files.digest import sha256_file
from kubewright.files.tree import normalised_tar
from kubewright.project import Project
from kubewright.record import BuildRecord
from kubewright.views.why import Explanation, current_key, explain, explain_lock, explain_record


def explain_any(project: Project, text: str, platform: str | None = None) -> Explanation:
    """``text`` is a component's name, a file, an output folder, or a digest. Raises UsageError when nobody knows it."""
    if text in project.recipes:
        return explain(project, text, platform)
    if re.fullmatch(r"(sha256:)?[0-9a-f]{64}", text):
        return explain_digest(project, "sha256:" + text.removeprefix("sha256:"), text)
    path = Path(text)
    if path.exists():
        return explain_digest(project, content_digest(path), text)
    near = get_close_matches(text, project.recipes, 1)
    raise UsageError(
        f"{text!r} is neither a component nor a file",
        remedy=f"did you mean {near[0]!r}?" if near else f"the components: {', '.join(project.recipes)}",
    )


def content_digest(path: Path) -> str:
    """Digest of a file, or of a folder as an output of kind ``tree`` has it (its normalised tar)."""
    if not path.is_dir():
        return sha256_file(path)
    with tempfile.TemporaryDirectory() as scratch:
        packed = Path(scratch) / "tree.tar"
        with packed.open("wb") as stream:
            normalised_tar(path, stream)
        return sha256_file(packed)


def explain_digest(project: Project, digest: str, shown: str) -> Explanation:
    """The component one of whose outputs has this digest; ``shown`` is how messages call the file. Raises UsageError."""
    found = _matches(project, digest)
    if not found:
        raise _unknown(project, digest, shown)
    first, *others = found
    also = dict.fromkeys(f"{each.output} of {each.component} {each.version} {each.platform}" for each in others)
    also.pop(f"{first.output} of {first.component} {first.version} {first.platform}", None)
    return dataclasses.replace(first, file=shown, also=tuple(also))


def _matches(project: Project, digest: str) -> list[Explanation]:
    """Current builds first, then what digests.toml has, then builds of other keys (newest first)."""
    found = [_output(explain_record(project, each), digest) for each in _records_with(project, digest)]
    known = {(each.component, each.platform, each.key) for each in found}
    for name, platforms in project.digests.components.items():
        for platform, accepted in platforms.items():
            key = current_key(project, name, platform)
            if digest in accepted.outputs.values() and accepted.key == key and (name, platform, key) not in known:
                found.append(_output(explain_lock(project, project.component(name, platform)), digest))
    return sorted(found, key=lambda each: (not each.current, -(each.build.started if each.build else 0)))


def _records_with(project: Project, digest: str) -> list[BuildRecord]:
    """Builds that gave an output with this digest; rebuilds only where no first build did."""
    firsts = [each for each in record.load_all(project.store) if digest in each.digests().values()]
    keys = {each.key for each in firsts}
    again = [each for each in record.load_all(project.store, "rebuild") if digest in each.digests().values()]
    return firsts + [each for each in again if each.key not in keys]


def _unknown(project: Project, digest: str, shown: str) -> UsageError:
    for name, platforms in project.digests.components.items():
        for platform, accepted in platforms.items():
            path = next((path for path, known in accepted.outputs.items() if known == digest), None)
            if path is not None:
                return UsageError(
                    f"{shown} is {path} of {name} for {platform}, accepted in digests.toml under another key than the lock's",
                    remedy="check out the commit whose lock it was built from; `git log digests.toml` names it",
                )
    return UsageError(
        f"nobody knows {shown} ({digest}): neither a build in {project.store.root} nor digests.toml has such an output",
        remedy="it was changed, is part of a larger output, or comes from another checkout or version: build the component and"
        " compare, or ask in the checkout that it came from",
    )


def _output(explanation: Explanation, digest: str) -> Explanation:
    path = next(each.path for each in explanation.outputs if each.sha256 == digest)
    return dataclasses.replace(explanation, output=path)
