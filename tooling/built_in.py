"""Makes the classifier that comes with the project: python tooling/built_in.py

It comes out of `soundfusion train emotify musicnn` and is written without the frozen network, whose weights are not
ours: `soundfusion download musicnn` brings them.
"""

from safetensors.torch import save_file

from soundfusion_lib.predict.export import CARD, CONFIG, WEIGHTS, find_model, read_exported, render
from soundfusion_lib.predict.recognizer import CLASSIFIER
from soundfusion_lib.training.run import checksum, write_json

if __name__ == "__main__":
    with read_exported(find_model("emotify/musicnn")) as (config, weights):
        CLASSIFIER.mkdir(exist_ok=True)
        save_file({name: weights[name] for name in ("weight", "bias")}, CLASSIFIER / WEIGHTS)
        config |= {"outside": True, "checksums": {WEIGHTS: checksum(CLASSIFIER / WEIGHTS)}}
        write_json(CLASSIFIER / CONFIG, config)
        (CLASSIFIER / CARD).write_text(render("card.md", config), encoding="utf-8")
