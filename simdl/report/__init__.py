"""Reports: one page that a person reads, with twins in JSON, Markdown and JUnit XML.

parts, text           notes, commands, tables and figures; values as text
svg, figures          pictures of bounded size, in the page's colours
report, origin        the verdict, the counts of lanes, and where it all comes from
html, markdown, junit what a report is written as
claim, verdicts       counts, rates and what they allow to be said
computer              what the computer of a lane did
campaign, codesign, bench  the pages
"""

from simdl.report import figures as figures
from simdl.report.bench import bench_report as bench_report
from simdl.report.campaign import campaign_report as campaign_report, run_report as run_report
from simdl.report.claim import interval as interval
from simdl.report.codesign import codesign_report as codesign_report
from simdl.report.parts import (
    Command as Command,
    Figure as Figure,
    Mark as Mark,
    Note as Note,
    Section as Section,
    Table as Table,
)
from simdl.report.report import Check as Check, Counts as Counts, Report as Report
