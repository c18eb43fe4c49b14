from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewright.errors import LockError
from kubewright.model.digestsfile import (
    Accepted,
    AgreedBuild,
    Digests,
    dump_digests,
    load_digests,
    parse_digests,
    sort_digests,
    with_accepted,
)

GOLDEN = Path(__file__).parent / "data" / "project" / "digests.toml"


def digest(digit: str) -> str:
    return "sha256:" + digit * 64


TWO = (AgreedBuild("docker", varied=True), AgreedBuild("bubblewrap", varied=False))
DIGESTS = Digests(
    components={
        "plugins": {"linux/amd64": Accepted(digest("1"), {"bin/portmap": digest("2"), "bin/bridge": digest("3")}, TWO)},
        "etcd": {
            "linux/arm64": Accepted(digest("4"), {"etcd": digest("5")}, TWO),
            "linux/amd64": Accepted(digest("6"), {"etcd": digest("7")}, TWO),
        },
    }
)


def test_the_file_is_as_it_has_always_been() -> None:
    assert dump_digests(DIGESTS) == GOLDEN.read_text()
    assert load_digests(GOLDEN) == sort_digests(DIGESTS)


def test_finding_what_was_accepted() -> None:
    found = DIGESTS.find("etcd", "linux/arm64")
    assert found is not None
    assert found.key == digest("4")
    assert DIGESTS.find("etcd", "linux/riscv64") is None
    assert DIGESTS.find("kubectl", "linux/amd64") is None


def test_no_file_means_that_nothing_was_accepted(tmp_path: Path) -> None:
    assert load_digests(tmp_path / "digests.toml") == Digests()


def test_an_entry_is_added_or_replaced_and_the_others_stay() -> None:
    new = Accepted(digest("8"), {"etcd": digest("9")}, TWO)
    changed = with_accepted(with_accepted(DIGESTS, "etcd", "linux/amd64", new), "kubectl", "linux/amd64", new)
    assert changed.find("etcd", "linux/amd64") == changed.find("kubectl", "linux/amd64")
    assert changed.find("etcd", "linux/arm64") == sort_digests(DIGESTS).find("etcd", "linux/arm64")
    assert list(changed.components) == ["etcd", "kubectl", "plugins"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version = 1\n", "", "digests.toml:1: the key 'version' is missing"),
        ('"linux/arm64"', '"linux/mips"', "component.etcd.\"linux/mips\": 'linux/mips' is not a platform"),
        ("sha256:5", "sha256:", 'component.etcd."linux/arm64".outputs.etcd:'),
        ("sha256:6", "6", 'component.etcd."linux/amd64".key:'),
        ("varied = true", "varied = 1", "varied: expected true or false, found an integer: 1"),
        ('sandbox = "docker"\n', "", "the key 'sandbox' is missing"),
        ('"bin/bridge"', '"../bridge"', "'../bridge' is not a relative path"),
        ('[component.etcd."linux/arm64".outputs]', ">>>>>>> branch", "git merge marker >>>>>>>"),
        ("# end of digests.toml\n", "", "the file is cut"),
    ],
)
def test_each_damage_has_its_message(old: str, new: str, message: str) -> None:
    text = GOLDEN.read_text()
    assert old in text
    with pytest.raises(LockError) as caught:
        parse_digests(text.replace(old, new, 1))
    assert message in caught.value.message


def test_a_build_alone_agrees_with_nobody() -> None:
    alone = with_accepted(Digests(), "etcd", "linux/amd64", Accepted(digest("1"), {"etcd": digest("2")}, TWO[:1]))
    with pytest.raises(LockError, match="one build agrees with nobody"):
        parse_digests(dump_digests(alone))


hexes = st.binary(min_size=32, max_size=32).map(lambda data: f"sha256:{data.hex()}")
outputs = st.dictionaries(st.from_regex(r"[a-z]{1,3}(/[a-z.]{1,2}x)?", fullmatch=True), hexes, min_size=1, max_size=3)
builds = st.lists(st.builds(AgreedBuild, st.sampled_from(["docker", "bubblewrap"]), st.booleans()), min_size=2, max_size=4)
accepted = st.builds(Accepted, hexes, outputs, builds.map(tuple))
platforms = st.dictionaries(st.sampled_from(["linux/amd64", "linux/arm64"]), accepted, min_size=1)


@given(
    st.builds(Digests, components=st.dictionaries(st.from_regex(r"[a-z][a-z0-9-]{0,4}", fullmatch=True), platforms, max_size=3))
)
def test_what_is_written_is_read_back(digests: Digests) -> None:
    text = dump_digests(digests)
    assert parse_digests(text) == sort_digests(digests)
    assert dump_digests(parse_digests(text)) == text
