"""Bundles whose contents a trusted operator signed, and that are put together wrongly: nothing is taken on trust."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from bundlebuilder import BundleBuilder, signing_key
from setbuilder import key_id

from kubewright.bundle.contents import Draft, Ingredients
from kubewright.oci.archive_write import write_archive
from kubewright.oci.model import LAYER, MANIFEST, TITLE, Descriptor, Platform
from kubewright.trust.sign import sign_statement
from kubewright.verify import bundle_model as model
from kubewright.verify import errors
from kubewright.verify.bundle_errors import BundleContentError


@pytest.fixture
def made(tmp_path: Path) -> BundleBuilder:
    return BundleBuilder(tmp_path)


def own(operator: str) -> str:
    return f"bundle.{key_id(operator)}.sigstore.json"


def entry(draft: Draft, name: str) -> int:
    return next(at for at, each in enumerate(draft.contents) if model.title(each) == name)


def relisted(name: str, **changes: Any) -> Callable[[Draft], None]:
    """The descriptor of a part with other fields; ``notes`` replaces some annotations."""

    def change(draft: Draft) -> None:
        at = entry(draft, name)
        notes = {**draft.contents[at].annotations, **changes.pop("notes", {})}
        draft.contents[at] = replace(draft.contents[at], annotations=notes, **changes)
        draft.contents.sort(key=model.title)

    return change


@dataclass(frozen=True)
class Rewritten:
    """The manifest of a part with other content; what is about the part is about this one."""

    name: str
    change: Callable[[dict[str, Any]], object]


class Odd(Draft):
    """A draft with one odd part."""

    def __init__(self, made_of: Ingredients, odd: Rewritten) -> None:
        self._odd = odd
        super().__init__(made_of)

    def _artifact(self, name: str, *arguments: Any) -> Descriptor:
        found = super()._artifact(name, *arguments)
        if name == self._odd.name:
            data = self.blobs.pop(found.digest)
            assert isinstance(data, bytes)
            value = json.loads(data)
            self._odd.change(value)
            new = Descriptor.of(MANIFEST, json.dumps(value, sort_keys=True, separators=(",", ":")).encode())
            self.blobs[new.digest] = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
            found = self.contents[-1] = replace(found, digest=new.digest, size=new.size, artifact_type=value["artifactType"])
        return found


def another_type(value: dict[str, Any]) -> None:
    value["layers"][0]["mediaType"] = LAYER


WRONG: dict[str, Callable[[Draft], None] | Rewritten] = {
    "an image for another platform": relisted("images/etcd", platform=Platform("linux", "arm64")),
    "an image without a platform": relisted("images/etcd", platform=None),
    "an image with two names": relisted("images/etcd", notes={"io.containerd.image.name": "registry.k8s.io/other:1"}),
    "an image without a name": relisted("images/etcd", notes={"org.opencontainers.image.ref.name": ""}),
    "a component under another name": relisted("components/runc", notes={TITLE: "components/crun"}),
    "a statement under another name": relisted(
        f"components/runc/provenance.{key_id('site')}.sigstore.json", notes={TITLE: "components/runc/x.sigstore.json"}
    ),
    "a statement under another part": relisted(
        f"components/runc/provenance.{key_id('site')}.sigstore.json",
        notes={TITLE: f"components/etcd/other.{key_id('site')}.sigstore.json"},
    ),
    "a part that nobody knows": relisted("manifests", notes={TITLE: "manifest"}),
    "a part of another type": Rewritten("manifests", lambda value: value.update(artifactType=model.LICENCES_TYPE)),
    "a part that is an artifact of strangers": relisted("manifests", artifact_type="application/vnd.evil"),
    "a file of another media type": Rewritten("components/runc", another_type),
    "a file twice": Rewritten("components/runc", lambda value: value["layers"].append(value["layers"][0])),
    "a component for another platform": Rewritten(
        "components/runc", lambda value: value["annotations"].update({model.PLATFORM: "linux/arm64"})
    ),
    "a component without a version": Rewritten("components/runc", lambda value: value["annotations"].pop(model.VERSION)),
    "a component of another name": Rewritten(
        "components/runc", lambda value: value["annotations"].update({model.COMPONENT: "crun"})
    ),
    "a component about something": Rewritten(
        "components/runc",
        lambda value: value.update(subject={"mediaType": MANIFEST, "digest": value["config"]["digest"], "size": 2}),
    ),
    "no contents": lambda draft: draft.contents.__delitem__(slice(0, entry(draft, "release"))),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_bundle_that_is_put_together_wrongly_is_refused(wrong: str, made: BundleBuilder) -> None:
    change = WRONG[wrong]
    draft = Odd(made.ingredients, change) if isinstance(change, Rewritten) else Draft(made.ingredients)
    if not isinstance(change, Rewritten):
        change(draft)
    write_archive(draft.sign(signing_key("site")), made.file)
    with pytest.raises(BundleContentError):
        made.verify_bundle()
    assert not made.state.exists()


def test_the_draft_itself_is_accepted(made: BundleBuilder) -> None:
    draft = Odd(made.ingredients, Rewritten("components/runc", lambda value: None))
    relisted("images/etcd")(draft)
    write_archive(draft.sign(signing_key("site")), made.file)
    made.verify_bundle()


# -- the statement ------------------------------------------------------------------------------------------------


def stated(made: BundleBuilder, statements: dict[str, bytes], about: str = "stack") -> None:
    write_archive(Draft(made.ingredients).with_statements(statements, about), made.file)


def said(made: BundleBuilder, change: Callable[[dict[str, Any]], object] = lambda value: None, operator: str = "site") -> bytes:
    statement = json.loads(json.dumps(Draft(made.ingredients).statement()))
    change(statement)
    return sign_statement(statement, signing_key(operator))


def test_a_payload_that_the_key_did_not_sign_is_refused(made: BundleBuilder) -> None:
    forged = json.loads(said(made))
    other = json.loads(said(made, lambda value: value["predicate"].update(version="9.9.9")))
    forged["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"]
    stated(made, {own("site"): json.dumps(forged).encode()})
    with pytest.raises(errors.SignatureError):
        made.verify_bundle()
    assert base64.b64decode(forged["dsseEnvelope"]["payload"])


def test_subjects_have_to_be_the_contents(made: BundleBuilder) -> None:
    for change in (
        lambda value: value["subject"].pop(),
        lambda value: value["subject"][0]["digest"].update(sha256="0" * 64),
        lambda value: value["subject"].append({"name": "more", "digest": {"sha256": "0" * 64}}),
    ):
        stated(made, {own("site"): said(made, change)})
        with pytest.raises(BundleContentError, match="its subjects are not the contents"):
            made.verify_bundle()


def test_a_statement_of_another_type_is_refused(made: BundleBuilder) -> None:
    stated(made, {own("site"): said(made, lambda value: value.update(predicateType="urn:kubewright:release:v1"))})
    with pytest.raises(BundleContentError, match="a statement of the type"):
        made.verify_bundle()


def test_a_statement_under_the_name_of_another_key_is_refused(made: BundleBuilder) -> None:
    stated(made, {own("third"): said(made)})
    with pytest.raises(BundleContentError, match="not what its name says"):
        made.verify_bundle()


def test_a_statement_about_another_part_than_the_stack_is_refused(made: BundleBuilder) -> None:
    stated(made, {own("site"): said(made)}, about="release")
    with pytest.raises(BundleContentError, match="is not about the stack"):
        made.verify_bundle()


def test_two_signers_have_to_say_the_same(made: BundleBuilder) -> None:
    text = made.policy.read_text().replace('[release]\noperators = ["site"]', '[release]\noperators = ["site", "third"]')
    made.policy.write_text(text)
    other = said(made, lambda value: value["predicate"].update(version="9.9.9"), "third")
    stated(made, {own("site"): said(made), own("third"): other})
    with pytest.raises(BundleContentError, match="say different things"):
        made.verify_bundle()


def test_an_unknown_key_in_the_predicate_is_refused(made: BundleBuilder) -> None:
    stated(made, {own("site"): said(made, lambda value: value["predicate"].update(more=1))})
    with pytest.raises(errors.StatementError):
        made.verify_bundle()
    stated(made, {own("site"): said(made, lambda value: value["predicate"].pop("contents"))})
    with pytest.raises(errors.StatementError):
        made.verify_bundle()
