"""The one failure that a website's own files can have."""

from __future__ import annotations

from gateway.refusals import Refusal


class BrokenSiteFile(Refusal):
    """A `_redirects` or `_headers` file that cannot be read, or a rule in it that cannot be followed.

    Answered with 500 and this text (web-redirects-file spec, "Error Handling"): whoever looks at the site
    can tell its publisher what to mend.
    """
