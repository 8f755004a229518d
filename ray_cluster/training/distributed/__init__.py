"""The final fit by several workers or from disk, for rows that exceed one process or its memory."""
