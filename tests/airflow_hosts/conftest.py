from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.airflow_hosts.deployment import Deployment

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def deployment(tmp_path_factory, postgres, redis, zerobus):
    home = tmp_path_factory.mktemp("airflow")
    database = postgres.url(postgres.new_database(), driver="psycopg2")
    celery = {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CELERY__BROKER_URL": redis.url(1),
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
    }
    yield from running_in(home, environ_of(home, database, zerobus) | celery, has_celery=True)


@pytest.fixture
def local_deployment(tmp_path, postgres, zerobus):
    """An Airflow whose scheduler has the workers as its own processes."""
    home = tmp_path / "airflow"
    home.mkdir()
    database = postgres.url(postgres.new_database(), driver="psycopg2")
    local = {"AIRFLOW__CORE__EXECUTOR": "LocalExecutor"}
    yield from running_in(home, environ_of(home, database, zerobus) | local, has_celery=False)


def environ_of(home, database, zerobus):
    credentials = zerobus.workspace.credentials
    connection = {
        "conn_type": "zerobus",
        "host": zerobus.workspace.workspace_url,
        "login": credentials.client_id,
        "password": credentials.client_secret,
        "extra": {"endpoint": zerobus.workspace.endpoint},
    }
    dags = home / "dags"
    dags.mkdir()
    (dags / "hosted.py").write_text((HERE / "hosted.py").read_text())
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("_AIRFLOW")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_ZEROBUS_DEFAULT": json.dumps(connection),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API_AUTH__JWT_SECRET": "a-secret-of-the-tests-that-is-long-enough-for-HS512-signatures-and-more",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def running_in(home, environ, *, has_celery):
    running = None
    try:
        running = Deployment(home, environ, has_celery=has_celery)
        yield running
    finally:
        if running is not None:
            running.close()
