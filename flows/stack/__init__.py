"""The servers of an environment: definitions, start and stop, status, and diagnosis."""

from flows.stack.processes import StackError
from flows.stack.servers import Health, down, health, require, up, wait
from flows.stack.services import Service, services

__all__ = ["Health", "Service", "StackError", "down", "health", "require", "services", "up", "wait"]
