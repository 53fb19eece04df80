"""The Caliper standard, without Moodle: vocabulary, rules and contexts."""
