"""From a finished run to a version, and what becomes of it: gates, approval, rollback, retirement, model card."""
