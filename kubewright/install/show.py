"""A plan for people and for programs: what ``--dry-run`` prints. Nothing of it is secret."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from kubewright.install.content import Image
from kubewright.install.plan import Apply, Await, File, Give, Import, Kubeadm, NewSecret, Plan, Run, Serve, Step


def plan_data(plan: Plan) -> dict[str, Any]:
    """Everything of a plan as JSON; texts of rendered files included."""
    return {
        "stack": plan.stack,
        "sequence": plan.sequence,
        "platform": plan.platform,
        "node": dataclasses.asdict(plan.node),
        "directory": plan.directory,
        "files": [_file(file) for file in plan.files],
        "outside": [_file(file) for file in plan.outside],
        "directories": [{"path": each.path, "mode": f"{each.mode:04o}"} for each in plan.directories],
        "secrets": [dataclasses.asdict(each) for each in plan.secrets],
        "modules": list(plan.modules),
        "settings": {each.key: each.value for each in plan.settings},
        "archives": [{"path": each.path, "images": [_image(image) for image in each.images]} for each in plan.archives],
        "links": {each.path: each.target for each in plan.links},
        "services": list(plan.services),
        "steps": [step_data(step) for step in plan.steps],
    }


def recorded(plan: Plan, release: str) -> dict[str, Any]:
    """A plan as the journal has it: with the release that its content is of."""
    return {**plan_data(plan), "release": release}


def _file(file: File) -> dict[str, Any]:
    text = {"text": file.content} if isinstance(file.content, str) else {}
    return {
        "path": file.path,
        "mode": f"{file.mode:04o}",
        "digest": file.digest,
        "size": file.size,
        "origin": file.origin,
        **text,
    }


def _image(image: Image) -> dict[str, Any]:
    names = {"names": list(image.names)} if image.names else {}
    return {"name": image.name, "reference": image.reference, "digest": image.digest, **names}


def step_data(step: Step) -> dict[str, Any]:
    """One step."""
    kind = {"kind": type(step).__name__.lower(), "name": step.name}
    if isinstance(step, Run):
        return {**kind, "argv": list(step.argv), "when": step.when}
    if isinstance(step, Await):
        return {**kind, "argv": list(step.argv), "expect": step.expect, "timeout": step.timeout}
    if isinstance(step, Import):
        return {**kind, "images": [_image(image) for image in step.images]}
    if isinstance(step, Kubeadm):
        return {**kind, "action": step.action, "documents": [dict(each) for each in step.documents]}
    if isinstance(step, Give):
        return {**kind, "objects": [dict(each) for each in step.objects]}
    if isinstance(step, Serve):
        return {**kind, "served": [_image(image) for image in step.served]}
    if isinstance(step, NewSecret):
        return {**kind, "namespace": step.namespace, "secret": step.secret, "key": step.key}
    return {**kind, "manifest": step.manifest, "digest": step.digest, "parameters": dict(step.parameters)}


def plan_text(plan: Plan) -> str:
    """The same for people, shorter."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    yield f"{plan.stack} (release {plan.sequence}, {plan.platform}) on {plan.node.name} ({plan.node.address}), {plan.node.role}"
    yield ""
    yield f"files in {plan.directory}"
    for file in plan.files:
        yield f"    {file.mode:04o}  {file.digest[7:19]}  {file.size:>11,}  {file.path}  ({file.origin})"
    yield "files elsewhere"
    yield from (f"    {file.mode:04o}  {file.digest[7:19]}  {file.size:>11,}  {file.path}" for file in plan.outside)
    yield "directories"
    yield from (f"    {each.mode:04o}  {each.path}" for each in plan.directories)
    yield from (f"made here, once: 0600  {each.path} ({each.kind})" for each in plan.secrets)
    yield f"kernel modules: {', '.join(plan.modules)}"
    yield "kernel settings"
    yield from (f"    {each.key} = {each.value}" for each in plan.settings)
    yield "links, switched last"
    yield from (f"    {link.path} -> {link.target}" for link in plan.links)
    yield "images"
    yield from (f"    {each.digest[7:19]}  {name}" for each in plan.images for name in (each.reference, *each.names))
    yield "then"
    for number, step in enumerate(plan.steps, 1):
        yield f"    {number:>2}. {step.name}: {_what(step)}"


def _what(step: Step) -> str:
    if isinstance(step, Run):
        return " ".join(step.argv)
    if isinstance(step, Await):
        return "wait for " + " ".join(step.argv)
    if isinstance(step, Import):
        return f"ctr images import ({len(step.images)} images, each by tag and by digest)"
    if isinstance(step, Kubeadm):
        return f"kubeadm {step.action} with a configuration of {len(step.documents)} documents"
    if isinstance(step, Give):
        return f"kubectl apply, {', '.join(each['kind'] for each in step.objects)}"
    if isinstance(step, Serve):
        return f"{len(step.served)} images, as links to containerd's blobs"
    if isinstance(step, NewSecret):
        return f"kubectl create, Secret {step.namespace}/{step.secret} of random bytes, unless it is there"
    assert isinstance(step, Apply)
    return f"kubectl apply, from {step.digest[7:19]}"
