"""Files that are replaced atomically, locks between processes and machines, and work whose failure is only recorded."""
