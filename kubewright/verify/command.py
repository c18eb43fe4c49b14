"""``verify`` as a command: ``kubewright verify`` and the stand-alone kubewright-verify.pyz are both this."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kubewright.errors import KubewrightError, UsageError, one_line, plain
from kubewright.verify import bundle_report
from kubewright.verify.bundle_check import BundleOptions, is_bundle_path, verify_bundle
from kubewright.verify.check import Options, verify_set
from kubewright.verify.layout import IMAGES, locate_set
from kubewright.verify.policy import load_policy
from kubewright.verify.report import as_data, as_text, refusal, to_json


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the command line says."""

    path: Path
    policy: Path
    attestations: Path | None = None
    release: Path | None = None
    copy_to: Path | None = None
    json: bool = False
    explain: bool = False


def verify(arguments: Arguments) -> str:
    """What to print on success. A refusal is a VerifyError; with ``json`` it is also printed as JSON."""
    try:
        _refuse_unusable(arguments.path)
        if is_bundle_path(arguments.path) and not _is_image_of_set(arguments):
            return _verify_bundle(arguments)
        options = Options(arguments.attestations, arguments.release, arguments.copy_to)
        report = verify_set(arguments.path, load_policy(arguments.policy), arguments.policy, options)
    except KubewrightError as error:
        if arguments.json:
            sys.stdout.write(to_json(refusal(error)))
        raise
    return to_json(as_data(report)) if arguments.json else as_text(report, explain=arguments.explain)


def _refuse_unusable(path: Path) -> None:
    """UsageError for a name that no file can have, or that may not be looked at."""
    try:
        path.lstat()
    except FileNotFoundError:
        return  # said better by who knows what was wanted
    except (OSError, ValueError) as reason:
        why = reason.strerror if isinstance(reason, OSError) else str(reason)
        raise UsageError(f"{path}: {why}", remedy="name a set, a component's folder, a file, or a bundle") from None


def _is_image_of_set(arguments: Arguments) -> bool:
    """Whether a layout is that of an image and no bundle: it lies among a set's images, or evidence is named for it."""
    path = arguments.path.resolve()
    root = locate_set(path)
    if root is None:
        return path.is_dir() and bool(arguments.attestations and arguments.release)
    return path.is_dir() and path.relative_to(root).parts[:1] == (IMAGES,)


def _verify_bundle(arguments: Arguments) -> str:
    if arguments.attestations or arguments.release:
        raise UsageError(
            f"{arguments.path} is a bundle, which has its statements and its release in it",
            remedy="leave --attestations and --release out",
        )
    options = BundleOptions(arguments.copy_to)
    with verify_bundle(arguments.path, load_policy(arguments.policy), arguments.policy, options) as bundle:
        if arguments.json:
            return to_json(bundle_report.as_data(bundle))
        return bundle_report.as_text(bundle, explain=arguments.explain)


def main(words: Sequence[str] | None = None) -> int:
    """The stand-alone command; returns the exit code (docs/errors.md)."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    found = _parser().parse_args(words)
    if found.fingerprint:
        sys.stdout.write(_fingerprint())
        return 0
    if found.path is None or found.policy is None:
        _parser().error("PATH and --policy are needed")
    try:
        sys.stdout.write(
            verify(
                Arguments(found.path, found.policy, found.attestations, found.release, found.copy_to, found.json, found.explain)
            )
        )
    except KubewrightError as error:
        _show(error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubewright-verify",
        description="Verify a bundle, a signed set, a component of it or one file, under a policy of your own. No network, "
        "no writing before everything has passed.",
    )
    parser.add_argument(
        "path", nargs="?", type=Path, metavar="PATH", help="a set, a component's folder, an image, a file, or a bundle"
    )
    parser.add_argument("--policy", type=Path, metavar="FILE", help="what you trust; never a file of the set")
    parser.add_argument("--explain", action="store_true", help="say which rule was satisfied by which statement")
    parser.add_argument("--json", action="store_true", help="print JSON for programs, for refusals as well")
    parser.add_argument("--copy-to", type=Path, metavar="DIR", help="write the very bytes that were verified to a new folder")
    parser.add_argument("--attestations", type=Path, metavar="DIR", help="where the statements are, if not above PATH")
    parser.add_argument("--release", type=Path, metavar="DIR", help="where the signed release is, if not above PATH")
    parser.add_argument(
        "--fingerprint", action="store_true", help="print the SHA-256 of this very file, to compare with what you were told"
    )
    return parser


def _fingerprint() -> str:
    from kubewright.files.digest import sha256_file, sha256_hex
    from kubewright.verify.keys import groups_of_four

    digest = sha256_file(Path(sys.argv[0]).resolve())
    return f"{sha256_hex(digest)}\n{groups_of_four(digest)}\n"


def _show(error: KubewrightError) -> None:
    for line in error.details.splitlines():
        print(f"    {plain(line)}", file=sys.stderr)
    print(one_line(f"error: {error.message}"), file=sys.stderr)
    if error.remedy:
        print(one_line(f"  what to do: {error.remedy}"), file=sys.stderr)
