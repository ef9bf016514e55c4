"""A channel's window as one token, by weights that all channels share."""

from __future__ import annotations

from torch import Tensor, nn

from rtfeedback.models.cnn import ConvEmbedding, Convolution
from rtfeedback.models.fc import Means


class ChannelEmbedding(nn.Module):
    """Windows averaged in time, then a token for each channel.

    By one linear map of a channel's samples, as an image's patch becomes a token; or
    filtered in time and averaged first, so that it can see how strong a rhythm is, not
    only what wave it makes.

    Parameters
    ----------
    width : int
        Values of a token.
    n_channels, n_bands, n_times : int
        Of a window: channels, features of each, samples.
    rate : float
        Of its samples, in hertz.
    pool : int
        Samples that are averaged to one.
    convolution : Convolution or None
        What they are filtered by.
    """

    def __init__(
        self,
        width: int,
        *,
        n_channels: int,
        n_bands: int,
        n_times: int,
        rate: float,
        pool: int,
        convolution: Convolution | None = None,
    ) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.pool = Means(pool)
        n_times = self.pool.n_means(n_times)
        self.filter: nn.Module = nn.Identity()
        n_values = n_bands * n_times
        if convolution is not None:
            self.filter = ConvEmbedding(
                convolution,
                n_groups=n_channels,
                n_inputs=n_bands,
                n_times=n_times,
                rate=rate / pool,
            )
            n_values = self.filter.n_outputs
        self.token = nn.Linear(n_values, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens (n, n_channels, width) of windows (n, n_features, n_times)."""
        values = self.filter(self.pool(x))
        tokens: Tensor = self.token(values.reshape(len(x), self.n_channels, -1))
        return tokens
