"""Plans: ranked deployments of a model that serve a load within objectives and budgets, or why there is none."""

from genz.explore.planning.errors import NoPlanError, Relaxation
from genz.explore.planning.option import Option, Part
from genz.explore.planning.result import Plan
from genz.explore.planning.search import plan

__all__ = ["NoPlanError", "Option", "Part", "Plan", "Relaxation", "plan"]
