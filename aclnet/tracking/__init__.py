"""Trackers, which receive the values of a training besides the run's folder (docs/tracking.md)."""

from aclnet.tracking.contract import Outcome, TrackedRun, Tracker

__all__ = ["Outcome", "TrackedRun", "Tracker"]
