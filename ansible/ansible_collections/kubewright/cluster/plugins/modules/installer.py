#!/usr/bin/python
# Apache-2.0
"""Runs one of kubewright's stand-alone programs. What is to be done, and whether it may be, is decided there and not here."""

from __future__ import annotations

import json
import os

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: installer
short_description: Runs kubewright-install.pyz or kubewright-verify.pyz
description:
  - Runs the program, says what it said when it refuses or fails, and reports a change where the program's JSON has one.
  - In check mode nothing is run, unless the task has C(check_mode=false), which is for questions only.
options:
  program:
    description: The program, on the machine on which the task runs.
    type: path
    required: true
  words:
    description: Its arguments. Never a secret; join material goes by the name of its file.
    type: list
    elements: str
    required: true
  stdin:
    description: What it gets on standard input.
    type: str
  python:
    description: Which Python (3.10 or newer) runs it.
    type: str
    default: python3
author:
  - kubewright
"""

EXAMPLES = r"""
- name: What is not as it was installed
  kubewright.cluster.installer:
    program: /var/cache/kubewright/kubewright-install.pyz
    words: [node, status]
"""

RETURN = r"""
text:
  description: What it printed.
  type: str
  returned: always
data:
  description: The same, where it is JSON.
  type: raw
  returned: when it is
"""


def told(errors: str) -> str:
    """Its error and remedy; without them its last lines. Lines of progress before it are left out."""
    lines = errors.strip().splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith("error: ")), None)
    if start is None:
        return "\n".join(lines[-20:])
    details = [line for line in lines[:start] if line.startswith("    ")]
    return "\n".join([*lines[start:], *details])


def parsed(output: str) -> object:
    """JSON, or None."""
    try:
        return json.loads(output)
    except ValueError:
        return None


def changed(words: list[str], data: object) -> bool:
    """What the program says of it; without that: making join material and uninstalling change something, questions do not."""
    if isinstance(data, dict) and "changed" in data:
        return bool(data["changed"])
    return words[0] in ("join-token", "uninstall")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "program": {"type": "path", "required": True},
            "words": {"type": "list", "elements": "str", "required": True},
            "stdin": {"type": "str"},
            "python": {"type": "str", "default": "python3"},
        },
        supports_check_mode=True,
    )
    program, words = module.params["program"], module.params["words"]
    if module.check_mode:
        module.exit_json(skipped=True, msg="not run in check mode")
    if not os.path.isfile(program):  # noqa: PTH113 - as short as it can be
        module.fail_json(msg=f"{program} is not there")
    argv = [module.params["python"], "-I", program, *words]
    status, output, errors = module.run_command(argv, data=module.params["stdin"], binary_data=True)
    data = parsed(output)
    if status:
        module.fail_json(msg=told(errors) or f"ended with status {status}", rc=status, text=output)
    module.exit_json(changed=changed(words, data), text=output, **({} if data is None else {"data": data}))


if __name__ == "__main__":
    main()
