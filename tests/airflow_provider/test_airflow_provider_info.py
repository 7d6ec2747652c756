from __future__ import annotations

import importlib.resources
import json
import subprocess
import sys
from importlib.metadata import version

import jsonschema
import pytest

from zerobus_airflow.provider_info import get_provider_info


def schema(name):
    return json.loads((importlib.resources.files("airflow") / name).read_text())


@pytest.mark.matrix
def test_the_metadata_has_the_form_that_airflow_asks_for():
    jsonschema.validate(get_provider_info(), schema("provider_info.schema.json"))


def test_the_form_behaviour_has_the_form_that_airflow_asks_for():
    (connection_type,) = get_provider_info()["connection-types"]
    jsonschema.validate(
        # The provider manager turns the hyphen of the metadata into the underscore of the form's schema.
        {key.replace("-", "_"): value for key, value in connection_type["ui-field-behaviour"].items()},
        schema("customized_form_field_behaviours.schema.json"),
    )


def test_reading_the_metadata_imports_neither_airflow_nor_the_core():
    script = (
        "import sys; from zerobus_airflow.provider_info import get_provider_info; get_provider_info(); "
        "print([name for name in ('airflow', 'zerobus_core', 'databricks', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.matrix
def test_airflow_finds_the_provider_and_its_connection_type(airflow):
    hooks = json.loads(airflow.command("providers", "hooks", "-o", "json"))
    assert [hook for hook in hooks if hook["connection_type"] == "zerobus"] == [
        {
            "connection_type": "zerobus",
            "class": "zerobus_airflow.hook.ZerobusHook",
            "conn_id_attribute_name": "zerobus_conn_id",
            "package_name": "zerobus-orchestration",
            "hook_name": "Databricks Zerobus",
        }
    ]


@pytest.mark.matrix
@pytest.mark.skipif(
    version("apache-airflow").startswith("3.0."), reason="3.0 draws no provider's form without flask-appbuilder"
)
def test_the_connection_form_shows_our_labels_and_fields(airflow):
    form = airflow.connection_form("zerobus")
    assert form["titles"]["host"] == "Workspace URL"
    assert form["titles"]["login"] == "Client ID"
    assert form["titles"]["password"] == "Client secret"
    assert {"port", "schema"} == {name.removeprefix("url_") for name in form["hidden"]}
    assert set(form["extra_fields"]) == {"endpoint", "federated_token_file"}
