"""The servers of an environment: what they are, starting and stopping them, and what is wrong with them."""

from flows.stack.processes import StackError
from flows.stack.services import Service, services
from flows.stack.stack import Health, down, health, require, up, wait

__all__ = ["Health", "Service", "StackError", "down", "health", "require", "services", "up", "wait"]
