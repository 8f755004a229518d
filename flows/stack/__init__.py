"""The servers of an environment: what they are, starting and stopping them, and what is wrong with them."""

from flows.stack.processes import StackError
from flows.stack.servers import Health, down, health, require, up, wait
from flows.stack.services import Service, services

__all__ = ["Health", "Service", "StackError", "down", "health", "require", "services", "up", "wait"]
