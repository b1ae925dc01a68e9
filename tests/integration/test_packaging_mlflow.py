"""Models of a real MLflow registry become packages, and packages become models of it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from jupyter_aiinfra.errors import NotFound, UsageError
from jupyter_aiinfra.promote.packaging import package, register, replay
from tests.support.notebook import Notebook
from tests.support.packages import packed

mlflow = pytest.importorskip("mlflow")
pytestmark = pytest.mark.filterwarnings("ignore")

COLUMNS = ["long", "wide"]


def summing() -> Any:
    """Return a model of MLflow that sums its columns; it warns of what it has no hints for."""

    class Sum(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
            return model_input.sum(axis=1)

    return Sum()


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return a server of this module's own: to make its tables takes longer than the tests."""
    place = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(place)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        mlflow.MlflowClient(f"sqlite:///{place}/mlflow.db").search_experiments()
        yield f"sqlite:///{place}/mlflow.db"


@pytest.fixture(autouse=True)
def restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = mlflow.get_tracking_uri()
    monkeypatch.setenv("JUPYTER_AIINFRA_HOME", str(tmp_path / "home"))
    yield
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def logged(uri: str) -> Any:
    """Return what MLflow says of a model that is logged and registered."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        frame = pd.DataFrame({"long": [1.0, 2.0], "wide": [3.0, 4.0]})
        with warnings.catch_warnings(), mlflow.start_run():
            warnings.simplefilter("ignore")
            mlflow.log_input(mlflow.data.from_pandas(frame, name="flats"))
            told = mlflow.pyfunc.log_model(
                name="sum", python_model=summing(), input_example=frame, registered_model_name="sum"
            )
        mlflow.MlflowClient().set_registered_model_alias("sum", "champion", "1")
        return told
    finally:
        mlflow.set_tracking_uri(before)


class TestFromTheRegistry:
    @pytest.mark.parametrize("source", ["models:/sum@champion", "models:/sum/latest", "run"])
    def test_a_model_of_it(self, uri: str, logged: Any, source: str, tmp_path: Path) -> None:
        told = f"runs:/{logged.run_id}/sum" if source == "run" else source
        made = package(told, name="sum", to=tmp_path / "made", tracking_uri=uri)
        assert made.manifest["registered"] == (None if source == "run" else "models:/sum/1")
        lineage = made.manifest["lineage"]["run"]
        assert lineage["id"] == logged.run_id
        assert [each["name"] for each in lineage["datasets"]] == ["flats"]
        manifest = json.loads((made.folder / "endpoint.json").read_text())
        assert [each["name"] for each in manifest["inputs"]] == COLUMNS
        assert manifest["example"] == {"long": [1], "wide": [3]}
        found = replay(made.folder)
        assert (found.ok, found.calls) == (True, 1), found.text

    def test_with_an_example_of_ones_own(self, uri: str, logged: Any, tmp_path: Path) -> None:
        example = pd.DataFrame({"long": [5.0], "wide": [6.0]})
        made = package(
            "models:/sum/1", name="m", example=example, to=tmp_path / "m", tracking_uri=uri
        )
        line = json.loads((made.folder / "calls.jsonl").read_text())
        assert line == {"inputs": {"long": [5], "wide": [6]}, "outputs": [11]}

    def test_what_is_not_there(self, uri: str, logged: Any, tmp_path: Path) -> None:
        for source in (
            "models:/none/1",
            "models:/sum@none",
            "models:/sum/9",
            "models:/none/latest",
        ):
            with pytest.raises(NotFound, match=source):
                package(source, name="m", to=tmp_path / "m", tracking_uri=uri)
        with pytest.raises(UsageError, match="names no model"):
            package("models:sum", name="m", to=tmp_path / "m", tracking_uri=uri)
        assert not list(tmp_path.glob(".making-*"))

    def test_a_model_without_a_signature(self, uri: str, tmp_path: Path) -> None:
        mlflow.set_tracking_uri(uri)
        with mlflow.start_run() as run:
            mlflow.pyfunc.log_model(name="bare", python_model=summing())
        with pytest.raises(UsageError, match="without a signature"):
            package(f"runs:/{run.info.run_id}/bare", name="m", to=tmp_path / "m", tracking_uri=uri)


class TestIntoTheRegistry:
    def test_a_function_with_all_that_is_known_of_it(self, uri: str, tmp_path: Path) -> None:
        notebook = Notebook(tmp_path)
        notebook.run("import numpy as np\nW = np.eye(2) * 3\ndef predict(x): return x @ W")
        (tmp_path / "data.csv").write_text("1,2")
        made = packed(notebook, "predict", example=np.ones((2, 2)), data=["data.csv"])
        before = mlflow.get_tracking_uri()
        done = register(made, tracking_uri=uri, alias="champion")
        assert mlflow.get_tracking_uri() == before
        assert done.manifest["registered"] == "models:/predict/1"
        assert done.digest == made.digest
        assert register(made, tracking_uri=uri).manifest["registered"] == "models:/predict/1"

        client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        version = client.get_model_version_by_alias("predict", "champion")
        assert version.tags["aiinfra.digest"] == made.digest
        assert version.tags["aiinfra.data"].startswith("data.csv@")
        mlflow.set_tracking_uri(uri)
        model = mlflow.pyfunc.load_model("models:/predict@champion")
        assert model.predict(np.ones((1, 2))).tolist() == [[3, 3]]
        assert model.metadata.signature.inputs.is_tensor_spec()
        needs = Path(mlflow.artifacts.download_artifacts("models:/predict/1"), "requirements.txt")
        assert f"numpy=={np.__version__}" in needs.read_text()

        again = package(
            "models:/predict@champion", name="again", to=tmp_path / "again", tracking_uri=uri
        )
        assert replay(again.folder).ok

    def test_functions_of_single_values_and_of_json(self, uri: str, tmp_path: Path) -> None:
        notebook = Notebook(tmp_path)
        notebook.run("def price(area: float, rooms: int) -> float: return area * rooms")
        notebook.run("def reply(asked): return {'said': asked['text'].upper()}")
        register(packed(notebook, "price", example=(2.0, 3)), tracking_uri=uri)
        register(packed(notebook, "reply", example=({"text": "a"},)), tracking_uri=uri)
        mlflow.set_tracking_uri(uri)
        price = mlflow.pyfunc.load_model("models:/price/1")
        given = {"area": np.array([2.0, 3.0]), "rooms": np.array([1, 2])}
        assert price.predict(given).tolist() == [2, 6]
        reply = mlflow.pyfunc.load_model("models:/reply/1")
        assert reply.predict([{"text": "b"}]) == [{"said": "B"}]

    def test_a_torch_module(self, uri: str, tmp_path: Path) -> None:
        torch = pytest.importorskip("torch")
        notebook = Notebook(tmp_path)
        notebook.run(
            "import torch\nnet = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Tanh())"
        )
        given = torch.ones(3, 2)
        made = register(packed(notebook, "net", example=given), tracking_uri=uri)
        assert made.manifest["registered"] == "models:/net/1"
        mlflow.set_tracking_uri(uri)
        found = mlflow.pyfunc.load_model("models:/net/1").predict(given.numpy())
        wanted = json.loads((made.folder / "calls.jsonl").read_text())["outputs"]
        np.testing.assert_allclose(found, wanted, atol=1e-5)

    def test_a_model_of_a_run(self, uri: str, logged: Any, tmp_path: Path) -> None:
        source = f"runs:/{logged.run_id}/sum"
        made = package(source, name="named", to=tmp_path / "named", tracking_uri=uri)
        assert register(made, tracking_uri=uri).manifest["registered"] == "models:/named/1"
