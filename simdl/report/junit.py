"""The requirements of a report as JUnit XML."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

from simdl.report.text import clean

if TYPE_CHECKING:
    from simdl.report.report import Report


def junit(report: Report) -> str:
    """One test case for each requirement, and one that says whether every lane was run."""
    suite = ElementTree.Element("testsuite", name=clean(report.title), tests=str(len(report.checks) + 1))
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in (("seed", str(report.origin.seed)), ("command", report.origin.command),
                        ("digest", report.origin.digest)):  # fmt: skip
        ElementTree.SubElement(properties, "property", name=name, value=clean(value))
    failures = errors = skipped = 0
    for check in report.checks:
        case = ElementTree.SubElement(suite, "testcase", classname=clean(report.title), name=clean(check.name))
        if check.counts["fail"]:
            failures += 1
            ElementTree.SubElement(case, "failure", message=clean(check.message)).text = clean(check.text)
        elif check.counts["error"]:
            errors += 1
            ElementTree.SubElement(case, "error", message=clean(check.message)).text = clean(check.text)
        elif not check.tested:
            skipped += 1
            ElementTree.SubElement(case, "skipped", message="never put to the test")
    case = ElementTree.SubElement(suite, "testcase", classname=clean(report.title), name="everything asked was run")
    if not report.complete:
        errors += 1
        ElementTree.SubElement(case, "error", message=clean("; ".join([str(report.counts), *report.missing])))
    for name, count in (("failures", failures), ("errors", errors), ("skipped", skipped)):
        suite.set(name, str(count))
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"
