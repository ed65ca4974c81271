# SPDX-License-Identifier: MIT
"""The figures of one scenario, and whether they reach their targets."""

import statistics
from dataclasses import asdict, dataclass, field
from typing import Optional

from loads import Figures


@dataclass
class Check:
    """A figure with one value for each round; its median is compared with its target, if any."""

    what: str
    unit: str = ""
    at_least: Optional[float] = None
    at_most: Optional[float] = None
    either: bool = False  # one of the scenario's checks with this flag is enough
    values: list = field(default_factory=list)

    @property
    def value(self):
        return statistics.median(self.values)

    @property
    def score(self):
        """The ratio to the target: 1 is the target, more is better; None without a target."""
        if self.at_least is not None:
            return self.value / self.at_least
        if self.at_most is not None:
            return self.at_most / max(self.value, 1e-9)
        return None

    @property
    def reached(self):
        return None if self.score is None else self.score >= 1


class Record:
    """Collects the figures and checks of a scenario, round by round."""

    def __init__(self, name, what):
        self.name = name
        self.what = what
        self.measured = {}  # subject: [Figures], one for each round
        self.checks = []
        self.troubles = []
        self.left_out = False

    def note(self, subject, figures):
        self.measured.setdefault(subject, []).append(figures)
        return figures

    def check(self, what, value, **target):
        known = [check for check in self.checks if check.what == what]
        if not known:
            known = [Check(what, **target)]
            self.checks += known
        known[0].values.append(value)

    @property
    def medians(self):
        return {
            name: Figures.median(measured) for name, measured in self.measured.items()
        }

    def verdict(self, check):
        """Returns a word for the table, or nothing without a target."""
        if check.reached is None:
            return ""
        others = [other for other in self.checks if other.either]
        if (
            check.either
            and not check.reached
            and any(other.reached for other in others)
        ):
            return "(other reached)"
        return "reached" if check.reached else "NOT REACHED"

    def as_json(self):
        return {
            "name": self.name,
            "what": self.what,
            "figures": {
                name: {
                    "median": asdict(Figures.median(measured)),
                    "rounds": [asdict(figures) for figures in measured],
                }
                for name, measured in self.measured.items()
            },
            "checks": [
                {**asdict(check), "value": check.value, "verdict": self.verdict(check)}
                for check in self.checks
            ],
            "troubles": self.troubles,
        }
