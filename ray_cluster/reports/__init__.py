"""Every HTML page that Headrace writes: lifecycle report, model card, lineage, comparison, tables, parity."""
