"""The one chain: causal stages with carried state, for training and the daemon alike.

    pick by name -> volts -> reference -> notch and band-pass -> EOG regression
    -> decimate [-> band power] -> NaN where an artefact lies in it

Fed the same samples it gives the same bits however they are cut into chunks. Its input
is the float32 that is, or would be, on the wire; inside it is float64 on C-contiguous
(time, channel), with no matrix product over a chunk, since BLAS rounds by shape.
"""

from rtfeedback.chain.chain import Chain
from rtfeedback.chain.spec import ChainConfig, ChainSpec

__all__ = ["Chain", "ChainConfig", "ChainSpec"]
