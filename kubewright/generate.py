"""Write what is generated: schemas/, the reference in docs/recipes.md, the table in README.md, docs/errors.md.

Everything here is a function of committed files, so that a test can hold each of them current on any machine.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from kubewright.errors import EXIT_CODES
from kubewright.fetch import mirrorindex
from kubewright.install import errors as _install_errors  # noqa: F401 - its classes register themselves
from kubewright.install.settings import Cluster
from kubewright.lab import errors as _lab_errors  # noqa: F401 - as above
from kubewright.manifests import errors as _manifest_errors  # noqa: F401 - its classes register themselves
from kubewright.mirror import errors as _mirror_errors  # noqa: F401 - as below
from kubewright.mirror import statement as mirror_statement
from kubewright.model import reference, schema_json
from kubewright.oci import archive_errors as _archive_errors  # noqa: F401
from kubewright.oci import errors as _oci_errors  # noqa: F401
from kubewright.project import Project
from kubewright.sbom import errors as _sbom_errors  # noqa: F401 - its classes register themselves
from kubewright.store import replace_file
from kubewright.verify import bundle_errors as _bundle_errors  # noqa: F401
from kubewright.verify import schemas
from kubewright.views.status import readme_table, update_block


def generated(project: Project) -> dict[Path, str]:
    """Path -> what the file has to say."""
    root = project.root
    files = {root / "schemas" / f"{name}.json": schema_json.schema_text(name) for name in schema_json.DOCUMENTS}
    files |= {root / "schemas" / f"{name}.json": schema_json.as_text(schemas.schema(name)) for name in schemas.DOCUMENTS}
    ours = {**mirrorindex.DOCUMENTS, **mirror_statement.DOCUMENTS, "cluster": Cluster}
    files |= {
        root / "schemas" / f"{name}.json": schema_json.as_text(schema_json.schema_of(cls, name)) for name, cls in ours.items()
    }
    files[root / "docs" / "errors.md"] = errors_page()
    security = root / "docs" / "security.md"
    files[security] = _page(security, lambda text: update_block(text, "tampering", tampering_table(root)))
    files[root / reference.PAGE] = _page(root / reference.PAGE, reference.with_reference)
    files[root / "README.md"] = _page(root / "README.md", lambda text: update_block(text, "status", readme_table(project)))
    return files


def generate(project: Project) -> list[Path]:
    """Bring every generated file up to date; returns those that changed."""
    changed = [path for path, text in generated(project).items() if not path.is_file() or path.read_text("utf-8") != text]
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, generated(project)[path].encode())
    return changed


def _page(path: Path, update: Callable[[str], str]) -> str:
    return update(path.read_text("utf-8"))


def tampering_table(root: Path) -> str:
    """docs/security.md: what the tamper suite does, and the error that it expects."""
    tests = root / "tests" / "verify"
    sys.path.insert(0, str(tests))
    try:
        cases = importlib.import_module("tamper_cases").CASES
    finally:
        sys.path.remove(str(tests))
    rows = [f"| {case.name} | {case.what} | {case.error.exit_code} {case.error.title} |" for case in cases]
    return "\n".join(["| tampering | what is done | refused with |", "|---|---|---|", *rows])


def errors_page() -> str:
    """docs/errors.md: every failure that a user can meet, with its exit code."""
    rows = [
        f"| {code} | {cls.title} | {' '.join((cls.__doc__ or '').split())} |"
        for code, cls in sorted(EXIT_CODES.items())
        if code != 1
    ]
    return "\n".join(
        [
            "# Errors and exit codes",
            "",
            "Generated from the error classes by `./doit generate`. `./doit` and `kubewright` end with the code of the",
            "first failure; 0 is success, 1 and 3 a failure without a class of its own (a bug, with a traceback; or a name",
            "that doit does not know). The message names the value, the file and key, and what to do.",
            "",
            "| exit code | failure | when |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )
