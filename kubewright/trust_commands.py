"""``kubewright key``, ``policy`` and ``keyless``: whom to trust, and signing with an identity. Thin, like ``cli``."""

from __future__ import annotations

from pathlib import Path

import click

from kubewright.command_line import project_of
from kubewright.errors import UsageError


@click.group()
def key() -> None:
    """Make and show signing keys (docs/trust.md)."""


@key.command("new")
@click.option("--out", "path", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Such as site.key.")
@click.option("--no-passphrase", is_flag=True, help="Leave the private key unencrypted: whoever gets the file can sign.")
def new_key(path: Path, no_passphrase: bool) -> None:
    """Make an ECDSA P-256 key: FILE (private, mode 0600) and FILE's name with .pub (public).

    The passphrase is typed twice, or taken from KUBEWRIGHT_KEY_PASSPHRASE. Nothing is ever overwritten.

    \b
    kubewright key new --out site.key
    """
    from kubewright.trust import keys
    from kubewright.trust.unlock import ask_twice

    keys.check_free(path)  # before somebody types a passphrase twice for nothing
    public = keys.create(path, None if no_passphrase else ask_twice(path))
    click.echo(f"{path} written: private, keep it; {'not encrypted' if no_passphrase else 'encrypted'}")
    click.echo(f"{keys.public_path(path)} written: public, give it to whoever verifies")
    _show_fingerprint(public.fingerprint)
    click.echo("Write the fingerprint down. Who gets the public key compares it with what you say, over another channel.")


@key.command("show")
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE")
def show_key(path: Path) -> None:
    """A key's fingerprint and public part. FILE: site.pub, or site.key (asks for its passphrase).

    \b
    kubewright key show site.pub
    """
    from kubewright.trust import keys
    from kubewright.trust.unlock import ask

    private = keys.is_private(path)
    public = keys.load(path, lambda: ask(f"Passphrase of {path}: ")).public if private else keys.load_public(path)
    click.echo(f"{path}: {'private' if private else 'public'} key, ECDSA P-256")
    _show_fingerprint(public.fingerprint)
    click.echo(public.pem, nl=False)


def _show_fingerprint(fingerprint: str) -> None:
    from kubewright.trust.keys import grouped

    click.echo(f"fingerprint  {fingerprint}")
    for line in grouped(fingerprint).splitlines():
        click.echo(f"             {line}")


@click.group()
def policy() -> None:
    """Write and check policies (docs/policy.md)."""


@policy.command("new")
@click.option("--key", "keys", multiple=True, required=True, metavar="OPERATOR=FILE", help="A public key; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Where to write it; default: standard output.")
@click.pass_context
def new_policy(context: click.Context, keys: tuple[str, ...], out: Path | None) -> None:
    """A commented policy that trusts given keys and the current lock.

    \b
    kubewright policy new --key site=site.pub --key second=second.pub --out site.toml
    """
    from kubewright.files.digest import sha256_file
    from kubewright.trust.keys import load_public
    from kubewright.verify.newpolicy import new_policy as text_of
    from kubewright.verify.policy import parse_policy

    pairs = [each.partition("=") for each in keys]
    if not all(file for _, _, file in pairs):
        raise UsageError(f"--key {keys[0]} is not OPERATOR=FILE", remedy="such as --key site=site.pub")
    lock = project_of(context).root / "lockfile.toml"
    text = text_of([(name, load_public(Path(file))) for name, _, file in pairs], sha256_file(lock))
    parse_policy(text, str(out or "policy"))  # what is wrong with names and keys is said before anything is written
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        with out.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise UsageError(f"{out} exists", remedy="choose another name, or edit the one that is there") from None
    click.echo(f"{out} written; read it, and keep it where only you can write")


@policy.command("check")
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE")
def check_policy(path: Path) -> None:
    """Say everything that is wrong with a policy: file and line, key, remedy."""
    from kubewright.verify.policy import load_policy
    from kubewright.views.text import count

    found = load_policy(path)
    operators = sorted({each.operator for each in found.keys})
    rebuilds = f"{found.rebuilds.threshold} of {len(found.rebuilds.operators)} have to agree"
    click.echo(f"{path}: nothing to say; {count(len(found.keys), 'key')} of {', '.join(operators)}, {rebuilds}")


@click.group()
def keyless() -> None:
    """Sign and verify with an identity (OIDC) instead of a key, through a Sigstore instance (docs/trust.md)."""


_trust = click.option(
    "--trust", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The instance's client trust configuration."
)


@keyless.command("sign")
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE")
@_trust
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Where the bundle goes.")
@click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE", help="Default: SIGSTORE_ID_TOKEN.")
def sign_keyless(path: Path, trust: Path, out: Path, token_file: Path | None) -> None:
    """Sign the statement in FILE (one of our bundles, or JSON) as the identity in an OIDC token.

    \b
    kubewright keyless sign provenance.0123456789abcdef.sigstore.json --trust site-sigstore.json --out identity.sigstore.json
    """
    from kubewright.store import replace_file
    from kubewright.trust import keyless as signing

    config, token = signing.load_trust(trust), signing.token(token_file)
    replace_file(out, signing.sign_statement(signing.statement_of(path), config, token))
    click.echo(f"{out} written")


@keyless.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("artifact", type=click.Path(path_type=Path), required=False)
@_trust
@click.option("--identity", required=True, metavar="NAME", help="Who has to have signed: an e-mail address or a URI.")
@click.option("--issuer", required=True, metavar="URL", help="Who has to have vouched for that identity.")
def verify_keyless(bundle: Path, artifact: Path | None, trust: Path, identity: str, issuer: str) -> None:
    """Verify a keyless BUNDLE, and that it speaks of ARTIFACT. No network.

    \b
    kubewright keyless verify identity.sigstore.json runc --trust site-sigstore.json \\
        --identity ci@example.org --issuer https://issuer.example.org
    """
    from kubewright.trust import keyless as signing

    said = signing.verify_file(bundle, artifact, signing.load_trust(trust), identity, issuer)
    for name, digest in said.digests().items():
        click.echo(f"{digest}  {name}")
    click.echo(f"verified: {said.predicate_type}, signed by {identity}" + (f", speaks of {artifact}" if artifact else ""))
