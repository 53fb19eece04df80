"""Celery's settings on the workers: ``dagster_celery.app`` imports this module from PYTHONPATH."""

import os

broker_url = result_backend = os.environ["CELERY_BROKER_URL"]

# A worker takes a run when it has room for one, and none in advance: another may be idle.
worker_prefetch_multiplier = 1
worker_disable_prefetch = True

# A process forgets what a long series of runs has left in its memory.
worker_max_tasks_per_child = 100
broker_connection_retry_on_startup = True
