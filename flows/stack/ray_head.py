"""``ray start`` without the Ray Client server, which is not used.

It would be an extra process, and if the machine is so busy that the raylet needs more than 30 s it exits, which
``--block`` treats as the end of the cluster.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run Ray's command line; the arguments are those of ``ray``."""
    from ray.scripts import scripts

    # `ray start` has no option for this: it starts the Client server whenever that can run.
    setattr(scripts, "get_ray_client_dependency_error", lambda: ImportError("not wanted"))  # noqa: B010
    sys.argv[0] = "ray"
    scripts.main()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
