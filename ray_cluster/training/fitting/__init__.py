"""The final fit where one process, or its memory, is too small: shares of rows, workers on Ray, parts on disk."""
