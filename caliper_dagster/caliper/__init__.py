"""The Caliper standard, without Moodle: versions, vocabulary, entities, rules for documents."""
