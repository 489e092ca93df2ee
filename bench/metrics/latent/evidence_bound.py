"""The evidence lower bound and its two parts, of methods that have one."""

from __future__ import annotations

from typing import Literal

import numpy as np

from bench.metrics.base import Output, metric
from bench.metrics.checks import require_finite


@metric(
    table="latent",
    source="Kingma and Welling 2014, arXiv 1312.6114; rate and distortion: Alemi et al. 2018, arXiv 1711.00464",
    outputs={
        "elbo": Output(
            "max",
            "nats per image",
            "lower bound of the log-likelihood of test images: minus the two others; Bernoulli: a likelihood only for "
            "black-and-white images, else a cross-entropy",
        ),
        "rate": Output(None, "nats per image", "KL divergence of posteriors from the prior: what the code costs"),
        "distortion": Output("min", "nats per image", "negative log-likelihood of test images given their codes"),
    },
    protocol={
        "draws_per_image": 1,
        "prior": "N(0, I)",
        "likelihood_of": "intensities in [0, 1], all constants included; the Gaussian has unit variance; "
        "the Bernoulli's is the cross-entropy of intensities, normalized only for black-and-white images",
        "weights": "1 on both parts, whatever the weights in training",
    },
)
def elbo(
    rates: np.ndarray,
    distortions: np.ndarray,
    *,
    likelihood: Literal["gaussian", "bernoulli"] = "gaussian",
    num_samples: int = 10_000,
) -> dict[str, float]:
    """Means over images of rates [N], distortions [N], and of minus their sum.

    Bounds under the two likelihoods are of different models and do not compare; methods of the other likelihood than
    `likelihood` have no value. Bernoulli's is a normalized likelihood only for images of 0 and 1; for intensities in
    between it is their cross-entropy, as usual in training.

    Raises:
        Unmeasurable: values that are not finite.
    """
    rates, distortions = rates[:num_samples], distortions[:num_samples]
    require_finite(rates=rates, distortions=distortions)
    rate, distortion = float(rates.mean(dtype=np.float64)), float(distortions.mean(dtype=np.float64))
    return {"elbo": -(rate + distortion), "rate": rate, "distortion": distortion}
