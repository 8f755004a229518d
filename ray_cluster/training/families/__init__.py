"""The model families, one file each: how a family is fitted step by step and how a fit is continued."""

from ray_cluster.training.families.encoding import columns_of, encoded, preprocessing
from ray_cluster.training.families.family import assemble, check_family, fit_steps, start
from ray_cluster.training.families.fit_steps import Columns, FamilyError, Fit, Rows

__all__ = [
    "Columns",
    "FamilyError",
    "Fit",
    "Rows",
    "assemble",
    "check_family",
    "columns_of",
    "encoded",
    "fit_steps",
    "preprocessing",
    "start",
]
