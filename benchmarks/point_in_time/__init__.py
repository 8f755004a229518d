"""Point-in-time joins: Headrace's beside joins written by hand and Feast's own stores. See ``__main__``."""
