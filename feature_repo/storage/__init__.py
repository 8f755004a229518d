"""Files that are replaced atomically, locks, work whose failure is only recorded, and the range of numbers."""
