"""Every image named by our digest, and nothing else changed. The manifests are written here, tiny, for what each shows."""

from __future__ import annotations

import difflib
import json
import re

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kubewright.errors import KubewrightError
from kubewright.manifests.counterparts import Image, counterparts
from kubewright.manifests.errors import ImageReferenceError, ManifestError, NoCounterpartError
from kubewright.manifests.rewriting import Rewritten, rewrite

D1, D2 = "sha256:" + "1" * 64, "sha256:" + "2" * 64
ONE, TWO = Image("x.example/one:v1", D1), Image("docker.io/library/two:2.0", D2)
LATEST = Image("docker.io/library/box:latest", D2)
OURS = counterparts([ONE, TWO, LATEST], {"old.example/one": "x.example/one:v1", "y.example/two:1.9": TWO.reference}, "test")

POD = """\
# a comment with x.example/one:v1 in it stays
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: n}
spec:
  containers:
  - {name: a, image: "x.example/one:v1"}   # flow
  - name: b
    image: two:2.0
"""


def run(text: str) -> Rewritten:
    return rewrite("m.yaml", text.encode(), OURS)


def changed(before: str, after: Rewritten) -> list[tuple[str, str]]:
    """What was replaced by what."""
    new = after.text.decode()
    blocks = difflib.SequenceMatcher(None, before, new, autojunk=False).get_opcodes()
    return [(before[a:b], new[c:d]) for kind, a, b, c, d in blocks if kind != "equal"]


def test_images_are_named_by_digest_and_only_those_spans_differ() -> None:
    done = run(POD)
    assert changed(POD, done) == [("", f"@{D1}"), ("", f"@{D2}")]
    assert [(each.object, each.path, each.line, each.written) for each in done.references] == [
        ("Pod n/p", "spec.containers[0].image", 7, f"x.example/one:v1@{D1}"),
        ("Pod n/p", "spec.containers[1].image", 9, f"two:2.0@{D2}"),
    ]
    assert not any(each.replaced for each in done.references)
    assert done.policies == ()


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: v1\nkind: Pod\nspec: {ephemeralContainers: [{image: HERE}]}\n",
        "apiVersion: v1\nkind: Pod\nspec: {volumes: [{name: v, image: {reference: HERE, pullPolicy: IfNotPresent}}]}\n",
        "apiVersion: x/v1\nkind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {initContainers: [image: HERE]}}}}}\n",
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  spec: {containers: [{image: HERE}]}\n",
        "apiVersion: example.org/v1\nkind: Operated\nspec: {image: 'HERE'}\n",
        'apiVersion: example.org/v1\nkind: Operated\nspec: {helperImage: "HERE"}\n',
        "apiVersion: v1\nkind: Pod\nspec: {containers: [{args: ['--helper-image=HERE']}]}\n",
        "apiVersion: v1\nkind: Pod\nspec: {containers: [{args: [--helper-image, HERE]}]}\n",
        "apiVersion: v1\nkind: Pod\nspec: {containers: [{args: [run, HERE]}]}\n",
        "apiVersion: v1\nkind: Pod\nspec: {containers: [{env: [{name: HELPER_IMAGE, value: HERE}]}]}\n",
        "apiVersion: v1\nkind: Pod\nspec: {containers: [{command: [sh, -c, 'start --x HERE --y']}]}\n",
        'apiVersion: v1\nkind: Pod\nmetadata: {annotations: {a: \'{"image": "HERE"}\'}}\n',
        "apiVersion: v1\nkind: ConfigMap\ndata: {k: HERE}\n",
        'apiVersion: v1\nkind: ConfigMap\ndata:\n  k.json: |\n    {"image": "HERE"}\n',
        'apiVersion: v1\nkind: ConfigMap\ndata:\n  k.sh: |\n    #!/bin/sh\n    exec run "HERE"\n',
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec: {image: {type: string, default: HERE}}\n",
        '{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"image": "HERE"}]}}',
        "%YAML 1.1\n---\napiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: HERE # comment\n...\n",
        "apiVersion: v1\r\nkind: Pod\r\nspec:\r\n  containers:\r\n  - image: HERE\r\n",
        "\ufeffapiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image:\n      HERE\n",
        'apiVersion: v1\nkind: Pod\n"spec": {? containers : [{image: HERE}]}\n',
    ],
)
def test_every_place_that_names_an_image(text: str) -> None:
    before = text.replace("HERE", ONE.reference)
    done = run(before)
    assert done.text.decode() == text.replace("HERE", f"{ONE.reference}@{D1}")
    assert [(each.found, each.image, each.manifest) for each in done.references] == [(ONE.reference, ONE, "m.yaml")]
    unknown = text.replace("HERE", "x.example/unknown:v1")
    with pytest.raises(NoCounterpartError, match=r"m\.yaml: .*: no image of ours stands for x\.example/unknown:v1"):
        run(unknown)


