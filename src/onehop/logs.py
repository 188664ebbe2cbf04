"""Logs of the long-running programs: to the standard error, ours and those of what we use."""

from __future__ import annotations

import argparse
import logging
import sys

import structlog

__all__ = ["add_options", "set_up"]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="(default: %(default)s)"
    )
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")


def set_up(arguments: argparse.Namespace) -> None:
    """As the options say."""
    renderer = (
        structlog.processors.JSONRenderer()
        if arguments.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    number = logging.getLevelNamesMapping()[arguments.log_level.upper()]
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
