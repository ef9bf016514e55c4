"""The original EEG_to_fMRI at its own shapes, told over stdin what to do.

    PYTHON -m bench.rivals.calhas_tf --threads N

Python 3.8 to 3.10 with `eeg-to-fmri==0.0.9` and numpy below 1.24 (what pip chooses of itself
is too new for its TensorFlow Probability). It speaks as `bench.rivals.calhas` does: a line of
stdin is `train N` or `predict N`, the answer a line of JSON. The model is the paper's TAFP:
topographical attention, random Fourier features, attention as style. A step is the package's
own; a prediction is its decoder under `tf.function`, the best path that it offers.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time

EEG, FMRI = (64, 134, 10, 1), (64, 64, 30, 1)
LATENT, CHANNELS, LEARNING_RATE = (7, 7, 7), 4, 0.002980911194116198


def _prepare(threads):  # type: ignore[no-untyped-def]
    """Import what is slow, once the folders that the package asks for are named."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    for name in ("EEG_FMRI", "EEG_FMRI_DATASETS"):
        os.environ.setdefault(name, tempfile.gettempdir())
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.random.set_seed(0)
    return tf


class Original:
    """The package's model, its training step and its prediction.

    Parameters
    ----------
    threads : int
    batch : int
    """

    def __init__(self, threads, batch):  # type: ignore[no-untyped-def]
        self._tf = tf = _prepare(threads)  # type: ignore[no-untyped-call]
        from eeg_to_fmri.learning.losses import mae_cosine
        from eeg_to_fmri.learning.train import train_step
        from eeg_to_fmri.models.synthesizers import EEG_to_fMRI, na_specification_eeg

        # In this order: latent, shape, kernel, stride, channels, max pool, batch norm, weight
        # decay, skip connections, blocks, local, attention, output filter, dropout, seed,
        # whether there is a decoder, and the architecture.
        fmri = (
            LATENT, FMRI, (9, 9, 4), (1, 1, 1), CHANNELS, True, True, 0.0, True, 3, True, False,
            1, True, None, False, None,
        )  # fmt: skip
        self.model = EEG_to_fMRI(
            LATENT, EEG, na_specification_eeg, CHANNELS, skip_connections=True, dropout=True,
            fourier_features=True, random_fourier=True, topographical_attention=True,
            conditional_attention_style=True, fmri_args=fmri,
        )  # fmt: skip
        self.model.build(EEG, FMRI)
        optimiser = tf.keras.optimizers.Adam(LEARNING_RATE)
        x, y = tf.random.normal((batch, *EEG)), tf.random.normal((batch, *FMRI))
        self._batch = lambda: train_step(
            self.model, (x, y), optimiser, mae_cosine, u_architecture=True
        ).numpy()
        decode, one = tf.function(self.model.decoder), x[:1]
        self._one = lambda: decode(one, training=False).numpy()

    def parameters(self):  # type: ignore[no-untyped-def]
        """Return how many numbers are trained."""
        parts = (self.model.decoder, self.model.eeg_encoder, self.model.fmri_encoder)
        every = {v.ref(): v for part in parts for v in part.trainable_variables}
        return sum(int(self._tf.size(v)) for v in every.values())

    def seconds(self, what, n):  # type: ignore[no-untyped-def]
        """Return what each of n training steps or predictions took."""
        once, took = self._batch if what == "train" else self._one, []
        for _ in range(n):
            began = time.perf_counter()
            once()
            took.append(time.perf_counter() - began)
        return took


def main():  # type: ignore[no-untyped-def]
    """Read the command line, then stdin to its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4)
    given = parser.parse_args()
    out, sys.stdout = sys.stdout, sys.stderr  # the package prints
    original = Original(given.threads, given.batch)  # type: ignore[no-untyped-call]
    out.write(json.dumps({"parameters": original.parameters()}) + "\n")  # type: ignore[no-untyped-call]
    out.flush()
    for line in sys.stdin:
        what, n = line.split()
        out.write(json.dumps(original.seconds(what, int(n))) + "\n")  # type: ignore[no-untyped-call]
        out.flush()


if __name__ == "__main__":
    main()  # type: ignore[no-untyped-call]
