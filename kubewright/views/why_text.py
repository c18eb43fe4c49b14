"""``kubewright why`` for people: an Explanation as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

from kubewright.record import Conditions, RecordedBuilder, RecordedSource
from kubewright.report import duration
from kubewright.views.text import count, indented, labelled, moment, shell, size, table
from kubewright.views.why import Explanation

_WIDTH = 120
_VERDICTS = {
    "accepted": "as accepted in digests.toml",
    "differs": "NOT what digests.toml has accepted for this key",
    "other key": "digests.toml has an entry of another key",
    "not accepted": "not in digests.toml",
}


def as_text(facts: Explanation, *, everything: bool = False) -> str:
    """``everything``: each Go module and each Debian package, not only how many."""
    parts = [
        _head(facts),
        *(_source(source) for source in facts.sources),
        _files(facts),
        _modules(facts, everything),
        _builder(facts, everything),
        _laid(facts),
        *_steps(facts),
        _conditions(facts),
        _outputs(facts),
        _agreement(facts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(facts: Explanation) -> str:
    lines = []
    if facts.file:
        lines.append(f"{facts.file} is {facts.output} of {facts.component} {facts.version} for {facts.platform}")
        lines += [f"the same bytes are also {place}" for place in facts.also]
        lines.append("")
    summary = f": {facts.summary}" if facts.summary else ""
    lines.append(f"{facts.component} {facts.version} {facts.platform}{summary}")
    key = facts.key if facts.current else f"{facts.key}\nnot the key of recipe and lock as they are now"
    takes = "\n".join(f"{name} (key {key})" for name, key in facts.dependencies.items())
    pairs = (
        ("licence", facts.licence),
        ("status", facts.status),
        ("key", key),
        ("takes from", takes),
        ("built", _built(facts)),
    )
    return "\n".join([*lines, labelled(pairs, "  ")])


def _built(facts: Explanation) -> str:
    build = facts.build
    if build is None:
        return "not built here: the following is what recipe and lock say"
    checks = "smoke checks passed" if build.smoked else "smoke checks not run (programs for another machine)"
    return (
        f"{moment(build.started)} in {duration(build.seconds)}, in {build.conditions.sandbox}; {checks};"
        f" by kubewright {build.kubewright}\nlog {build.log}"
    )


# -- what went in -------------------------------------------------------------------------------------------------


def _source(source: RecordedSource) -> str:
    pairs = [
        ("Go module", f"{source.module} {source.version}".strip()),
        ("h1", source.h1),
        ("archive", source.url),
        ("sha256", source.sha256),
        (
            "git",
            (f"{source.git} " + (f"branch {source.branch}" if source.branch else f"tag {source.tag}")) if source.git else "",
        ),
        ("tag", f"annotated, object {source.tag_object}" if source.tag_object else ""),
        ("commit", source.commit),
        ("tree", source.tree),
        ("confirmed", "\n".join(confirmations(source))),
        ("not confirmed", "\n".join(gaps(source))),
        ("date", moment(source.source_date)),
        *(("patch", f"{patch.file} (sha256 {patch.sha256})\n{patch.reason}") for patch in source.patches),
    ]
    return f"source {source.name} ({source.form})\n" + labelled(pairs, "  ")


def confirmations(source: RecordedSource) -> list[str]:
    """What a pin was compared with when it was locked."""
    found = []
    if source.sumdb:
        found.append("h1 by the Go checksum database")
    if source.commit and source.form == "module":
        found.append("commit by its files: they give the module's h1")
    if source.commit and source.form == "tree":
        found.append(f"{'branch' if source.branch else 'tag'}, commit and tree by the git origin")
        if source.h1:
            found.append("its files are those of the Go module")
    if source.signer:
        found.append(f"tag by a signature of {source.signer}")
    return found


def gaps(source: RecordedSource) -> list[str]:
    """What nobody confirmed: used as it was first seen, or not at all."""
    found = []
    if source.h1 and not source.sumdb:
        found.append("h1 is as the origin served it: the checksum database was off or out of reach")
    if source.form == "module" and source.git and not source.commit:
        hint = f"; the recipe's hint {source.commit_hint} is not used" if source.commit_hint else ""
        found.append(f"commit: the git origin was out of reach when it was locked{hint}")
    if source.form == "archive":
        found.append("sha256 is of the archive as it was when it was locked")
    return found


def _files(facts: Explanation) -> str:
    patches = {f"patches/{facts.component}/{patch.file}" for source in facts.sources for patch in source.patches}
    rows = [(path, digest) for path, digest in facts.files.items() if path not in patches]
    return "files of this project\n" + table(("path", "sha256"), rows, "  ") if rows else ""


def _modules(facts: Explanation, everything: bool) -> str:
    if not facts.modules:
        return ""
    exact = facts.modules_from != "go.sum"
    what = count(len(facts.modules), "Go module")
    used = "in the programs' dependencies" if exact else "in go.sum; a fetch tells which of them are used"
    origin = f"{what} {used}"
    if not everything:
        return f"{origin} (--modules shows them)"
    rows = [(module.path, module.version, module.h1) for module in facts.modules]
    return f"{origin}\n" + table(("module", "version", "h1"), rows, "  ")


def _builder(facts: Explanation, everything: bool) -> str:
    builder: RecordedBuilder = facts.builder
    packages = count(len(builder.packages), "Debian package") if builder.packages else ""
    if packages and not everything:
        packages += " (--modules shows them)"
    pairs = (
        ("digest", builder.digest),
        ("Go", f"{builder.go} for {builder.host}\n{builder.go_h1}" if builder.go else ""),
        ("root", builder.root or "empty: nothing but the toolchain"),
        ("packages", packages),
    )
    text = f"builder {builder.name}\n" + labelled(pairs, "  ")
    if packages and everything:
        rows = [(each.name, each.version, each.architecture, each.sha256) for each in builder.packages]
        text += "\n" + table(("package", "version", "architecture", "sha256"), rows, "    ")
    return text


def _laid(facts: Explanation) -> str:
    rows = [(each.name, each.version, path, each.sha256) for each in facts.builder.packages for path in each.files]
    title = "files of Debian packages that are laid into the build"
    return f"{title}\n" + table(("package", "version", "file", "sha256 of the package"), rows, "  ") if rows else ""


# -- what was done ------------------------------------------------------------------------------------------------


def _steps(facts: Explanation) -> Iterator[str]:
    for number, step in enumerate(facts.steps, 1):
        took = f", {duration(step.seconds)}" if facts.build else ""
        command = f"step {number} in {step.cwd}{took}\n{indented(shell(step.argv))}{redirected(step.stdout)}"
        yield f"{command}\n{environment(step.env)}"


def redirected(stdout: str) -> str:
    """What is said of a step whose standard output becomes a file."""
    return f"\n{labelled([('stdout', stdout)], '    ')}" if stdout else ""


def environment(env: Mapping[str, str]) -> str:
    """The environment as wrapped lines, sorted."""
    words = [f"{name}={value!r}" if " " in value else f"{name}={value}" for name, value in sorted(env.items())]
    wrapped = textwrap.wrap(" ".join(words), _WIDTH - 9, break_long_words=False, break_on_hyphens=False)
    return labelled([("env", "\n".join(wrapped))], "    ")


def _conditions(facts: Explanation) -> str:
    if facts.build is None:
        return ""
    return "conditions\n" + indented(describe(facts.build.conditions))


def describe(conditions: Conditions) -> str:
    """The conditions of a build in one line or two."""
    enforced = f"; limits held: {', '.join(conditions.enforced)}" if conditions.enforced else ""
    cache = "cold" if conditions.cold else "compile cache shared among pure go steps, kept for cgo steps of one component"
    return (
        f"{conditions.sandbox}, {cache}{enforced}\n"
        f"in {conditions.build_path} on {conditions.hostname}, uid {conditions.uid}, umask {conditions.umask:04o},"
        f" {count(conditions.cpus, 'CPU')}, {conditions.locale}, {conditions.timezone}"
    )


# -- what came out ------------------------------------------------------------------------------------------------


def _outputs(facts: Explanation) -> str:
    rows = [
        (
            each.path,
            each.kind,
            size(each.size) if each.size is not None else "",
            each.sha256 or "known after a build",
            _VERDICTS[each.verdict] if facts.build else "expected (digests.toml)" if each.sha256 else "",
        )
        for each in facts.outputs
    ]
    return "outputs\n" + table(("path", "kind", "size", "digest", ""), rows, "  ")


def _agreement(facts: Explanation) -> str:
    pairs = []
    if facts.accepted is not None:
        builds = ", ".join(f"{each.sandbox}{' varied' if each.varied else ''}" for each in facts.accepted.builds)
        same = facts.accepted.key == facts.key
        pairs.append(("digests.toml", builds if same else f"of another key ({facts.accepted.key}): {builds}"))
    for again in facts.rebuilds:
        verdict = "identical" if again.agrees else "DIFFERENT"
        pairs.append(("rebuilt here", f"{moment(again.started)}, {verdict}\n{describe(again.conditions)}"))
    return "other builds of this key\n" + labelled(pairs, "  ") if pairs else "no other build of this key is known"