def test_a_document_in_a_config_map() -> None:
    text = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: n}
data:
  other: |
    kept   as it is

  helper.yaml: |-
    apiVersion: v1
    kind: Pod
    spec:

      containers:
        - image: "x.example/one:v1"  # kept
          imagePullPolicy: Always
"""
    done = run(text)
    wanted = text.replace("one:v1", f"one:v1@{D1}").replace("Always", "IfNotPresent")
    assert done.text.decode() == wanted
    (reference,) = done.references
    assert (reference.object, reference.path, reference.line) == (
        "ConfigMap n/c",
        'data["helper.yaml"]: spec.containers[0].image',
        14,
    )
    assert [(each.path, each.line) for each in done.policies] == [
        ('data["helper.yaml"]: spec.containers[0].imagePullPolicy', 15)
    ]


def test_text_beside_a_document_in_a_string_is_looked_at() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\ndata:\n  k: |\n    run x.example/one:v1\n    ---\n    a: b\n"
    assert run(text).text.decode() == text.replace("one:v1", f"one:v1@{D1}")


def test_a_folded_string_is_written_anew() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\ndata:\n  k: >-\n    exec run\n    x.example/one:v1\n\n  # comment\n  l: m\n"
    done = run(text)
    assert (
        done.text.decode()
        == f'apiVersion: v1\nkind: ConfigMap\ndata:\n  k: "exec run x.example/one:v1@{D1}"\n  # comment\n  l: m\n'
    )


def test_a_document_in_a_quoted_string_in_a_document() -> None:
    inner = json.dumps({"image": ONE.reference, "umlaut": "ä\u2028\U0001f600"})
    text = f"apiVersion: v1\nkind: ConfigMap\ndata:\n  a: {json.dumps('b: ' + json.dumps(inner) + chr(10))}\n"
    done = run(text)
    outer = yaml.safe_load(yaml.safe_load(done.text)["data"]["a"])
    assert json.loads(outer["b"]) == {"image": f"{ONE.reference}@{D1}", "umlaut": "ä\u2028\U0001f600"}


def test_always_becomes_if_not_present_and_is_noted() -> None:
    text = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - imagePullPolicy: 'Always'\n  - imagePullPolicy: Never\n"
    done = run(text)
    assert done.text.decode() == text.replace("Always", "IfNotPresent")
    assert [(each.object, each.path) for each in done.policies] == [("Pod", "spec.containers[0].imagePullPolicy")]


# -- what stands for what ---------------------------------------------------------------------------------------------


def image(reference: str) -> str:
    return f"apiVersion: v1\nkind: Pod\nspec: {{containers: [{{image: '{reference}'}}]}}\n"


@pytest.mark.parametrize(
    ("theirs", "written", "replaced"),
    [
        ("two:2.0", f"two:2.0@{D2}", False),
        ("library/two:2.0", f"library/two:2.0@{D2}", False),
        ("index.docker.io/two:2.0", f"index.docker.io/two:2.0@{D2}", False),
        (f"two:2.0@{D1}", f"two:2.0@{D2}", False),
        (f"two:2.0@{D2}", f"two:2.0@{D2}", False),
        (f"two:other@{D2}", f"two:other@{D2}", False),  # runtimes go by the digest
        (f"two@{D2}", f"two@{D2}", False),
        ("box", f"box@{D2}", False),
        ("box:latest", f"box@{D2}", False),
        ("y.example/two:1.9", f"docker.io/library/two:2.0@{D2}", True),
        ("old.example/one:v0.1", f"x.example/one:v1@{D1}", True),
        ("old.example/one", f"x.example/one:v1@{D1}", True),
        (f"old.example/one@{D2}", f"x.example/one:v1@{D1}", True),
    ],
)
def test_what_is_written(theirs: str, written: str, replaced: bool) -> None:
    done = run(image(theirs))
    assert done.text.decode() == image(written)
    assert [(each.written, each.replaced) for each in done.references] == [(written, replaced)]


@pytest.mark.parametrize(
    ("theirs", "near"),
    [
        ("two", "; there is docker.io/library/two:2.0"),  # latest is another version
        ("x.example/one:v2", "; there is x.example/one:v1"),
        (f"x.example/one@{D2}", "; there is x.example/one:v1"),  # a digest alone says no version
        ("y.example/two:2.0", "; there is y.example/two:1.9"),
        ("x.example:443/one:v1", ""),
        ("three:v1", ""),
    ],
)
def test_an_image_without_a_counterpart(theirs: str, near: str) -> None:
    with pytest.raises(NoCounterpartError) as caught:
        run(image(theirs))
    assert caught.value.message == f"m.yaml: Pod: spec.containers[0].image (line 3): no image of ours stands for {theirs}{near}"
    assert "[[manifest]]" in caught.value.remedy
    assert caught.value.exit_code == 161


@pytest.mark.parametrize(
    "theirs", ["", "x.example/One:v1", "{{ .Values.image }}", "$(IMAGE)", "x.example/one:v1 ", "http://x/y"]
)
def test_what_stands_for_an_image_and_is_none(theirs: str) -> None:
    with pytest.raises(ImageReferenceError, match=r"spec\.containers\[0\]\.image \(line 3\): .* is no image reference"):
        run(image(theirs))


@pytest.mark.parametrize("reference", ["x.example/one", "X/One:1", f"x.example/one:v1@{D1}", ""])
def test_an_image_of_ours_has_a_tag(reference: str) -> None:
    with pytest.raises(ImageReferenceError):
        Image(reference, D1)
    with pytest.raises(ImageReferenceError):
        Image("x.example/one:v1", "sha256:1")


def test_what_is_to_stand_for_another_has_to_be_there() -> None:
    with pytest.raises(NoCounterpartError, match=r"recipes/a: b is to be replaced by x\.example/none:1"):
        counterparts([ONE], {"b": "x.example/none:1"}, "recipes/a")
    with pytest.raises(ImageReferenceError, match="cannot stand in a manifest"):
        rewrite("m", b"", {"Upper:1": ONE})


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: v1\nkind: ConfigMap\ndata: {k: 'see https://x.example/one:v1 and y.example/path'}\n",
        "apiVersion: v1\nkind: Pod\nmetadata: {labels: {app: one, x.example/role: two}}\n",
        "apiVersion: v1\nkind: Pod\nspec: {containers: [{args: [one, two, 'a:b', 10.0.0.1:80, '--image=', '--image=true']}]}\n",
        "apiVersion: v1\nkind: Pod\nspec: {containers: [{env: [{name: IMAGE_REPOSITORY, value: x.example}]}]}\n",
        "apiVersion: x/v1\nkind: CRD\nspec: {image: {description: 'such as z.example/y:1', type: string}}\n",
        "",
        "---\n---\n# nothing\n",
        "---\nnull\n",
    ],
)
def test_what_names_no_image_stays(text: str) -> None:
    done = run(text)
    assert done.text == text.encode()
    assert done.references == ()


# -- hostile ----------------------------------------------------------------------------------------------------------

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{n}: &{n} [*{p}, *{p}]\n" for p, n in zip("abcdefghijklmnop", "bcdefghijklmnopq", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, "anchors and aliases are not taken"),
        ("a: &i x.example/one:v1\nimage: *i\n", "anchors and aliases are not taken"),
        ("image: &i x.example/one:v1\n", "anchors and aliases are not taken"),
        ("image: !!binary eC5leGFtcGxlL29uZTp2MQ==\n", "tags (tag:yaml.org,2002:binary) are not taken"),
        ("image: ! x\n", "tags (!) are not taken"),
        ("a: !!python/object/apply:os.system [id]\n", "tags"),
        ("<<: {image: x}\n", "a merge key"),
        ("image: x.example/one:v1\nimage: x.example/evil:v1\n", "the key 'image' a second time"),
        ("image: a\n'image': b\n", "the key 'image' a second time"),
        ("? {a: b}\n: c\n", "a key that is no string"),
        ("- image: x\n", "document 1 is no object"),
        ("just text\n", "document 1 is no object"),
        ("a: " + "[" * 200 + "]" * 200, "levels"),
        ("a:\n" + "".join(" " * n + "- \n" for n in range(200)), "levels"),
        ("a: [" + "x," * 150_001 + "]", "values"),
        ("a: " + "x" * (2 << 20), "more than 2 MB"),
        ("a: \x00", "special characters are not allowed"),
        ("a: '", "line 1: found unexpected end of stream"),
        ('a: "\\UFFFFFFFF"', "m.yaml: "),
        ("%YAML " + "9" * 5000 + ".1\n---\na: b\n", "m.yaml: "),
        ("image: {repository: x.example/one, tag: v1}\n", "an image in parts (repository x.example/one)"),
        ("a: |\n  {{- if .X }}\n  image: {{ .Image }}\n  {{- end }}\n", "m.yaml: "),
        ("a: |\n  b: &x c\n  image: *x\n", "anchors and aliases"),
    ],
)
def test_what_cannot_be_read_safely_is_refused(text: str, said: str) -> None:
    with pytest.raises(ManifestError, match=re.escape(said)) as caught:
        run(text)
    assert caught.value.remedy


def test_documents_in_strings_end_somewhere() -> None:
    text = "image: x.example/one:v1\n"
    for _ in range(6):
        text = f"a: {json.dumps(text)}\n"
    with pytest.raises(KubewrightError):
        run(f"apiVersion: v1\nkind: X\n{text}")


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(ManifestError, match="byte 3 is not UTF-8"):
        rewrite("m.yaml", b"a: \xff", OURS)
    with pytest.raises(ManifestError):
        rewrite("m.yaml", "a: b".encode("utf-16"), OURS)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:- \n\t{}[]\"'|>&*!#%@,?\\0\x85\u2028"), max_size=120))
def test_any_text_is_rewritten_or_refused(text: str) -> None:
    try:
        done = run(text)
    except KubewrightError:
        return
    assert done.text == text.encode()


# -- round trips ------------------------------------------------------------------------------------------------------

WORDS = st.text(alphabet="abc äöü😀:#-'\"\\\n\t{}[]\u2028\x85", max_size=25)
LEAVES = st.one_of(WORDS, st.integers(), st.booleans(), st.none(), st.just(ONE.reference), st.just("two:2.0"))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["k", "containers", "data", "k 2"]), inner, max_size=3)
    ),
    max_leaves=12,
)
STYLES = st.fixed_dictionaries(
    {
        "default_flow_style": st.sampled_from([None, True, False]),
        "default_style": st.sampled_from([None, "'", '"', "|", ">"]),
        "width": st.sampled_from([20, 80, 4000]),
        "allow_unicode": st.booleans(),
        "indent": st.sampled_from([2, 4]),
        "line_break": st.sampled_from(["\n", "\r\n"]),
    }
)


class Dumper(yaml.SafeDumper):
    """Without anchors, which equal values would get."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def readable(text: str) -> bool:
    """PyYAML writes some texts in forced styles so that it reads others."""
    try:
        yaml.safe_load(text)
    except yaml.YAMLError:
        return False
    return True


