from dataclasses import dataclass


@dataclass(frozen=True)
class Separation:
    decided: bool


def separated(results, section, best, other):
    return Separation(False)
