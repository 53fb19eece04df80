from caliper_dagster.core.wording import plural


def test_a_number_has_its_noun_in_the_right_form() -> None:
    assert plural(1, "hour") == "1 hour"
    assert plural(0, "hour") == "0 hours"
    assert plural(2_000, "rejected event") == "2,000 rejected events"
    assert plural(2, "entity", "entities") == "2 entities"
