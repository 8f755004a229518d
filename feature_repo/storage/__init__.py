"""Files that are replaced atomically, and locks between processes and machines."""
