"""Bad days on demand: faults that harm the plan of what is sent, pure and seeded."""

from offline.faults.catalogue import FAULTS, fault_table, harm, parse_fault
from offline.faults.fault import Fault
from offline.faults.plan import Plan

__all__ = ["FAULTS", "Fault", "Plan", "fault_table", "harm", "parse_fault"]
