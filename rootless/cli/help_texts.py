"""Help texts that several verbs share."""

from __future__ import annotations

LIST_FORMAT = (
    'Format output using a custom template: "table" (default), "table TEMPLATE" with column headers, "json",'
    " or a Go template"
)
INSPECT_FORMAT = 'Format output using a custom template: "json" or a Go template'
FILTER = "Filter output based on conditions provided"
