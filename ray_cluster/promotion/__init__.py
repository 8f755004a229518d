"""Register a finished run as a version, and manage it: gates, approval, rollback, retirement, model card."""
