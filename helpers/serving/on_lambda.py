"""The prediction service as an AWS Lambda function: what Lambda's runtime calls for each event.

An event (a request that a function URL or API Gateway received, as a dict) comes in; `apig-wsgi` makes a request to
the Flask application of it, and its answer goes out as a dict. Nothing of the application is changed but that it keeps
to Lambda's limits. The model is loaded when this module is imported, once for each place that Lambda sets up, and
answers every request from there.

It reads two variables of the environment: `LAMBDA_TASK_ROOT`, set by Lambda, the folder with the unpacked zip, in
which `model/` holds a card and the file of one backend; and `API_KEY`, the key to ask callers for, if any.
"""

from __future__ import annotations

import os
from pathlib import Path

from apig_wsgi import make_lambda_handler

from helpers.export.predictors import BACKENDS, load_predictor
from helpers.serving.lambda_limits import MOST_BODY, Limited
from helpers.serving.services import body_bytes, create_predict_app

_model = Path(os.environ["LAMBDA_TASK_ROOT"]) / "model"
_backend = next(kind.backend for kind in BACKENDS.values() if (_model / kind.file).exists())
_predictor = load_predictor(_model, _backend)
_most = min(body_bytes(_predictor.signature), MOST_BODY)
_app = create_predict_app(_predictor, api_key=os.environ.get("API_KEY"), max_body_bytes=_most)
_app.wsgi_app.app = Limited(_app.wsgi_app.app)  # within the layer that gives ids and counts
handler = make_lambda_handler(_app)
