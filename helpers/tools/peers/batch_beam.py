"""Rows scored one by one by Apache Beam, as its examples do it, for `bench --batches`; knows nothing of this project.

Words: the ONNX file, the Parquet file, the prefix of those to write, and the features in the model's order, as JSON.
Prints seconds.
"""

import json
import sys
import time

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from apache_beam.ml.inference.onnx_inference import OnnxModelHandlerNumpy

model, source, target, names = sys.argv[1:]
names = json.loads(names)
handler = KeyedModelHandler(OnnxModelHandlerNumpy(model, min_batch_size=1000, max_batch_size=20_000))
schema = pa.schema([("id", pa.int64()), ("probability", pa.float32())])

started = time.perf_counter()
# the runner on one machine by its full name: "DirectRunner" would first ask the network for another one
with beam.Pipeline(argv=["--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"]) as pipeline:
    (
        pipeline
        | beam.io.ReadFromParquet(source)
        | "row" >> beam.Map(lambda row: (row["id"], np.array([row[name] for name in names], np.float32)))
        | RunInference(handler)
        | "answer" >> beam.Map(lambda pair: {"id": pair[0], "probability": float(np.ravel(pair[1].inference)[0])})
        | beam.io.WriteToParquet(target, schema)
    )
print(time.perf_counter() - started)
