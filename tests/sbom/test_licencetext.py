"""What a licence text is made of; whatever adds a term is said."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import licenseclassifier
import pytest
import tomli
from license_expression import get_spdx_licensing

from kubewright.sbom import licencetext
from kubewright.sbom.licencetext import read_text

APACHE = (Path(__file__).parents[2] / "LICENSE").read_text("utf-8")
MIT = """MIT License

Copyright (c) 2020 Somebody Else

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE,
ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def test_plain_texts() -> None:
    assert read_text(APACHE) == licencetext.Reading(("Apache-2.0",))
    assert read_text(MIT) == licencetext.Reading(("MIT",))
    assert read_text(f"{APACHE}\n\n{MIT}").ids == ("Apache-2.0", "MIT")


@pytest.mark.parametrize(
    "added",
    [
        "\nCopyright 2021 Others. All rights reserved.\n",
        "\n(c) 1999-2003 A. Person <a@example.org>\n",
        "\nSPDX-License-Identifier: MIT\n",
        "\n# The MIT License\n",
    ],
)
def test_copyright_lines_and_titles_are_explained(added: str) -> None:
    assert read_text(MIT + added).unexplained == ""
    assert read_text(added + MIT).unexplained == ""


@pytest.mark.parametrize(
    ("added", "word"),
    [
        ("\nThe Software shall be used for Good, not Evil.\n", "evil"),
        ("\nNot for military use.\n", "military"),
        ("\nCopyright 2021 X. Only for non-commercial use.\n", "non-commercial"),
        ("\nCopyright 2021 X. You must not sell this.\n", "sell"),
    ],
)
def test_any_further_term_is_said(added: str, word: str) -> None:
    for text in (MIT + added, APACHE + added):
        assert word in read_text(text).unexplained


def test_a_condition_under_a_known_text_is_no_longer_that_licence_alone() -> None:
    clause = (
        '"Commons Clause" License Condition v1.0\n\nThe Software is provided to you by the Licensor under the License, as '
        "defined below, subject to the following condition. Without limiting other conditions in the License, the grant of "
        "rights under the License will not include, and the License does not grant to you, the right to Sell the Software.\n\n"
    )
    reading = read_text(clause + APACHE)
    assert reading.unexplained or reading.ids != ("Apache-2.0",)


def test_what_nobody_knows_has_no_ids() -> None:
    reading = read_text("All rights to this software belong to Nobody Ltd. Ask before use.")
    assert reading.ids == ()
    assert "nobody ltd" in reading.unexplained
    assert read_text("").ids == ()


def test_reviewed_sentences_explain_themselves_and_no_more() -> None:
    sentence = "Files: gzhttp/*"
    assert read_text(f"{APACHE}\n{sentence}\n\n{MIT}").unexplained == ""
    assert "secret" in read_text(f"{APACHE}\n{sentence} are secret\n\n{MIT}").unexplained


def test_the_reviewed_file_names_digests_and_reasons() -> None:
    path = Path(licencetext.__file__).with_name("reviewed.toml")
    data = tomli.loads(path.read_text("utf-8"))
    assert all(each["in"] and each["text"] for each in data["sentence"])
    assert all(len(each["sha256"]) == 64 and each["why"] for each in [*data["elsewhere"], *data["debian"]])
    licensing = get_spdx_licensing()
    for each in data["debian"]:
        assert not licensing.validate(each["licence"], strict=True).errors


def test_every_name_of_the_classifier_is_spdx_or_said_not_to_be() -> None:
    """A new version of the classifier that knows more names fails here until somebody has looked at them."""
    data = Path(licenseclassifier.__file__).parent / "_engine" / "licenses.json.gz"
    names = {each["id"] for each in json.loads(gzip.decompress(data.read_bytes()))}
    known = get_spdx_licensing().known_symbols
    not_spdx = licencetext._not_spdx()
    assert {name for name in names if name not in known} <= set(not_spdx)
    assert all(replacement in known for replacement in not_spdx.values() if replacement)


def test_a_name_without_spdx_id_becomes_a_reference() -> None:
    assert licencetext._spdx("CommonsClause") == "LicenseRef-licensecheck-CommonsClause"
    assert licencetext._spdx("GPL-2.0") == "GPL-2.0-only"
    assert licencetext._spdx("MIT") == "MIT"
