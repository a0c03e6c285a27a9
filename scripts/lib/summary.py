"""Add up the reports of several pytest runs, and the checks, in one closing line."""

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

total = failed = skipped = 0
for path in Path(sys.argv[1]).glob("*.xml"):
    for suite in ElementTree.parse(path).getroot().iter("testsuite"):
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
if sys.argv[2] != "0" and not failed:
    total, failed = total + 1, 1  # a check failed, or pytest itself
print(f"{total - failed - skipped} passed, {failed} failed, {skipped} skipped")
