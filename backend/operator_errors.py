"""What can go wrong while starting or operating an installation, one class a cause.

Each is printed as one line that names the remedy, never as a traceback. Errors of the product itself live in
`backend.domain.errors`.
"""

WRONGLY_SET_UP = 78
"""Exit status (EX_CONFIG of sysexits.h) of what can't start however often it is tried; systemd knows it too."""


class OperatorError(Exception):
    """Something the person who runs Zoetrope can mend."""

    exit_code = 1

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}: {remedy}")
        self.problem = problem
        self.remedy = remedy


class BadSettingError(OperatorError):
    """An environment variable holds something that can't be used."""

    exit_code = WRONGLY_SET_UP


class PartRefusedError(BadSettingError):
    """A part of the studio said that it can't start as it is set up."""


class PortTakenError(OperatorError):
    """The address to listen on is in use or not ours."""


class DatabaseUnreachableError(OperatorError):
    """No connection to Postgres."""


class ValkeyUnreachableError(OperatorError):
    """No connection to Valkey or Redis."""


class StorageUnusableError(OperatorError):
    """Nothing can be written where clips are to lie."""


class DataDirError(OperatorError):
    """The data folder can't be used: no room, no permission, not a folder."""


class AlreadyRunningError(OperatorError):
    """Another studio uses the same data folder."""


class NotRunningError(OperatorError):
    """The command needs a running studio."""


class EmbeddedPartError(OperatorError):
    """An embedded Postgres or Valkey did not come up."""


class WeightsNotPulledError(OperatorError):
    """A model's weights could not be fetched, or are not what its recipe needs."""
