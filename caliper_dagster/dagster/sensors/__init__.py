"""The sensors: late rows of the log, and the backlogs of event stores."""
