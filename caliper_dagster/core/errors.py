"""The errors of this project: few, named, each with one clear sentence and no secret in it.

Every part raises them. The command line turns them into exit status 2, and a Dagster step into a
failed run with the same sentence.
"""


class CaliperDagsterError(Exception):
    """Base of all errors that are meant for a person: one sentence, free of secrets."""


class ConfigurationError(CaliperDagsterError):
    """A setting is missing or wrong; the sentence names it. Trying again does not help."""


class SourceError(CaliperDagsterError):
    """The Moodle database answered, but what was requested could not be read."""


class StorageError(CaliperDagsterError):
    """A stored partition or the ledger is missing or damaged, or breaks its contract."""


class RunError(CaliperDagsterError):
    """A run failed. The sentence is that of the step that failed first."""


class RecipeError(CaliperDagsterError):
    """A recipe is not well formed or asks for something that Caliper does not allow."""


class DeliveryError(CaliperDagsterError):
    """A destination did not acknowledge a batch. Batches acknowledged before stay acknowledged.

    Attributes:
        transient: True when the same batch may be accepted later (time-out, 5xx, store down).
    """

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient
