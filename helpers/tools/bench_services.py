"""What `bench` measures, each in a process of its own: `python -m helpers.tools.bench_services KIND MODEL`.

KIND is "article" (model.predict for each request behind Flask's own server, as the article did, mended), or "echo",
"predict", "predict-view" in the notebook's server, or "echo-workers PORT WORKERS" for the echo in workers. The
process prints its address when it answers, and serves until it is ended.
"""

from __future__ import annotations

import os
import sys
import threading

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def article_app(model_directory: str):
    """The article's service as one would write it today: strings to numbers, then `model.predict`, at each request."""
    import flask
    import pandas as pd

    from helpers.data.signature import Signature
    from helpers.export.card import read_card
    from helpers.export.legacy import load_keras

    model = load_keras(f"{model_directory}/model.keras", compile=False)
    names = list(Signature.from_dict(read_card(model_directory)["signature"]).names)
    app = flask.Flask("article")

    @app.get("/predict")
    def predict():
        x = pd.DataFrame.from_dict(flask.request.args, orient="index").transpose()[names].astype("float32")
        answer = model.predict(x, verbose=0)[0][0]
        return flask.jsonify(prediction=str(answer), success=True)

    return app


def main(kind: str, model_directory: str, *rest: str) -> None:
    if kind == "article":
        import logging

        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        server = make_server("127.0.0.1", 0, article_app(model_directory), threaded=True)
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
    elif kind == "echo-workers":
        from helpers.serving.production import supervise
        from helpers.serving.serve_command import listen
        from helpers.serving.services import create_echo_app

        port, workers = map(int, rest)
        address = f"http://127.0.0.1:{port}"
        supervise(listen("127.0.0.1", port), workers, create_echo_app, lambda: print(address, flush=True))
    else:
        from helpers.export.predictors import load_predictor
        from helpers.serving.notebook_server import serve
        from helpers.serving.services import create_echo_app, create_predict_app

        app = create_echo_app() if kind == "echo" else create_predict_app(load_predictor(model_directory))
        if kind == "predict-view":
            app.before_request(lambda: None)  # a hook: every request goes through Flask's routing and the view
        print(serve(app, port=0).url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