def replaced(value: object) -> object:
    """What a manifest has to say after its images were replaced: here every string that is one of the two."""
    if isinstance(value, dict):
        return {key: replaced(each) for key, each in value.items()}
    if isinstance(value, list):
        return [replaced(each) for each in value]
    return (
        {ONE.reference: f"{ONE.reference}@{D1}", "two:2.0": f"two:2.0@{D2}"}.get(value, value)
        if isinstance(value, str)
        else value
    )


@settings(max_examples=300, deadline=None)
@given(VALUES, STYLES, st.booleans())
def test_whatever_its_style_a_manifest_says_the_same_but_for_images(
    value: object, style: dict[str, object], nested: bool
) -> None:
    data = yaml.dump({"inner": value}, Dumper=Dumper, **style) if nested else value
    content = {"apiVersion": "v1", "kind": "X", "spec": {"image": "two:2.0", "data": data}}
    text = yaml.dump(content, Dumper=Dumper, **style)
    try:
        done = run(text)
    except ManifestError:  # tags, which PyYAML's forced styles make of numbers, are refused
        assert "!!" in text
        return
    except NoCounterpartError:  # words that make up a reference by chance
        return
    meant, got = yaml.safe_load(text), yaml.safe_load(done.text)
    if nested:
        inner, outer = meant["spec"].pop("data"), got["spec"].pop("data")
        assume(readable(inner))
        assert yaml.safe_load(outer) == replaced(yaml.safe_load(inner))
    assert got == replaced(meant)
