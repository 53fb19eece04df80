"""The errors of this project: few, named, each one clear sentence without a secret in it.

They belong to no part; every part raises them, the command line turns them into exit status 2 and
the Dagster side into a failed run with the same sentence.
"""


class CaliperDagsterError(Exception):
    """Base of all errors that are meant for a person: one sentence, free of secrets."""


class ConfigurationError(CaliperDagsterError):
    """A setting is missing or wrong. The sentence names the setting. Trying again does not help."""


class SourceError(CaliperDagsterError):
    """The Moodle database answered, but what was asked for could not be read."""


class StorageError(CaliperDagsterError):
    """A stored partition is missing, or is not what it should be."""


class RunError(CaliperDagsterError):
    """A run failed. The sentence is that of the step that failed first."""


class RecipeError(CaliperDagsterError):
    """A recipe is not well formed or asks for something that Caliper does not allow."""


class DeliveryError(CaliperDagsterError):
    """An event store did not acknowledge a batch. What was acknowledged before stays so.

    Attributes:
        transient: True when the same batch may be accepted later (time-out, 5xx, store down).
    """

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient
