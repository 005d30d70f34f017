"""The prediction as FastAPI, pydantic and uvicorn give it, for `bench --peers`; knows nothing of this project.

PEER_MODEL is the ONNX file, PEER_NAMES the features in its order, as JSON.
"""

import json
import os
from typing import Annotated

import numpy as np
import onnxruntime
from fastapi import FastAPI, Query
from pydantic import BaseModel, create_model

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["PEER_MODEL"], options)
source, target = session.get_inputs()[0].name, session.get_outputs()[0].name
Row = create_model("Row", **{name: (float, ...) for name in json.loads(os.environ["PEER_NAMES"])})


class Prediction(BaseModel):
    prediction: str
    probability: float
    success: bool = True


app = FastAPI()


def predict(row) -> Prediction:
    matrix = np.array([list(row.model_dump().values())], np.float32)
    probability = session.run([target], {source: matrix})[0][0, 0]
    return Prediction(prediction=str(probability), probability=float(probability))


@app.get("/predict")
async def by_address(row: Annotated[Row, Query()]) -> Prediction:
    return predict(row)


@app.post("/predict")
async def by_json(row: Row) -> Prediction:
    return predict(row)
