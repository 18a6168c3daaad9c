"""The recipes of ``docs/howto/cluster.md`` on a cluster of this machine: the bundle is loaded once per worker."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pullback

BUNDLE = str(pathlib.Path(__file__).parents[1] / "runtime" / "fixtures" / "hill_float64.pullback")
X = np.random.default_rng(0).uniform(-1, 1, (1000, 3))


def test_ray() -> None:
    import ray

    class Slopes:
        def __init__(self) -> None:
            self.bundle, self.mark = pullback.load(BUNDLE, threads=1), np.random.default_rng().integers(1 << 62)

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            slopes = self.bundle(batch["data"]).denergy_dx
            return batch | {"slope": slopes, "load": np.full(len(slopes), self.mark)}

    ray.init(num_cpus=2, include_dashboard=False, logging_level="error")
    try:
        rows = ray.data.from_numpy(X).repartition(8).map_batches(Slopes, concurrency=1, batch_size=100).take_all()
    finally:
        ray.shutdown()
    found = {row["data"].tobytes(): row for row in rows}
    assert len({row["load"] for row in rows}) == 1
    slopes = pullback.load(BUNDLE)(X).denergy_dx
    np.testing.assert_allclose([found[x.tobytes()]["slope"] for x in X], slopes, rtol=1e-12)


def test_spark() -> None:
    import pandas
    from pyspark.sql import SparkSession

    bundle_path = BUNDLE

    def slopes(frames: Iterator[Any]) -> Iterator[Any]:
        bundle = pullback.load(bundle_path, threads=1)
        mark = int(np.random.default_rng().integers(1 << 62))
        for frame in frames:
            slope = bundle(frame[["a", "b", "c"]].to_numpy()).denergy_dx
            yield frame.assign(da=slope[:, 0], db=slope[:, 1], dc=slope[:, 2], load=mark)

    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "100")
    try:
        table = spark.createDataFrame(pandas.DataFrame(X, columns=["a", "b", "c"])).repartition(2)
        schema = "a double, b double, c double, da double, db double, dc double, load long"
        found = table.mapInPandas(slopes, schema).toPandas()
    finally:
        spark.stop()
    assert len(found) == len(X) and found["load"].nunique() == 2  # one for each partition, not for each of ten batches
    want = pullback.load(BUNDLE)(found[["a", "b", "c"]].to_numpy()).denergy_dx
    np.testing.assert_allclose(found[["da", "db", "dc"]].to_numpy(), want, rtol=1e-12)
