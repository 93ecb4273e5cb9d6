"""How the program itself logs: lines for people, or JSON for machines, on standard error."""

from __future__ import annotations

import json
import logging
import time

from aiohttp.http_exceptions import HttpProcessingError

from config.settings import LogFormat, Settings


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    # aiohttp writes a traceback for every request that it cannot parse, as long as somebody sends them.
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def set_up_logging(settings: Settings) -> None:
    """For the whole process; to be called once, before anything logs."""
    handler = logging.StreamHandler()
    handler.addFilter(_is_worth_a_line)
    if settings.log_format is LogFormat.JSON:
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    # It tells of every step of a migration, which nobody asked for on a first start.
    logging.getLogger("asyncpg_trek").setLevel(logging.WARNING)
    logging.basicConfig(level=settings.log_level.value.upper(), handlers=[handler], force=True)
