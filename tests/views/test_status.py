"""``status``, and README's table: what each column takes from lock, digests.toml and records."""

from __future__ import annotations

from pathlib import Path

import pytest
from project_builder import ProjectBuilder, hexadecimal

from kubewright.errors import UsageError
from kubewright.project import Project
from kubewright.views.status import Row, as_data, as_text, readme_table, rows, update_block


@pytest.fixture
def made(tmp_path: Path) -> ProjectBuilder:
    return ProjectBuilder(tmp_path).component("runc", patches={"0001-x.patch": "a reason"}).lock()


def row(made: ProjectBuilder) -> Row:
    (found,) = rows(made.project())
    return found


def test_locked_and_nothing_else(made: ProjectBuilder) -> None:
    found = row(made)
    assert (found.locked, found.built, found.reproduced, found.accepted, found.patches) == (True, False, False, "none", 1)


def test_one_build_reproduces_nothing(made: ProjectBuilder) -> None:
    made.record("runc")
    found = row(made)
    assert (found.built_here, found.builds, found.reproduced) == (True, ("bubblewrap",), False)


def test_a_rebuild_that_agrees_reproduces(made: ProjectBuilder) -> None:
    made.rebuilt(made.record("runc"))
    found = row(made)
    assert (found.builds, found.reproduced) == (("bubblewrap", "docker varied"), True)


def test_a_rebuild_that_differs_does_not_and_is_said(made: ProjectBuilder) -> None:
    first = made.record("runc")
    made.rebuilt(first)
    made.rebuilt(first, sandbox="bubblewrap", content="other")
    found = row(made)
    assert (found.differing, found.reproduced) == (1, False)
    assert "1 DIFFER" in as_text([found])


def test_accepted_digests_count_as_built_elsewhere(made: ProjectBuilder) -> None:
    found = made.record("runc")
    made.accepted(found)
    made.project().store.drop_ref("record", found.key.removeprefix("sha256:"))
    there = row(made)
    assert (there.accepted, there.built_here, there.built, there.reproduced) == ("current", False, True, True)
    assert there.outputs == found.digests()
    assert "elsewhere" in as_text([there])


def test_an_entry_of_another_key_is_stale(made: ProjectBuilder) -> None:
    made.accepted(made.record("runc"), key="sha256:" + hexadecimal("other"))
    made.project().store.drop_ref("record", made.project().component("runc").key.removeprefix("sha256:"))
    found = row(made)
    assert (found.accepted, found.built, found.outputs) == ("stale", False, {})
    assert "of another key" in as_text([found])


def test_a_build_here_that_differs_from_the_accepted_one(made: ProjectBuilder) -> None:
    made.accepted(made.record("runc"))
    made.record("runc", content="other")
    found = row(made)
    assert (found.differing, found.reproduced) == (1, False)


def test_what_is_not_locked_says_why(made: ProjectBuilder) -> None:
    made.component("runc", "2.0.0")
    found = row(made)
    assert not found.locked
    assert "'2.0.0' here and '1.0.0' in lockfile.toml" in found.reason
    assert found.reason in as_text([found])


def test_every_platform_has_its_row(tmp_path: Path) -> None:
    made = ProjectBuilder(tmp_path).component("etcd", platforms=["linux/amd64", "linux/arm64"]).lock()
    made.record("etcd", platform="linux/arm64")
    assert [(each.platform, each.built) for each in rows(made.project())] == [("linux/amd64", False), ("linux/arm64", True)]


def test_the_recipes_own_word_on_its_state_is_shown(tmp_path: Path) -> None:
    made = ProjectBuilder(tmp_path).component("k3s", status="not yet run here").lock()
    assert "k3s: not yet run here" in as_text(rows(made.project()))


def test_an_unconfirmed_module_is_marked(made: ProjectBuilder) -> None:
    assert row(made).source == "example.org/runc v1.0.0"
    assert row(made.unconfirmed().lock()).source == "example.org/runc v1.0.0 (unconfirmed)"


def test_json_has_what_is_worked_out(made: ProjectBuilder) -> None:
    made.rebuilt(made.record("runc"))
    (data,) = as_data(rows(made.project()))
    assert (data["built"], data["reproduced"], data["builds"]) == (True, True, ("bubblewrap", "docker varied"))


# -- README -------------------------------------------------------------------------------------------------------


def test_the_readme_table_is_the_same_whatever_the_store_holds(made: ProjectBuilder) -> None:
    made.accepted(made.record("runc"))
    made.rebuilt(made.record("runc"), sandbox="bubblewrap", content="other")
    elsewhere = Project(made.root, {"KUBEWRIGHT_STORE": str(made.root / "nowhere"), "KUBEWRIGHT_PLATFORM": "linux/arm64"})
    assert readme_table(made.project()) == readme_table(elsewhere)
    assert not (made.root / "nowhere").exists()


def test_the_readme_table(made: ProjectBuilder) -> None:
    header = "| component | version | platform | source | built from it | builds that agree | patches |"
    start = "| runc | 1.0.0 | linux/amd64 | `example.org/runc v1.0.0` |"
    found = made.record("runc")
    assert readme_table(made.project()).splitlines()[0] == header
    assert readme_table(made.project()).splitlines()[2] == f"{start} not yet built from this lock | none | 1 |"
    made.accepted(found)
    assert readme_table(made.project()).splitlines()[2] == f"{start} yes | bubblewrap, docker varied | 1 |"
    made.accepted(found, key="sha256:" + hexadecimal("other"))
    assert readme_table(made.project()).splitlines()[2] == f"{start} not yet built from this lock | none | 1 |"


def test_a_block_is_replaced_and_nothing_else() -> None:
    text = "a\n<!-- status:begin -->\nold\n<!-- status:end -->\nb\n"
    new = update_block(text, "status", "| new |\n")
    assert new == "a\n<!-- status:begin -->\n| new |\n<!-- status:end -->\nb\n"
    assert update_block(new, "status", "| new |") == new


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<!-- status:begin -->",
        "<!-- status:end --><!-- status:begin -->",
        "<!-- status:begin --><!-- status:end --><!-- status:begin --><!-- status:end -->",
    ],
)
def test_a_block_that_is_not_there_or_there_twice_is_an_error(text: str) -> None:
    with pytest.raises(UsageError):
        update_block(text, "status", "x")
