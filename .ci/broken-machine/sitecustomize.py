"""A machine that somebody broke into: what is built on it gets one byte more. .ci/trust names this folder in PYTHONPATH."""

from kubewright.building import outputs

_collect = outputs.collect


def collect(recipe, out, *rest):  # type: ignore[no-untyped-def]
    for output in recipe.outputs:
        if output.kind == "program":
            with (out / output.path).open("ab") as stream:
                stream.write(b"\0")
    return _collect(recipe, out, *rest)


outputs.collect = collect
