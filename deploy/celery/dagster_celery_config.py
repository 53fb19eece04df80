"""Celery's settings on the workers: ``dagster_celery.app`` imports this module from PYTHONPATH."""

import os

broker_url = result_backend = os.environ["CELERY_BROKER_URL"]

# A worker takes a run only when it has room for one, because another worker may be idle.
worker_prefetch_multiplier = 1
worker_disable_prefetch = True

# A process is replaced after this many runs, which frees the memory that they left behind.
worker_max_tasks_per_child = 100
broker_connection_retry_on_startup = True
