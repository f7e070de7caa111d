"""The version of this installation."""

from importlib.metadata import PackageNotFoundError, version

UNKNOWN = "0"


def installed_version() -> str:
    """As the package says it; "0" where it runs from a folder that nothing was installed from."""
    try:
        return version("zoetrope")
    except PackageNotFoundError:
        return UNKNOWN
