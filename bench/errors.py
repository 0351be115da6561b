"""The two ways in which a comparison fails: all of it, or one cell of its tables."""

from __future__ import annotations


class EnvironmentFailed(Exception):
    """The machine lacks something the comparison needs, or the peers cannot be installed; nothing is measured."""


class MeasurementFailed(Exception):
    """A server did not start, answered wrongly, or ended under load, or the load generator could not do its part.

    The text takes the place of the figures in the report.
    """


class Unsupported(MeasurementFailed):
    """A server does not have what the scenario is about.

    Attributes:
        label: what stands in the table instead of "failed".
    """

    def __init__(self, text: str, label: str) -> None:
        super().__init__(text)
        self.label = label
