"""Rows scored by polars and ONNX Runtime, for `bench --batches`; knows nothing of this project.

Words: the ONNX file, the Parquet file, the one to write, the features in order as JSON. Prints seconds.
"""

import json
import sys
import time

import onnxruntime
import polars as pl

model, source, target, names = sys.argv[1:]
names = json.loads(names)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options)
feed, wanted = session.get_inputs()[0].name, session.get_outputs()[0].name


def score(frame: pl.DataFrame) -> pl.DataFrame:
    matrix = frame.select(pl.col(names).cast(pl.Float32)).to_numpy(order="c")
    return frame.with_columns(pl.Series("probability", session.run([wanted], {feed: matrix})[0].ravel()))


started = time.perf_counter()
lazy = pl.scan_parquet(source)
schema = dict(lazy.collect_schema()) | {"probability": pl.Float32}
lazy.map_batches(score, schema=schema, streamable=True).sink_parquet(target)
print(time.perf_counter() - started)
