"""A failure is told once and its end once, whatever happens in between."""

from __future__ import annotations

from caliper_dagster.core.hours import Hour
from caliper_dagster.delivery.alerts.incidents import (
    AlertState,
    CheckFailure,
    Incidents,
    RunFailure,
    remove_told,
)

RECEIVERS = ("mail", "chat")
NIGHT = Hour.from_key("2026-03-02-01:00")
RESULTS = "emission_results"


class Story:
    """Looks one after the other, with the state between them as Dagster keeps it."""

    def __init__(self) -> None:
        self.state = AlertState(looked_to=0).model_dump_json()
        self.failing: set[Hour] = set()
        self.now = 0.0

    def look(
        self, *runs: RunFailure, checks: tuple[CheckFailure, ...] = (), known: tuple[str, ...] = ()
    ) -> list[str]:
        """What is told now, as status and subject."""
        self.now += 60
        state = AlertState.model_validate_json(self.state)
        incidents = Incidents(state, "moodle.example.org", RECEIVERS, None, self.now)
        incidents.add_failed_runs(runs, self._is_over)
        incidents.set_failed_checks(checks, known or [check.key for check in checks])
        mail = state.untold["mail"]
        told = [f"{alert.status} {alert.subject}" for alert in mail]
        remove_told(state, {"mail": len(mail)})
        self.state = state.model_dump_json()
        return told

    def for_chat(self) -> list[str]:
        """What the other receiver is still to be told."""
        untold = AlertState.model_validate_json(self.state).untold["chat"]
        return [f"{alert.status} {alert.subject}" for alert in untold]

    def run(self, first: Hour, hours: int = 1, asset: str = RESULTS) -> RunFailure:
        """A run that has failed."""
        self.failing |= {first + n for n in range(hours)}
        return RunFailure(
            subject=asset,
            assets=[asset],
            first=first.number,
            end=first.number + hours,
            job="caliper_events_of_the_hour",
            step=asset,
            run_id="r1",
            since=0,
        )

    def _is_over(self, failure: RunFailure) -> bool:
        return not self.failing.intersection(failure.hours or ())


def check(name: str, at: float, *, is_consequence: bool = True) -> CheckFailure:
    return CheckFailure(
        asset=RESULTS, name=name, evaluated_at=at, is_consequence=is_consequence, problem="p"
    )


def test_an_outage_is_one_failure_however_many_runs_fail() -> None:
    story = Story()
    assert story.look(story.run(NIGHT)) == [f"failure {RESULTS}"]
    assert story.look(story.run(NIGHT), story.run(NIGHT + 1)) == []
    assert story.look(story.run(NIGHT, 3)) == []
    late = (check("no_backlog", story.now),)
    assert story.look(checks=late) == []
    story.failing = {NIGHT + 2}
    assert story.look(checks=late) == []
    story.failing = set()
    assert story.look(checks=late) == [f"over {RESULTS}"]
    assert story.look(checks=late) == []
    assert story.for_chat() == [f"failure {RESULTS}", f"over {RESULTS}"]


def test_what_a_check_finds_after_the_end_is_told() -> None:
    story = Story()
    story.look(story.run(NIGHT))
    story.failing = set()
    story.look()
    new = check("no_backlog", story.now + 1)
    assert story.look(checks=(new,)) == [f"failure {RESULTS}, no_backlog"]
    assert story.look(known=(new.key,)) == [f"over {RESULTS}, no_backlog"]


def test_an_hour_that_always_fails_does_not_hide_the_next_outage() -> None:
    story = Story()
    story.look(story.run(NIGHT))
    assert story.look(story.run(NIGHT + 30)) == [f"failure {RESULTS}"]
    story.failing = {NIGHT}
    assert story.look() == [f"over {RESULTS}"]


def test_another_step_is_another_failure() -> None:
    story = Story()
    told = story.look(story.run(NIGHT), story.run(NIGHT, asset="moodle_log"))
    assert told == [f"failure {RESULTS}", "failure moodle_log"]


def test_a_retry_for_one_of_two_event_stores_is_part_of_the_failure_of_both() -> None:
    story = Story()
    both = story.run(NIGHT).model_copy(update={"assets": ["results_a", "results_b"]})
    assert story.look(both) == [f"failure {RESULTS}"]
    assert story.look(story.run(NIGHT, asset="results_b")) == []
    assert story.look(story.run(NIGHT, asset="results_c")) == ["failure results_c"]


def test_a_run_whose_hours_have_succeeded_since_is_not_told() -> None:
    story = Story()
    run = story.run(NIGHT)
    story.failing = set()
    assert story.look(run) == []


def test_checks_of_their_own() -> None:
    story = Story()
    purge = check("rows_taken_before_purge", 0, is_consequence=False)
    assert story.look(story.run(NIGHT), checks=(purge,)) == [
        f"failure {RESULTS}",
        f"failure {RESULTS}, rows_taken_before_purge",
    ]
    assert story.look(checks=(purge,)) == []
    # A check that the project no longer has is forgotten.
    assert story.look(known=("other",)) == []


def test_who_is_no_longer_named_is_forgotten() -> None:
    state = AlertState(looked_to=0)
    story = Story()
    Incidents(state, "s", ("old",), None, 0).add_failed_runs([story.run(NIGHT)], lambda _: False)
    Incidents(state, "s", ("new",), None, 0)
    assert state.untold == {"new": []}


def test_of_many_alerts_that_nobody_takes_the_newest_are_kept() -> None:
    story = Story()
    for number in range(150):
        story.look(story.run(NIGHT + 2 * number, asset=f"asset_{number}"))
    assert len(story.for_chat()) == 100
    assert story.for_chat()[-1] == "failure asset_149"
