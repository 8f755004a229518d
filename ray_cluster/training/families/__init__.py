"""The model families, one file each: how a family is fitted step by step and how a fit is continued."""

from ray_cluster.training.families.encoding import encoded, preprocessing
from ray_cluster.training.families.family import assemble, check_family, fit_steps, start
from ray_cluster.training.families.fit_steps import FamilyError, Fit, Rows

__all__ = ["FamilyError", "Fit", "Rows", "assemble", "check_family", "encoded", "fit_steps", "preprocessing", "start"]
